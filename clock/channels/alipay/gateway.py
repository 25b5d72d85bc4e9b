"""Calls to the gateway: a signed form goes out, a reply is believed only if its node's bytes are signed."""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
import structlog

from clock.channels import Wait
from clock.channels.alipay.keys import Keys
from clock.channels.alipay.signing import node_of, signed_content
from clock.channels.alipay.texts import beijing
from clock.channels.calls import Calls, Said
from clock.config import Settings

log = structlog.get_logger()

PER_SECOND = 100.0
"""Calls of one method. Alipay publishes no figure for an application; over its own it answers 40005."""

FORM = {"content-type": "application/x-www-form-urlencoded;charset=utf-8", "accept": "application/json"}

MOST_REASON = 500
"""Characters of a reason that are kept."""


NUMBERS = ("out_trade_no", "trade_no", "out_request_no", "out_biz_no")
"""What a reply repeats of a question."""


class Heard(msgspec.Struct, frozen=True):
    """``fields``: the texts of a verified reply, its code among them; ``None``: nothing that can be believed."""

    said: Said
    fields: dict[str, str] | None = None
    node: bytes = b""
    reason: str = ""


class Gateway:
    def __init__(self, settings: Settings, keys: Keys, wait: Wait) -> None:
        self.url = settings.alipay_url
        self._app_id = settings.alipay_app_id
        self._keys = keys
        self._wait = wait
        self.calls = Calls()

    def form(self, method: str, business: Mapping[str, Any], **more: str) -> str:
        """The signed parameters, form-encoded. Everything is ASCII: no charset can change what was signed. None is
        empty: Alipay leaves such out of what it verifies."""
        parameters = {
            "app_id": self._app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": beijing(int(time.time() * 1000)),
            "version": "1.0",
            "biz_content": json.dumps(business, separators=(",", ":")),
            **self._keys.certified,
            **more,
        }
        content = signed_content((name.encode(), value.encode()) for name, value in parameters.items())
        return urlencode({**parameters, "sign": self._keys.sign(content)})

    async def ask(self, method: str, business: Mapping[str, str | Mapping[str, str]], **more: str) -> Heard:
        """Raises :class:`~clock.channels.TooManyCalls` before anything is sent. A reply about other numbers than those
        that were asked about is not believed: what is signed does not name the question."""
        await self._wait(method, PER_SECOND)
        said = await self.calls.send("POST", self.url, self.form(method, business, **more).encode(), FORM)
        if said.status != 200:
            return Heard(said, reason=f"HTTP {said.status}" if said.status > 0 else said.raw.decode())
        node = node_of(said.raw, f"{method.replace('.', '_')}_response")
        if node is None or not isinstance(node.content, dict):
            log.warning("alipay_reply_unreadable", method=method)
            return Heard(said, reason="unreadable")
        fields = {name: value for name, value in node.content.items() if isinstance(value, str)}
        reason = f"{fields.get('code', '')} {fields.get('sub_code', '')}".replace("\0", "").strip()[:MOST_REASON]
        if not self._keys.verifies(node.signature, node.raw, node.serial):
            log.warning("alipay_reply_unverified", method=method, says=reason)
            return Heard(said, reason=f"not verified: {reason}")
        if any(fields.get(name, value) != value for name, value in business.items() if name in NUMBERS):
            log.warning("alipay_reply_of_another", method=method)
            return Heard(said, reason="about another number")
        return Heard(said, fields, node.raw, reason)
