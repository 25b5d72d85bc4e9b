"""The generic channel: incoming callbacks and outgoing calls, both signed as Standard Webhooks
(https://www.standardwebhooks.com).

Outgoing calls are ``POST <CLOCK_PLATFORM_URL>/<action>`` with a JSON body that repeats the action, so that the
signature covers it; ``docs/platform.md`` lists them. The sandbox provider answers all of them.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from time import monotonic
from typing import Any

import aiohttp
import msgspec
import structlog

from clock.channels import BillLine, NoBill, OrderState, Result
from clock.channels.lines import Unreadable, pages_of
from clock.channels.webhooks import Signatures
from clock.domain.shapes import PaymentCallback, PaymentExtra, signed_decoder

log = structlog.get_logger()

TIMEOUT_SECONDS = 10.0

BILL_SECONDS = 1800.0
"""How long reading a day's bill may take; each part of it comes within :data:`TIMEOUT_SECONDS`."""

MOST_REPLY, MOST_BILL = 1 << 20, 1 << 30
"""Bytes of a reply, and of a day's bill; what is larger is unreadable."""

CALLED_SECONDS = 1800.0
"""A failed call says nothing about the platform after so long."""

MOST_REASON = 500
"""Characters of a reason that are kept."""


class StateReply(msgspec.Struct, frozen=True):
    """The platform's reply about a refund or a transfer. ``reason`` is for people, of any type."""

    state: str
    reason: Any = ""


class OrderReply(msgspec.Struct, frozen=True):
    state: str
    payment: PaymentExtra | None = None


_state_reply, _order_reply = signed_decoder(StateReply), signed_decoder(OrderReply)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What they raise."""


class Platform:
    """With an empty ``url`` nothing can be sent, and everything stays owed."""

    name = "platform"

    def __init__(self, url: str, secrets: str) -> None:
        self._url = url.rstrip("/")
        self._signatures = Signatures(secrets)
        self._session: aiohttp.ClientSession | None = None
        self._silent_since: float | None = None
        self._called_at = 0.0

    def silent_seconds(self) -> float:
        if self._silent_since is None or monotonic() - self._called_at > CALLED_SECONDS:
            return 0.0
        return monotonic() - self._silent_since

    def pay_with(self, order_no: str, amount_fen: int) -> dict[str, Any]:
        return {"channel": self.name, "order_no": order_no, "amount": amount_fen}

    def verify(self, raw: bytes, headers: Mapping[str, str]) -> None:
        self._signatures.verify(raw, headers)

    async def query_order(self, order_no: str) -> OrderState:
        return await self._order("query_order", order_no)

    async def close_order(self, order_no: str) -> OrderState:
        """If the order is already paid, the state is ``paid``."""
        return await self._order("close_order", order_no)

    async def refund(self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int) -> Result:
        return await self._result(
            "refund", refund_no=refund_no, order_no=order_no, transactionId=transaction_id, amount=amount_fen
        )

    async def query_refund(self, refund_no: str) -> Result:
        return await self._result("query_refund", refund_no=refund_no)

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result:
        return await self._result("transfer", transfer_no=transfer_no, openId=open_id, amount=amount_fen)

    async def query_transfer(self, transfer_no: str) -> Result:
        return await self._result("query_transfer", transfer_no=transfer_no)

    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        if not self._url:
            raise NoBill("CLOCK_PLATFORM_URL is not set")
        timeout = aiohttp.ClientTimeout(total=BILL_SECONDS, sock_connect=TIMEOUT_SECONDS, sock_read=TIMEOUT_SECONDS)
        status = 0
        try:
            async with self._request("bill", _body("bill", day=day), timeout) as reply:
                status = reply.status
                if status != 200:
                    raise NoBill(f"HTTP {status}")
                async for page in pages_of(_pieces(reply, MOST_BILL)):
                    yield page
        except Unreadable as error:
            log.warning("platform_reply_unreadable", action="bill")
            raise NoBill("unreadable") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NoBill(type(error).__name__) from error
        finally:
            self._note(status)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _order(self, action: str, order_no: str) -> OrderState:
        status, raw = await self._send(action, order_no=order_no)
        if _not_found(status, raw):
            return OrderState("unpaid")
        try:
            reply = _order_reply(raw) if status == 200 else None
        except UNREADABLE:
            reply = None
        if reply is None or reply.state not in ("paid", "unpaid", "closed"):
            return OrderState("unknown")
        payment = PaymentCallback(order_no, reply.payment) if reply.payment else None
        return OrderState(reply.state, payment)  # type: ignore[arg-type]

    async def _result(self, action: str, **body: Any) -> Result:
        status, raw = await self._send(action, **body)
        if status == 0:
            return Result("again", raw.decode())
        if _not_found(status, raw):
            return Result("not_found")
        try:
            reply = _state_reply(raw) if status == 200 else None
        except UNREADABLE:
            reply = None
        if reply is None or reply.state not in ("done", "failed", "processing", "again"):
            return Result("unknown", f"HTTP {status}" if status > 0 else raw.decode())
        return Result(reply.state, str(reply.reason).replace("\0", "")[:MOST_REASON])  # type: ignore[arg-type]

    async def _send(self, action: str, **body: Any) -> tuple[int, bytes]:
        """HTTP status and body. Status 0: certainly not delivered; -1: unknown whether it was delivered."""
        if not self._url:
            return 0, b"CLOCK_PLATFORM_URL is not set"
        status, reply = await self._post(action, _body(action, **body))
        self._note(status)
        return status, reply

    def _note(self, status: int) -> None:
        self._called_at = monotonic()
        if 0 < status < 500:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = self._called_at

    async def _post(self, action: str, raw: bytes) -> tuple[int, bytes]:
        try:
            async with self._request(action, raw, aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as reply:
                return reply.status, await _read(reply, MOST_REPLY)
        except aiohttp.ClientConnectorError:
            return 0, b"no connection"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return -1, type(error).__name__.encode()

    def _request(
        self, action: str, raw: bytes, timeout: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A redirect would carry the signed body to whoever is named: its status is an unknown outcome."""
        headers = self._signatures.sign(raw)
        url = f"{self._url}/{action}"
        return self._connected().post(url, data=raw, headers=headers, allow_redirects=False, timeout=timeout)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession()
        return self._session


def _body(action: str, **body: Any) -> bytes:
    """Repeats the action, so that the signature covers it."""
    return msgspec.json.encode({"action": action, **body})


async def _read(reply: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, or nothing of one that is too large."""
    body = bytearray()
    with suppress(Unreadable):
        async for piece in _pieces(reply, most):
            body += piece
        return bytes(body)
    return b""


async def _pieces(reply: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    """The body as it comes. Raises :class:`Unreadable` for one that is too large."""
    size = 0
    async for piece in reply.content.iter_any():
        size += len(piece)
        if size > most:
            raise Unreadable("too large")
        yield piece


def _not_found(status: int, raw: bytes) -> bool:
    """Whether the platform says that it does not know the number. A gateway's own 404 has another body."""
    if status != 404:
        return False
    try:
        return _state_reply(raw).state == "not_found"
    except UNREADABLE:
        return False
