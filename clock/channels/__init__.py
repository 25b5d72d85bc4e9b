"""Payment channels: one small interface, one file an implementation."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal, Protocol

import msgspec

from clock.domain.shapes import PaymentCallback


class Result(msgspec.Struct, frozen=True):
    """A channel's reply about a refund or a transfer.

    ``done`` and ``failed`` are final. ``processing``: accepted, query later. ``again``: certainly not done, retry.
    ``not_found``: unknown number. ``unknown``: no reply, or an unreadable one.
    """

    state: Literal["done", "failed", "processing", "again", "not_found", "unknown"]
    reason: str = ""


class OrderState(msgspec.Struct, frozen=True):
    """A channel's reply about an order; ``payment`` if it is paid, as the callback would have it. Paid without it says
    too little: the order stays unanswered."""

    state: Literal["paid", "unpaid", "closed", "unknown"]
    payment: PaymentCallback | None = None


class BillLine(msgspec.Struct, frozen=True):
    """One movement of money in the provider's daily bill."""

    kind: Literal["payment", "refund", "transfer"]
    no: str
    """Number of the transaction, the refund or the transfer."""
    order_no: str
    amount_fen: int
    at_ms: int
    payer: str = ""


class NoBill(Exception):
    """There is no bill of the day, or not yet, or it cannot be read to its end."""


class BadSignature(Exception):
    """The signature is invalid or its timestamp is outside the tolerance."""


class Channel(Protocol):
    """A payment provider. Calls to it do not raise if it is down or fails: their result says so."""

    name: str

    def silent_seconds(self) -> float:
        """How long calls have gone without an answer; 0 if the last one had one, or is long ago."""
        ...

    def pay_with(self, order_no: str, amount_fen: int) -> dict[str, Any]:
        """Data that the client needs to pay the order."""
        ...

    def verify(self, raw: bytes, headers: Mapping[str, str]) -> None:
        """Raises :class:`BadSignature` for a callback without a valid signature."""
        ...

    async def query_order(self, order_no: str) -> OrderState: ...

    async def close_order(self, order_no: str) -> OrderState: ...

    async def refund(self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int) -> Result: ...

    async def query_refund(self, refund_no: str) -> Result: ...

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result: ...

    async def query_transfer(self, transfer_no: str) -> Result: ...

    def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        """The movements of a local day, in pages: a bill may have millions of lines. Raises :class:`NoBill`, also after
        some pages; then these count for nothing."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
