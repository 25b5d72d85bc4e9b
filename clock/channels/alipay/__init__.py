"""Alipay through its OpenAPI gateway, version 2: users pay in its app or a browser, transfers need no confirmation.

What the provider does, with sources, is in ``docs/alipay.md``; every answer and what it means is in
:mod:`clock.channels.alipay.answers`.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import structlog

from clock.channels import (
    MOVEMENTS,
    TAKEN,
    BillLine,
    How,
    Notice,
    OrderState,
    Payment,
    PayRefused,
    Purchase,
    Reply,
    Result,
    Silent,
    TooManyCalls,
    Unreadable,
    Wait,
)
from clock.channels.alipay.answers import METHODS, NOT_SENT, Call, row_of
from clock.channels.alipay.bills import pages_of
from clock.channels.alipay.gateway import Gateway, Heard
from clock.channels.alipay.keys import NUMBER, Keys
from clock.channels.alipay.notices import BUYER_ID, Notices, queried
from clock.channels.alipay.signing import node_of
from clock.channels.alipay.texts import beijing, yuan
from clock.config import BadSetting, Settings
from clock.domain.outcomes import OUTCOMES

log = structlog.get_logger()

SUBJECT = "早起打卡"
"""Of an order; without ``/ = &``, which Alipay does not take."""

TITLE = "早起红包"
"""Of a transfer, in the user's bill."""

SIGNED_HERE: dict[How, tuple[str, str]] = {
    "h5": ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    "native": ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
    "app": ("alipay.trade.app.pay", "QUICK_MSECURITY_PAY"),
}
"""Method and product of what is signed without a call: the client carries it to Alipay."""

LEAST_FEN = {"TRANS_ACCOUNT_NO_PWD": 10, "STD_RED_PACKET": 1}
MOST_FEN = 10_000_000_000
"""A transfer's bounds by product (AlipayFundTransUniTransferModel, 2024-09)."""

CLOCK_SECONDS = 300
"""A clock that is further off signs what Alipay may refuse."""

SETTING_OF = {
    "isv.invalid-app-id": "CLOCK_ALIPAY_APP_ID",
    "isv.invalid-signature": "CLOCK_ALIPAY_PRIVATE_KEY",
    "isv.missing-signature-key": "CLOCK_ALIPAY_PRIVATE_KEY",
}
"""What is wrong where Alipay refuses a question by these codes."""


class Alipay:
    """Raises :class:`BadSetting` for settings that do not fit."""

    name = "alipay"
    pulls = False
    most_transfer_fen = MOST_FEN
    transfers_known_days = 36_500
    billed = MOVEMENTS
    ready = True
    notification: type[msgspec.Struct] | None = None
    hows: tuple[How, ...] = ("jsapi", "h5", "native", "app")

    def __init__(self, settings: Settings, wait: Wait) -> None:
        self._keys = Keys(settings)
        self._gateway = Gateway(settings, self._keys, wait)
        self._notices = Notices(settings, self._keys)
        self._app_id = settings.alipay_app_id
        self._product = settings.alipay_product
        self._moved = settings.env == "dev"
        self._here = settings.public_url.rstrip("/")
        self.least_transfer_fen = LEAST_FEN[settings.alipay_product]

    def silent_seconds(self) -> float:
        return self._gateway.calls.silent_seconds()

    def pay_at_once(self, order_no: str, amount_fen: int) -> dict[str, Any] | None:
        return None

    async def pay(self, purchase: Purchase) -> dict[str, Any]:
        """``jsapi``: ``trade_no`` for ``my.tradePay``; ``h5``, ``native``: ``url`` to open; ``app``: ``order`` for the
        SDK. All but the first are signed here: the trade exists once the user has opened them, so they end at an
        absolute time."""
        business: dict[str, str | Mapping[str, str]] = {
            "out_trade_no": purchase.order_no,
            "total_amount": yuan(purchase.amount_fen),
            "subject": SUBJECT,
            "time_expire": beijing(purchase.expires_ms),
        }
        by_number = NUMBER.fullmatch(purchase.open_id) is not None  # else an open id
        if by_number:
            business["passback_params"] = BUYER_ID
        if purchase.how == "jsapi":
            business |= {
                "product_code": "JSAPI_PAY",
                "op_app_id": self._app_id,
                "buyer_id" if by_number else "buyer_open_id": purchase.open_id,
            }
            return {"how": "jsapi", "trade_no": await self._created(business)}
        method, product = SIGNED_HERE[purchase.how]
        business["product_code"] = product
        if purchase.how == "app":
            return {"how": "app", "order": self._gateway.form(method, business, notify_url=self._notify_url)}
        back = f"{self._here}/"
        if purchase.how == "h5":
            business["quit_url"] = back
        form = self._gateway.form(method, business, notify_url=self._notify_url, return_url=back)
        return {"how": purchase.how, "url": f"{self._gateway.url}?{form}"}

    @property
    def _notify_url(self) -> str:
        return f"{self._here}/callbacks/{self.name}"

    async def _created(self, business: Mapping[str, str | Mapping[str, str]]) -> str:
        heard = await self._gateway.ask(METHODS["pay"], business, notify_url=self._notify_url)
        fields = heard.fields or {}
        match row_of("pay", fields).state:
            case "ok":
                return fields["trade_no"]
            case "refused":
                raise PayRefused(heard.reason)
            case "too_many":
                raise TooManyCalls(METHODS["pay"])
        raise Silent(heard.reason)

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Notice:
        return self._notices.read(raw)

    def parse(self, kept: bytes) -> Payment:
        return self._notices.parse(kept)

    def answer(self, word: str) -> Reply | None:
        """Anything but exactly ``success`` is repeated, for a day."""
        if word in TAKEN:
            return Reply(200, "text/plain", b"success")
        return Reply(max(400, OUTCOMES[word].http), "text/plain", b"fail")

    async def query_order(self, order_no: str) -> OrderState:
        heard = await self._heard("query", {"out_trade_no": order_no})
        if heard is None or heard.fields is None:
            return OrderState("unknown")
        state = row_of("query", heard.fields).state
        if state != "paid":
            return OrderState(state)  # type: ignore[arg-type]
        try:
            payment = queried(heard.node)
        except Unreadable:
            payment = None
        return OrderState("paid", payment if payment and payment.order_no == order_no else None)

    async def close_order(self, order_no: str) -> OrderState:
        """A close that fails says little: then it is asked."""
        heard = await self._heard("close", {"out_trade_no": order_no})
        if heard is None or heard.fields is None:
            return OrderState("unknown")
        state = row_of("close", heard.fields).state
        return await self.query_order(order_no) if state == "ask" else OrderState(state)  # type: ignore[arg-type]

    async def refund(
        self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int, total_fen: int
    ) -> Result:
        return await self._result(
            "refund",
            {"trade_no": transaction_id, "refund_amount": yuan(amount_fen), "out_request_no": refund_no},
        )

    async def query_refund(self, refund_no: str, order_no: str) -> Result:
        return await self._result("query_refund", {"out_trade_no": order_no, "out_request_no": refund_no})

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result:
        kind = "ALIPAY_USER_ID" if NUMBER.fullmatch(open_id) else "ALIPAY_OPEN_ID"
        business: dict[str, str | Mapping[str, str]] = {
            "out_biz_no": transfer_no,
            "trans_amount": yuan(amount_fen),
            "product_code": self._product,
            "biz_scene": "DIRECT_TRANSFER",
            "order_title": TITLE,
            "payee_info": {"identity": open_id, "identity_type": kind},
        }
        if self._product == "STD_RED_PACKET":
            business["business_params"] = '{"sub_biz_scene":"REDPACKET"}'
        return await self._result("transfer", business)

    async def query_transfer(self, transfer_no: str) -> Result:
        asked = {"out_biz_no": transfer_no, "product_code": self._product, "biz_scene": "DIRECT_TRANSFER"}
        return await self._result("query_transfer", asked)

    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        """``day``: Beijing's, as Alipay counts."""
        async with aclosing(pages_of(self._gateway, day, moved=self._moved)) as pages:
            async for page in pages:
                yield page

    async def check(self) -> list[str]:
        """Asks about an order that does not exist. Raises :class:`BadSetting` naming what Alipay does not take."""
        method = METHODS["query"]
        try:
            heard = await self._gateway.ask(method, {"out_trade_no": "0"})
        except TooManyCalls as error:
            raise Silent(f"too many calls: {error}") from error
        if heard.said.status != 200:
            raise Silent(f"{self._gateway.url} does not answer a signed question: {heard.reason}")
        off_seconds = _off_seconds(heard.said.headers.get("Date", ""))
        if abs(off_seconds) >= CLOCK_SECONDS:
            raise BadSetting(f"this host's clock differs from Alipay's by {off_seconds} s: set the clock right")
        if heard.fields is None or heard.fields.get("code") not in ("10000", "40004"):
            self._blame(heard)
        return [
            "Alipay answers a signed question, and its answer is signed by the key that is configured",
            f"this host's clock agrees with Alipay's within {max(1, abs(off_seconds))} s",
        ]

    async def close(self) -> None:
        await self._gateway.calls.close()

    def _blame(self, heard: Heard) -> None:
        """Of a question that is refused, or whose reply cannot be verified: which setting is wrong, if the reply says
        so. Raises :class:`BadSetting` or :class:`Silent`."""
        name = f"{METHODS['query'].replace('.', '_')}_response"
        node = node_of(heard.said.raw, name) or node_of(heard.said.raw, "error_response")
        content = node.content if node and isinstance(node.content, dict) else {}
        if setting := SETTING_OF.get(content.get("sub_code", "")):
            raise BadSetting(f"{setting}: Alipay says {content['sub_code']}")
        if node and node.signature and heard.fields is None:
            raise BadSetting(f"{self._keys.setting} does not verify what Alipay has signed")
        raise Silent(f"{self._gateway.url} does not answer the question: {heard.reason}")

    async def _heard(self, call: Call, business: Mapping[str, str | Mapping[str, str]]) -> Heard | None:
        """``None``: not sent."""
        try:
            return await self._gateway.ask(METHODS[call], business)
        except TooManyCalls:
            return None

    async def _result(self, call: Call, business: Mapping[str, str | Mapping[str, str]]) -> Result:
        heard = await self._heard(call, business)
        if heard is None:
            return Result("again", "too many calls")
        if heard.fields is None:
            return Result("again" if heard.said.status == 0 else "unknown", heard.reason)
        row = row_of(call, heard.fields)
        if row.why == NOT_SENT:
            log.error("alipay_refuses", method=METHODS[call], says=heard.reason)
        return Result(row.state, "" if row.state == "done" else heard.reason)  # type: ignore[arg-type]


def _off_seconds(date: str) -> int:
    """How far this host's clock is ahead of the reply's."""
    try:
        return int(time.time() - parsedate_to_datetime(date).timestamp())
    except (TypeError, ValueError):
        return 0
