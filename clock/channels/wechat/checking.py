"""``clock channel check wechat``: one signed question, and what its reply says about the settings."""

import time
from email.utils import parsedate_to_datetime

from clock.channels import BadSignature, Silent
from clock.channels.wechat import shapes
from clock.channels.wechat.asking import Asking
from clock.channels.wechat.keys import SETTING, key_id
from clock.channels.wechat.signing import TOLERANCE_SECONDS, verify
from clock.config import BadSetting

NO_ORDER = "CLOCKCHECK0"
"""No order has such a number: ours are longer, and begin otherwise."""


async def checked(asking: Asking) -> list[str]:
    """What works, in sentences. Raises :class:`BadSetting` with what to compare, :class:`Silent` without an answer."""
    merchant = asking.merchant
    said = await asking.unverified("GET", f"/v3/pay/transactions/out-trade-no/{NO_ORDER}?mchid={merchant.mchid}")
    if said.status <= 0 or said.status == 429 or said.status >= 500:
        why = said.raw.decode() if said.status <= 0 else f"HTTP {said.status}"
        raise Silent(f"{merchant.url} does not answer a signed question: {why}")
    off = _off_seconds(said.headers.get("date", ""))
    if off is not None and abs(off) >= TOLERANCE_SECONDS:
        raise BadSetting(f"this host's clock is {off:+} s off WeChat Pay's, which takes at most {TOLERANCE_SECONDS}")
    failed = shapes.failure(said.raw)
    if said.status == 401 or failed.code == "SIGN_ERROR":
        raise BadSetting(
            f"WeChat Pay does not accept our signature ({failed.code or 'HTTP 401'}: {failed.message}): "
            "CLOCK_WECHAT_PRIVATE_KEY and CLOCK_WECHAT_SERIAL must be of one certificate of the merchant "
            "CLOCK_WECHAT_MCHID; compare the serial number with the merchant platform's, Account centre, API security"
        )
    try:
        name = verify(merchant.keys, said.raw, said.headers)
    except BadSignature as error:
        serial = key_id(said.headers.get("wechatpay-serial", ""))
        if serial in merchant.keys:
            raise BadSetting(f"{SETTING}: the reply does not verify with {serial}, compare it: {error}") from None
        raise BadSetting(f"the reply is signed with {serial or 'no key'}, which {SETTING} does not have") from None
    if said.status not in (200, 404):
        raise BadSetting(f"WeChat Pay refuses the question: {failed.code}: {failed.message}")
    clock = f"this host's clock is {off:+} s off WeChat Pay's" if off is not None else "the reply had no Date"
    return [
        f"WeChat Pay accepts the signature of the merchant {merchant.mchid} with the certificate {merchant.serial}",
        f"its reply verifies with {name}, one of {len(merchant.keys)} in {SETTING}",
        clock,
    ]


def _off_seconds(date: str) -> int | None:
    """How far this clock is ahead of the reply's ``Date``."""
    try:
        return int(time.time()) - int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return None
