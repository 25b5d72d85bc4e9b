"""Signatures and encryption of WeChat Pay's API v3, from the provider's side."""

import json
import re
import secrets
import time
from base64 import b64encode
from collections.abc import Mapping

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clock.channels import rsa
from clock.runtime.dev_keys import WechatKeys

STALE_SECONDS = 300

CREDENTIALS = re.compile(r'(\w+)="([^"]*)"')
SCHEME = "WECHATPAY2-SHA256-RSA2048"


class NotSigned(Exception):
    """Why a request is refused."""


class WechatSeal:
    """``keys``: the merchant's and both of the provider's."""

    def __init__(self, keys: WechatKeys) -> None:
        self.keys = keys
        self._merchant = rsa.public_key(keys.merchant_public_key, "the merchant's key")
        self._signing = {
            keys.key_id: rsa.private_key(keys.provider_private_key, "the provider's key"),
            keys.old_serial: rsa.private_key(keys.old_private_key, "the provider's older key"),
        }

    def check(self, method: str, path_query: str, raw: bytes, headers: Mapping[str, str]) -> None:
        """Verify a request's ``Authorization``. Raises :class:`NotSigned`."""
        scheme, _, text = headers.get("Authorization", "").partition(" ")
        said = dict(CREDENTIALS.findall(text))
        if scheme != SCHEME or not {"mchid", "nonce_str", "signature", "timestamp", "serial_no"} <= said.keys():
            raise NotSigned("no Authorization of API v3")
        if said["mchid"] != self.keys.mchid or said["serial_no"] != self.keys.serial:
            raise NotSigned("another merchant or certificate")
        if not said["timestamp"].isdecimal() or abs(time.time() - int(said["timestamp"])) > STALE_SECONDS:
            raise NotSigned("stale")
        signed = f"{method}\n{path_query}\n{said['timestamp']}\n{said['nonce_str']}\n".encode() + raw + b"\n"
        if not rsa.verifies(self._merchant, said["signature"], signed):
            raise NotSigned("the signature is another's, or of other bytes")

    def sign(self, raw: bytes, serial: str, probe: bool = False) -> dict[str, str]:
        """Headers of a reply or of a notification. ``probe``: with a signature that must be refused."""
        timestamp, nonce = str(int(time.time())), secrets.token_hex(16)
        signature = rsa.sign(self._signing[serial], f"{timestamp}\n{nonce}\n".encode() + raw + b"\n")
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": f"WECHATPAY/SIGNTEST/{signature}" if probe else signature,
            "Wechatpay-Signature-Type": SCHEME,
            "Wechatpay-Serial": serial,
        }

    def serial_for(self, wanted: str) -> str:
        """Replies are signed with the key that the request names."""
        return wanted if wanted in self._signing else self.keys.old_serial

    def encrypted(self, kind: str, resource: Mapping[str, object]) -> dict[str, str]:
        nonce = secrets.token_hex(6)
        text = json.dumps(resource, ensure_ascii=False).encode()
        ciphertext = AESGCM(self.keys.api_v3_key.encode()).encrypt(nonce.encode(), text, kind.encode())
        return {
            "original_type": kind,
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": b64encode(ciphertext).decode(),
            "associated_data": kind,
            "nonce": nonce,
        }
