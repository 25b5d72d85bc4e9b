"""RSA with SHA-256 (PKCS#1 v1.5, RFC 8017, 8.2), as both WeChat Pay and Alipay sign."""

from base64 import b64decode, b64encode

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from clock.config import BadSetting

SHORTEST_BITS = 2048


def private_key(pem: str, setting: str) -> RSAPrivateKey:
    """Raises :class:`BadSetting` naming the setting, without its text."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise BadSetting(f"{setting} is not a private key in PEM without a password") from error
    if not isinstance(key, RSAPrivateKey) or key.key_size < SHORTEST_BITS:
        raise BadSetting(f"{setting} is not an RSA key of at least {SHORTEST_BITS} bits")
    return key


def public_key(pem: str, setting: str) -> RSAPublicKey:
    """Of a public key or of a certificate. Raises :class:`BadSetting`."""
    try:
        if "CERTIFICATE" in pem:
            key = x509.load_pem_x509_certificate(pem.encode()).public_key()
        else:
            key = serialization.load_pem_public_key(pem.encode())  # type: ignore[assignment]
    except ValueError as error:
        raise BadSetting(f"{setting} is not a public key or a certificate in PEM") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < SHORTEST_BITS:
        raise BadSetting(f"{setting} is not an RSA key of at least {SHORTEST_BITS} bits")
    return key


def belongs(public: RSAPublicKey, private: RSAPrivateKey) -> bool:
    """Whether both are one pair. A provider's public key that is our own is a mistake that many make."""
    return public.public_numbers() == private.public_key().public_numbers()


def sign(key: RSAPrivateKey, message: bytes) -> str:
    """The signature in Base64."""
    return b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def verifies(key: RSAPublicKey, signature: str, message: bytes) -> bool:
    """Whether the signature (Base64) is the key's over exactly these bytes."""
    try:
        key.verify(b64decode(signature, validate=True), message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True
