"""The merchant that the settings describe. What WeChat Pay would refuse later is refused at the start."""

import re

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from clock.channels import rsa
from clock.channels.wechat.keys import PUBLIC_KEY_ID, SETTING, Keys, verifying_keys
from clock.config import PREFIX, BadSetting, Settings

REQUIRED = (
    "wechat_appid",
    "wechat_serial",
    "wechat_private_key",
    "wechat_api_v3_key",
    "wechat_keys",
    "wechat_scene",
    "public_url",
)

SHAPES = {
    "wechat_mchid": (r"\d{8,10}", "a merchant's number of 8 to 10 digits"),
    "wechat_appid": (r"w[wx][0-9A-Za-z]{16}", "an application's id, wx and 16 letters or digits"),
    "wechat_serial": (r"[0-9A-Fa-f]{8,64}", "the serial number of the merchant's certificate in hexadecimal digits"),
    "wechat_scene": (r"\d{1,10}", "the id of a scene of transfers, in digits"),
}

API_V3_KEY_BYTES = 32

LEAST_TRANSFER_FEN = 10
NAMED_FROM_FEN = 200_000
"""From 2,000 yuan on a transfer needs the payee's name, which the game does not know."""

CASH_MARKETING = "1000"
MARKETING_TYPES = ("活动名称", "奖励说明")
"""What the scene 现金营销 has to report: both."""

MOST_TYPE, MOST_CONTENT = 15, 32
"""Characters of a report's type and content."""

CALLBACK = "/callbacks/wechat"


class Merchant(msgspec.Struct, frozen=True):
    url: str
    mchid: str
    appid: str
    serial: str
    key: RSAPrivateKey
    api_v3_key: bytes
    keys: Keys
    """What WeChat Pay signs with, by id."""
    notify_url: str
    scene: str
    report: tuple[tuple[str, str], ...]
    """Types and contents."""
    most_transfer_fen: int

    @property
    def public_key_id(self) -> str:
        """Which key replies are to be signed with; empty where only certificates are known."""
        return next((name for name in self.keys if name.startswith(PUBLIC_KEY_ID)), "")


def merchant_of(settings: Settings) -> Merchant:
    """Raises :class:`BadSetting` with a sentence that names the setting."""
    for name in REQUIRED:
        if not getattr(settings, name):
            raise BadSetting(f"{_variable(name)} is required for the channel wechat")
    for name, (shape, what) in SHAPES.items():
        if not re.fullmatch(shape, getattr(settings, name), re.A):
            raise BadSetting(f"{_variable(name)}={getattr(settings, name)!r} is not {what}")
    api_v3_key = settings.wechat_api_v3_key.encode()
    if len(api_v3_key) != API_V3_KEY_BYTES:
        raise BadSetting(f"CLOCK_WECHAT_API_V3_KEY has {len(api_v3_key)} bytes instead of {API_V3_KEY_BYTES}")
    if not LEAST_TRANSFER_FEN <= settings.wechat_most_fen < NAMED_FROM_FEN:
        raise BadSetting(
            f"CLOCK_WECHAT_MOST_FEN must be from {LEAST_TRANSFER_FEN}, the least that can be transferred, to below "
            f"{NAMED_FROM_FEN}: from there on a transfer needs the payee's name"
        )
    if settings.env != "dev" and not settings.public_url.startswith("https://"):
        raise BadSetting("CLOCK_PUBLIC_URL must begin with https://: WeChat Pay notifies nothing else")
    key = rsa.private_key(settings.wechat_private_key, "CLOCK_WECHAT_PRIVATE_KEY")
    keys = verifying_keys(settings.wechat_keys)
    for name, public in keys.items():
        if rsa.belongs(public, key):
            raise BadSetting(f"{SETTING}: {name} is the key of CLOCK_WECHAT_PRIVATE_KEY; WeChat Pay's own is needed")
    return Merchant(
        url=settings.wechat_url.rstrip("/"),
        mchid=settings.wechat_mchid,
        appid=settings.wechat_appid,
        serial=settings.wechat_serial.upper(),
        key=key,
        api_v3_key=api_v3_key,
        keys=keys,
        notify_url=settings.public_url.rstrip("/") + CALLBACK,
        scene=settings.wechat_scene,
        report=_report(settings.wechat_report, settings.wechat_scene),
        most_transfer_fen=settings.wechat_most_fen,
    )


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _report(text: str, scene: str) -> tuple[tuple[str, str], ...]:
    """``type=content`` separated by semicolons."""
    report = []
    for one in filter(None, (part.strip() for part in text.split(";"))):
        kind, _, content = (part.strip() for part in one.partition("="))
        if not (0 < len(kind) <= MOST_TYPE and 0 < len(content) <= MOST_CONTENT):
            raise BadSetting(
                f"CLOCK_WECHAT_REPORT: {one!r} is not type=content with at most {MOST_TYPE} and {MOST_CONTENT} "
                "characters"
            )
        report.append((kind, content))
    kinds = [kind for kind, _ in report]
    if len(set(kinds)) < len(kinds):
        raise BadSetting("CLOCK_WECHAT_REPORT has a type twice")
    missing = [kind for kind in MARKETING_TYPES if scene == CASH_MARKETING and kind not in kinds]
    if missing:
        raise BadSetting(f"CLOCK_WECHAT_REPORT: the scene {scene} wants {' and '.join(missing)} as well")
    return tuple(report)
