"""A double of WeChat Pay in the test's own process, with keys that are made here, and what tests ask of it."""

import base64
import gzip
import hashlib
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

from clock.channels import TooManyCalls
from clock.config import Settings

MCHID, APPID, SERIAL = "1900001234", "wx0123456789abcdef", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
API_V3_KEY = "0123456789abcdefghijklmnopqrstuv"
PUBLIC_KEY_ID = "PUB_KEY_ID_0119000012342026112700112233445566"
CERTIFICATE_SERIAL = 0x0D1E_0000_0000_0000_0000_0000_0000_0000_0000_00A7
CERTIFICATE_ID = f"{CERTIFICATE_SERIAL:X}"
ORDER, REFUND, TRANSFER = "TTC0abc0000000000000000000001", "R" + "0a1b2c3d" * 3, "W42N7"
PRIVATE = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
AUTHORIZATION = re.compile(
    r'WECHATPAY2-SHA256-RSA2048 mchid="(\d+)",nonce_str="(\w{16,32})",signature="([\w+/=]+)",timestamp="(\d+)",'
    r'serial_no="([0-9A-F]+)"'
)


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    """``merchant``, ``public`` and ``certificate`` (both WeChat Pay's), ``stranger``."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(name: str) -> str:
    return key(name).private_bytes(serialization.Encoding.PEM, *PRIVATE).decode()


def public_pem(name: str) -> str:
    made = key(name).public_key()
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return made.public_bytes(serialization.Encoding.PEM, kind).decode()


@cache
def certificate_pem() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a platform's certificate, for tests")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key("certificate").public_key())
    made = made.serial_number(CERTIFICATE_SERIAL).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return made.sign(key("merchant"), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def keys_text() -> str:
    return f"{PUBLIC_KEY_ID}\n{public_pem('public')}\n{certificate_pem()}"


def settings(**changed: Any) -> Settings:
    given = {
        "env": "dev",
        "public_url": "https://game.example.org",
        "wechat_mchid": MCHID,
        "wechat_appid": APPID,
        "wechat_serial": SERIAL.lower(),
        "wechat_private_key": private_pem("merchant"),
        "wechat_api_v3_key": API_V3_KEY,
        "wechat_keys": keys_text(),
    }
    return Settings(**{**given, **changed})


def signature(name: str, *lines: str, body: bytes = b"") -> str:
    message = "".join(f"{line}\n" for line in lines).encode() + body + b"\n"
    return base64.b64encode(key(name).sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def signed(raw: bytes, name: str = "public", serial: str = "", at: int | None = None) -> dict[str, str]:
    """The headers of a reply or a notification of WeChat Pay's. ``serial``: another than the key's own."""
    stamp = str(int(time.time()) if at is None else at)
    return {
        "wechatpay-timestamp": stamp,
        "wechatpay-nonce": "c5ac7061fccab6bf3e254dcf98995b8c",
        "wechatpay-serial": serial or {"certificate": CERTIFICATE_ID}.get(name, PUBLIC_KEY_ID),
        "wechatpay-signature": signature(name, stamp, "c5ac7061fccab6bf3e254dcf98995b8c", body=raw),
    }


def sealed(text: bytes, aes: str = API_V3_KEY, kind: str = "transaction") -> dict[str, str]:
    ciphertext = AESGCM(aes.encode()).encrypt(b"fdasflkja484", text, kind.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(ciphertext).decode(),
        "associated_data": kind,
        "original_type": kind,
        "nonce": "fdasflkja484",
    }


def notification(event: str, resource: Any, aes: str = API_V3_KEY) -> bytes:
    """The body. ``resource``: before it is encrypted."""
    text = resource if isinstance(resource, bytes) else msgspec.json.encode(resource)
    said = {"id": "EV-2018022511223320873", "create_time": "2026-11-27T07:00:00+08:00", "summary": "支付成功"}
    return msgspec.json.encode({**said, "event_type": event, "resource": sealed(text, aes)})


def transaction(**changed: Any) -> dict[str, Any]:
    """A paid order."""
    paid = {
        "appid": APPID,
        "mchid": MCHID,
        "out_trade_no": ORDER,
        "transaction_id": "4200000263201902167700134212",
        "trade_type": "JSAPI",
        "trade_state": "SUCCESS",
        "bank_type": "OTHERS",
        "success_time": "2026-11-27T07:00:00+08:00",
        "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        "amount": {"total": 100, "payer_total": 90, "currency": "CNY", "payer_currency": "CNY"},
    }
    return {**paid, **changed}


class Asked(msgspec.Struct):
    """A request that came."""

    method: str
    target: str
    """Path and query, as sent."""
    headers: dict[str, str]
    """Names in lower case."""
    raw: bytes

    @property
    def body(self) -> Any:
        return msgspec.json.decode(self.raw)


class Reply(msgspec.Struct):
    status: int
    body: Any = b""
    """Bytes, or what becomes JSON."""
    headers: Callable[[bytes], dict[str, str]] = signed
    """Those of the body's signature."""


class Double:
    """Answers everything with ``reply``; what is not signed by the merchant with ``SIGN_ERROR``."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.reply: Callable[[Asked], Reply] = lambda _: Reply(500)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    def says(self, status: int, body: Any = b"", headers: Callable[[bytes], dict[str, str]] = signed) -> None:
        self.reply = lambda _: Reply(status, body, headers)

    def bills(self, asked: Asked, trades: bytes, funds: bytes, **changed: str) -> Reply:
        """Where a bill is, or the bill itself. ``changed``: fields of the announcement."""
        kind = "trades" if "trade" in asked.target else "funds"
        text = {"trades": trades, "funds": funds}[kind]
        if asked.target.startswith("/v3/billdownload/"):
            return Reply(200, gzip.compress(text), lambda _: {})
        url = f"{self.url}/v3/billdownload/file?token={kind}-a%7Eb%2Bc"
        said = {"download_url": url, "hash_type": "SHA1", "hash_value": hashlib.sha1(text).hexdigest()}
        return Reply(200, {**said, **changed})

    async def _handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.raw_path, headers, await request.read())
        self.asked.append(asked)
        reply = self.reply(asked) if accepts(asked) else Reply(401, {"code": "SIGN_ERROR", "message": "错误的签名"})
        raw = reply.body if isinstance(reply.body, bytes) else msgspec.json.encode(reply.body)
        return web.Response(status=reply.status, body=raw or None, headers=reply.headers(raw))


def accepts(asked: Asked) -> bool:
    """Whether the merchant signed exactly what came."""
    found = AUTHORIZATION.fullmatch(asked.headers.get("authorization", ""))
    if not found:
        return False
    mchid, nonce, given, at, serial = found.groups()
    message = f"{asked.method}\n{asked.target}\n{at}\n{nonce}\n".encode() + asked.raw + b"\n"
    try:
        key("merchant").public_key().verify(base64.b64decode(given), message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return (mchid, serial) == (MCHID, SERIAL) and abs(time.time() - int(at)) < 300


class Waits:
    """Stands in for the limits that all processes share."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.used_up: set[str] = set()

    async def __call__(self, endpoint: str, per_second: float) -> None:
        self.asked.append((endpoint, per_second))
        if endpoint in self.used_up:
            raise TooManyCalls(endpoint)
