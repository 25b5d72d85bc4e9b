"""Payment channels: one small interface, one file an implementation."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from clock.domain.shapes import PaymentCallback


class Result(msgspec.Struct, frozen=True):
    """What a channel says of a refund or a transfer.

    ``done`` and ``failed`` are final. ``processing``: it has it, ask later. ``again``: certainly not done.
    ``not_found``: it does not know the number. ``unknown``: no answer that could be understood.
    """

    state: Literal["done", "failed", "processing", "again", "not_found", "unknown"]
    reason: str = ""


class OrderState(msgspec.Struct, frozen=True):
    """What a channel says of an order; ``payment`` where it is paid, as the callback would have said it."""

    state: Literal["paid", "unpaid", "closed", "unknown"]
    payment: PaymentCallback | None = None


class BillLine(msgspec.Struct, frozen=True):
    """One movement of money in the provider's daily bill."""

    kind: Literal["payment", "refund", "transfer"]
    no: str
    """The transaction's, the refund's or the transfer's number."""
    order_no: str
    amount_fen: int
    at_ms: int
    payer: str = ""


class BadSignature(Exception):
    """Nobody who knows a secret sent this, or not within the tolerance."""


class Channel(Protocol):
    """A way for money to come in and go out. Calls out never raise for a provider in trouble: they say so."""

    name: str

    def pay_with(self, order_no: str, amount_fen: int) -> dict[str, Any]:
        """What the client needs to pay the order with."""
        ...

    def verify(self, raw: bytes, headers: Mapping[str, str]) -> None:
        """Raises :class:`BadSignature` for a callback that is not the provider's."""
        ...

    async def query_order(self, order_no: str) -> OrderState: ...

    async def close_order(self, order_no: str) -> OrderState: ...

    async def refund(self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int) -> Result: ...

    async def query_refund(self, refund_no: str) -> Result: ...

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result: ...

    async def query_transfer(self, transfer_no: str) -> Result: ...

    async def bill(self, day: str) -> list[BillLine] | None:
        """The movements of a local day; ``None`` while it is not to be had."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
