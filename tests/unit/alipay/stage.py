"""What these tests share: locally made keys and certificates, settings, notifications, and a small double of the
gateway that signs what it is told to say."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

from clock.channels import rsa
from clock.channels.alipay import Alipay
from clock.channels.alipay.signing import signed_content
from clock.config import Settings

APP_ID, SELLER_ID = "2021000000000001", "2088000000000001"
ORDER = "TTC0eb00000000001AyUTrR3KipTq7"
TRADE = "2026112722001400000000000001"
USER = "2088000000000077"


@cache
def key(name: str) -> RSAPrivateKey:
    return rsa_keys.generate_private_key(65537, 2048)


def private_pem(name: str) -> str:
    pem = key(name).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


def public_pem(name: str) -> str:
    public = key(name).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@cache
def certificate(name: str, number: int = 1, *, authority: bool = False) -> str:
    """Of the key with that name, issued by the test's authority."""
    issuer = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Some Financial"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Certification Authority"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Some Authority Class 2 R1"),
    ]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name(issuer))
        .public_key(key(name).public_key())
        .serial_number(number)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key("authority"), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def settings(**changes: Any) -> Settings:
    """Key mode."""
    given: dict[str, Any] = {
        "public_url": "https://game.example.org",
        "alipay_app_id": APP_ID,
        "alipay_seller_id": SELLER_ID,
        "alipay_private_key": private_pem("app"),
        "alipay_public_key": public_pem("alipay"),
    }
    return Settings(**(given | changes))


def certified(**changes: Any) -> Settings:
    """Certificate mode, with two of Alipay's certificates."""
    given = {
        "alipay_public_key": "",
        "alipay_app_cert": certificate("app", 7),
        "alipay_root_cert": certificate("authority", 1, authority=True),
        "alipay_certs": certificate("alipay", 8) + certificate("newer", 9),
    }
    return settings(**(given | changes))


async def at_once(endpoint: str, per_second: float) -> None:
    """No limit of calls."""


def channel(given: Settings | None = None) -> Alipay:
    return Alipay(given or settings(), at_once)


def reply(method: str, fields: Mapping[str, Any], signer: str = "alipay", serial: str = "") -> bytes:
    """As the gateway answers: the node's bytes are signed. No signer: the reply has no signature."""
    node = json.dumps(fields, ensure_ascii=False)
    text = f'{{"{method.replace(".", "_")}_response":{node}'
    if serial:
        text += f',"alipay_cert_sn":"{serial}"'
    if signer:
        text += f',"sign":"{rsa.sign(key(signer), node.encode())}"'
    return (text + "}").encode()


def notification(**changes: str | None) -> dict[str, str]:
    """Of a payment, unsigned; ``None`` takes a parameter away."""
    fields: dict[str, str | None] = {
        "notify_time": "2026-11-27 10:00:02",
        "notify_type": "trade_status_sync",
        "notify_id": "2026112700222100002000000000000001",
        "app_id": APP_ID,
        "charset": "utf-8",
        "version": "1.0",
        "trade_no": TRADE,
        "out_trade_no": ORDER,
        "buyer_id": USER,
        "buyer_logon_id": "159****5620",
        "seller_id": SELLER_ID,
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "1.00",
        "subject": "早起打卡",
        "gmt_payment": "2026-11-27 10:00:01",
        "fund_bill_list": '[{"amount":"1.00","fundChannel":"ALIPAYACCOUNT"}]',
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def signed(fields: Mapping[str, str], signer: str = "alipay") -> dict[str, str]:
    content = signed_content((name.encode(), value.encode()) for name, value in fields.items())
    return {**fields, "sign": rsa.sign(key(signer), content), "sign_type": "RSA2"}


def posted(fields: Mapping[str, str]) -> bytes:
    return urlencode(fields).encode()


Says = Callable[[dict[str, str]], bytes] | bytes


class Double:
    """``says``: the body for each method, or what makes it of the form; ``forms``: what came."""

    def __init__(self) -> None:
        self.says: dict[str, Says] = {}
        self.files: dict[str, bytes] = {}
        self.forms: list[dict[str, str]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.url = ""

    def answers(self, method: str, fields: Mapping[str, Any], **how: str) -> None:
        self.says[method] = reply(method, fields, **how)

    @property
    def asked(self) -> list[str]:
        return [form["method"] for form in self.forms]

    @property
    def business(self) -> dict[str, Any]:
        """Of the last form."""
        content: dict[str, Any] = json.loads(self.forms[-1]["biz_content"])
        return content

    async def handle(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.Response(body=self.files[request.query["kind"]], status=self.status)
        form = dict(parse_qsl((await request.read()).decode(), strict_parsing=True))
        self.forms.append(form)
        says = self.says[form["method"]]
        return web.Response(
            body=says if isinstance(says, bytes) else says(form), status=self.status, headers=self.headers
        )


@asynccontextmanager
async def double() -> AsyncIterator[Double]:
    told = Double()
    app = web.Application()
    app.router.add_route("*", "/gateway.do", told.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.url = f"http://127.0.0.1:{runner.addresses[0][1]}/gateway.do"
    try:
        yield told
    finally:
        await runner.cleanup()
