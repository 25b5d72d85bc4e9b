"""What WeChat Pay signs with: one or several keys by their ids (``CLOCK_WECHAT_KEYS``).

On a migration notifications move from a platform certificate to the public key over several days, so both have to be
known at once. Keys are never fetched: whoever could forge the download could forge payments.
"""

import re

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from clock.channels import rsa
from clock.config import BadSetting

SETTING = "CLOCK_WECHAT_KEYS"

PUBLIC_KEY_ID = "PUB_KEY_ID_"
"""How the id of a public key begins. A platform certificate's id is its serial number in hexadecimal digits."""

ONE = re.compile(rf"(?:({PUBLIC_KEY_ID}\w+)\s+)?(-----BEGIN (PUBLIC KEY|CERTIFICATE)-----.+?-----END \3-----)", re.S)

Keys = dict[str, RSAPublicKey]


def verifying_keys(text: str) -> Keys:
    """The keys by :func:`key_id`, in the order of the setting. Raises :class:`BadSetting`."""
    keys: Keys = {}
    for number, pem, kind in ONE.findall(text):
        if kind == "PUBLIC KEY" and not number:
            raise BadSetting(f"{SETTING}: a public key needs its id {PUBLIC_KEY_ID}… in the line above it")
        if kind == "CERTIFICATE" and number:
            raise BadSetting(f"{SETTING}: a certificate's id is its serial number; {number} stands above one")
        key = rsa.public_key(pem, SETTING)
        name = key_id(number or f"{x509.load_pem_x509_certificate(pem.encode()).serial_number:X}")
        if name in keys:
            raise BadSetting(f"{SETTING} has {name} twice")
        keys[name] = key
    if not keys or ONE.sub("", text).strip():
        raise BadSetting(f"{SETTING} must be public keys below lines with their ids, or certificates, all in PEM")
    return keys


def key_id(serial: str) -> str:
    """An id as it is compared: serial numbers differ by case and by zeros before them."""
    return serial.strip().upper().lstrip("0")
