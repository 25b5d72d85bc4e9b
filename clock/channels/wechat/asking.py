"""Signed calls to WeChat Pay, and replies that are believed only if they are signed."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import msgspec
import structlog
from yarl import URL

from clock.channels import BadSignature
from clock.channels.calls import Calls, Said
from clock.channels.wechat.settings import Merchant
from clock.channels.wechat.signing import authorization, verify

log = structlog.get_logger()


class Asking:
    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self.calls = Calls()

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Said:
        """A verified reply, or status 0 (certainly not delivered) or -1 (nothing is known), with the reason."""
        said = await self.unverified(method, path, body)
        if said.status <= 0:
            return said
        try:
            verify(self.merchant.keys, said.raw, said.headers)
        except BadSignature as error:
            log.warning("wechat_reply_unverified", path=path, status=said.status, why=str(error))
            return Said(-1, f"HTTP {said.status}, {error}".encode())
        return said

    async def unverified(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Said:
        """``path``: with the query, its parts quoted."""
        raw = msgspec.json.encode(body) if body is not None else b""
        url = self.merchant.url + path
        return await self.calls.send(method, url, raw, self._headers(method, url, raw))

    def long(self, url: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A bill, which comes unsigned: its hash was in a signed reply. Raises :data:`~clock.channels.calls.FAULTS`."""
        return self.calls.long("GET", url, b"", self._headers("GET", url, b""))

    def _headers(self, method: str, url: str, raw: bytes) -> dict[str, str]:
        target = URL(url).raw_path_qs  # as aiohttp sends it
        headers = {
            "Authorization": authorization(self.merchant, method, target, raw),
            "Accept": "application/json",
        }
        if self.merchant.public_key_id:
            headers["Wechatpay-Serial"] = self.merchant.public_key_id
        if raw:
            headers["Content-Type"] = "application/json"
        return headers
