"""What it costs an API process to verify and read one notification of a payment: RSA-SHA256 and AES-256-GCM of WeChat
Pay, beside the HMAC of the platform; and what it costs to sign a call."""

import time
from base64 import b64encode
from collections.abc import Callable
from time import perf_counter

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.measure import Result, Scale, spread
from clock.channels import Payment
from clock.channels.platform import Platform
from clock.channels.rsa import sign
from clock.channels.webhooks import Signatures
from clock.channels.wechat import WeChat
from clock.config import Settings

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
AES, NONCE, KEY_ID = "k" * 32, "c5ac7061fcca", "PUB_KEY_ID_01"


def platform() -> Callable[[], object]:
    paid = {"amount": 100, "buyerId": "oUpF8", "transactionId": "4200", "notify_time": "2026-11-27 07:00:00"}
    raw = msgspec.json.encode({"order_no": "TTC1", "extra": paid})
    headers, channel = Signatures(SECRET).sign(raw), Platform("", SECRET)
    return lambda: channel.read(raw, headers)


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signing() -> Callable[[], object]:
    key, message = new_key(), b"POST\n/v3/pay/transactions/jsapi\n1795734000\nc5ac7061fcca\n" + b"x" * 400
    return lambda: sign(key, message)


def wechat() -> Callable[[], object]:
    ours, theirs = new_key(), new_key()
    pkcs8 = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public = theirs.public_key().public_bytes(serialization.Encoding.PEM, spki).decode()
    settings = Settings(
        public_url="https://game.example.org",
        wechat_mchid="1900001234",
        wechat_appid="wx0123456789abcdef",
        wechat_serial="5157F09EFDC096DE",
        wechat_private_key=ours.private_bytes(serialization.Encoding.PEM, *pkcs8).decode(),
        wechat_api_v3_key=AES,
        wechat_keys=f"{KEY_ID}\n{public}",
    )
    paid = {
        "appid": settings.wechat_appid,
        "mchid": settings.wechat_mchid,
        "out_trade_no": "TTC1",
        "transaction_id": "4200",
        "trade_state": "SUCCESS",
        "success_time": "2026-11-27T07:00:00+08:00",
        "payer": {"openid": "oUpF8"},
        "amount": {"total": 100, "payer_total": 100, "currency": "CNY"},
    }
    sealed = AESGCM(AES.encode()).encrypt(NONCE.encode(), msgspec.json.encode(paid), b"transaction")
    resource = {"ciphertext": b64encode(sealed).decode(), "nonce": NONCE, "associated_data": "transaction"}
    raw = msgspec.json.encode({"event_type": "TRANSACTION.SUCCESS", "resource": resource})
    at = str(int(time.time()))
    headers = {
        "wechatpay-timestamp": at,
        "wechatpay-nonce": NONCE,
        "wechatpay-serial": KEY_ID,
        "wechatpay-signature": sign(theirs, f"{at}\n{NONCE}\n".encode() + raw + b"\n"),
    }
    channel = WeChat(settings, no_limit)
    return lambda: channel.read(raw, headers)


async def no_limit(endpoint: str, per_second: float) -> None:
    """Nothing is sent here."""


def microseconds(read: Callable[[], object], count: int) -> float:
    read()
    began = perf_counter()
    for _ in range(count):
        read()
    return (perf_counter() - began) / count * 1e6


async def run(scale: Scale) -> Result:
    count, times = scale.of(5_000, 500), scale.of(7, 3)
    done = {"read, platform": platform(), "read, wechat": wechat(), "sign, wechat": signing()}
    assert all(isinstance(done[name](), Payment) for name in done if name.startswith("read"))
    took = [{name: microseconds(read, count) for name, read in done.items()} for _ in range(times)]
    return Result(name="notifications", figures={f"{name}, µs": spread([one[name] for one in took]) for name in done})
