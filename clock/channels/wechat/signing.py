"""Signatures and encryption of WeChat Pay's API v3: RSA with SHA-256 over lines of text, AES-256-GCM."""

import secrets
import time
from base64 import b64decode
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clock.channels import BadSignature, Probe, rsa
from clock.channels.wechat.keys import Keys, key_id
from clock.channels.wechat.settings import Merchant

SCHEME = "WECHATPAY2-SHA256-RSA2048"

TOLERANCE_SECONDS = 300
"""How old a signature may be, and how far ahead, by the real clock: what is older may be a replay."""

PROBE = "WECHATPAY/SIGNTEST/"
"""How a signature begins that WeChat Pay sends to find out whether we verify any."""


def lines(*parts: str) -> bytes:
    """What is signed: each part and a newline."""
    return "".join(f"{part}\n" for part in parts).encode()


def authorization(merchant: Merchant, method: str, target: str, body: bytes) -> str:
    """The header of a request. ``target``: path and query, as they are sent; ``body``: the bytes that are sent."""
    at, nonce = str(int(time.time())), nonce_text()
    signature = rsa.sign(merchant.key, lines(method, target, at, nonce) + body + b"\n")
    said = {
        "mchid": merchant.mchid,
        "nonce_str": nonce,
        "signature": signature,
        "timestamp": at,
        "serial_no": merchant.serial,
    }
    return f"{SCHEME} " + ",".join(f'{name}="{value}"' for name, value in said.items())


def pay_sign(key: RSAPrivateKey, appid: str, at: str, nonce: str, package: str) -> str:
    """The signature that a page or a mini-program hands to WeChat with a prepared payment."""
    return rsa.sign(key, lines(appid, at, nonce, package))


def nonce_text() -> str:
    return secrets.token_hex(16)


def verify(keys: Keys, raw: bytes, headers: Mapping[str, str]) -> str:
    """The id of the key with which WeChat Pay signed a reply or a notification. ``headers``: names in lower case, or
    found in any. Raises :class:`BadSignature`."""
    at, nonce, serial, signature = (
        headers.get(f"wechatpay-{name}", "") for name in ("timestamp", "nonce", "serial", "signature")
    )
    if signature.startswith(PROBE):
        raise Probe
    if not (at.isascii() and at.isdigit() and len(at) <= 12 and nonce):
        raise BadSignature("no timestamp or no nonce")
    if abs(time.time() - int(at)) > TOLERANCE_SECONDS:
        raise BadSignature("the timestamp is outside the tolerance")
    key = keys.get(key_id(serial))
    if key is None:
        raise BadSignature(f"signed with an unknown key {serial[:64]!r}")
    if not rsa.verifies(key, signature, lines(at, nonce) + raw + b"\n"):
        raise BadSignature(f"not what {key_id(serial)} signed")
    return key_id(serial)


def decrypted(key: bytes, nonce: str, associated_data: str, ciphertext: str) -> bytes:
    """The text of a notification's ``resource``. ``ciphertext``: Base64, the tag at its end. Raises
    :class:`ValueError`."""
    try:
        return AESGCM(key).decrypt(nonce.encode(), b64decode(ciphertext, validate=True), associated_data.encode())
    except InvalidTag:
        raise ValueError("it was not encrypted with CLOCK_WECHAT_API_V3_KEY") from None
