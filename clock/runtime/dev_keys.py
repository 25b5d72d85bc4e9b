"""Development: both sides' keys of WeChat Pay and Alipay, by which the service and the provider's double know each
other, and the key of the beacon's double."""

import secrets
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from clock.beacon.own import KEY_BYTES

BITS = 2048

MCHID, APP_ID = "1900000001", "2021000000000001"
"""The merchant in development. Its provider is a double of ours."""


class WechatKeys(msgspec.Struct, frozen=True, kw_only=True):
    """``serial``: of the merchant's certificate. The provider signs with its key (``key_id``), and during a migration
    also with the older one, whose certificate has ``old_serial``."""

    mchid: str
    appid: str
    serial: str
    merchant_private_key: str
    merchant_public_key: str
    api_v3_key: str
    key_id: str
    provider_private_key: str
    provider_public_key: str
    old_serial: str
    old_private_key: str
    old_certificate: str


class AlipayKeys(msgspec.Struct, frozen=True, kw_only=True):
    app_id: str
    seller_id: str
    merchant_private_key: str
    merchant_public_key: str
    provider_private_key: str
    provider_public_key: str


def new_wechat_keys() -> str:
    merchant, provider, old = (_key() for _ in range(3))
    certificate = _certificate(old)
    keys = WechatKeys(
        mchid=MCHID,
        appid="wx0000000000000001",
        serial=secrets.token_hex(20).upper(),
        merchant_private_key=_private(merchant),
        merchant_public_key=_public(merchant),
        api_v3_key=secrets.token_hex(16),
        key_id="PUB_KEY_ID_0119000000012026010100000000000001",
        provider_private_key=_private(provider),
        provider_public_key=_public(provider),
        old_serial=f"{certificate.serial_number:X}",
        old_private_key=_private(old),
        old_certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
    )
    return msgspec.json.encode(keys).decode()


def new_alipay_keys() -> str:
    merchant, provider = _key(), _key()
    keys = AlipayKeys(
        app_id=APP_ID,
        seller_id="2088000000000001",
        merchant_private_key=_private(merchant),
        merchant_public_key=_public(merchant),
        provider_private_key=_private(provider),
        provider_public_key=_public(provider),
    )
    return msgspec.json.encode(keys).decode()


def new_beacon_key() -> str:
    return secrets.token_hex(KEY_BYTES)


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=BITS)


def _private(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _public(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Of the provider's older key, signed by itself: five years, as platform certificates have."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tenpay.com sign")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int("5" + secrets.token_hex(20)[1:], 16))  # of forty digits, as theirs are
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=5 * 365))
        .sign(key, hashes.SHA256())
    )
