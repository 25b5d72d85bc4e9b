"""Alipay's signatures (RSA2, key mode), from the provider's side."""

import json
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from clock.channels import rsa
from clock.dev.providers.books import beijing_ms
from clock.runtime.dev_keys import AlipayKeys

STALE_SECONDS = 900


class NotSigned(Exception):
    """``sub_code`` of the refusal."""


def joined(parameters: Mapping[str, str]) -> bytes:
    """What is signed of parameters: sorted, without empty ones."""
    return "&".join(f"{name}={value}" for name, value in sorted(parameters.items()) if value).encode()


class AlipaySeal:
    def __init__(self, keys: AlipayKeys) -> None:
        self.keys = keys
        self._merchant = rsa.public_key(keys.merchant_public_key, "the merchant's key")
        self._private = rsa.private_key(keys.provider_private_key, "the provider's key")

    def check(self, parameters: Mapping[str, str], stale: bool = True) -> None:
        """A request's signature, over every parameter but ``sign``. Raises :class:`NotSigned`. ``stale``: whether its
        time matters; a link is opened when its user likes."""
        said = dict(parameters)
        sign = said.pop("sign", "")
        if said.get("sign_type") != "RSA2" or not sign or any(not value for value in said.values()):
            raise NotSigned("isv.missing-signature")
        if said.get("app_id") != self.keys.app_id:
            raise NotSigned("isv.invalid-app-id")
        if (said.get("charset", "").lower(), said.get("version"), said.get("format", "JSON")) != (
            "utf-8",
            "1.0",
            "JSON",
        ):
            raise NotSigned("isv.invalid-charset")
        if not rsa.verifies(self._merchant, sign, joined(said)):
            raise NotSigned("isv.invalid-signature")
        try:
            at_ms = beijing_ms(said.get("timestamp", ""))
        except ValueError:
            raise NotSigned("isv.invalid-timestamp") from None
        if stale and abs(time.time() * 1000 - at_ms) > STALE_SECONDS * 1000:
            raise NotSigned("isv.invalid-timestamp")

    def link(self, text: str) -> dict[str, str] | None:
        """The parameters of a signed link to pay by, or of the text that an app gets; ``None``: it is neither."""
        said = dict(parse_qsl(urlsplit(text).query if text.startswith("http") else text))
        if "biz_content" not in said:
            return None
        self.check(said, stale=False)
        return said

    def reply(self, method: str, body: Mapping[str, object], signed: bool = True) -> bytes:
        """Slashes are escaped, as Alipay does: who serialises the body again before verifying it gets other bytes."""
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
        name = f"{method.replace('.', '_')}_response"
        if not signed:
            return f'{{"{name}":{text}}}'.encode()
        return f'{{"{name}":{text},"sign":"{rsa.sign(self._private, text.encode())}"}}'.encode()

    def notification(self, said: Mapping[str, str]) -> bytes:
        """A form, signed over every parameter but ``sign`` and ``sign_type``."""
        sign = rsa.sign(self._private, joined(said))
        return urlencode({**said, "sign": sign, "sign_type": "RSA2"}).encode()
