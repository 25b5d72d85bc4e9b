"""Payment channels: one small interface, a package or a file an implementation.

What is shared by all of them is here: neutral types, and nothing that one provider alone has.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

State = Literal["done", "failed", "processing", "again", "not_found", "unknown"]


class Result(msgspec.Struct, frozen=True):
    """A channel's reply about a refund or a transfer.

    ``done`` and ``failed`` are final. ``processing``: accepted, query later. ``again``: certainly not done, retry.
    ``not_found``: unknown number. ``unknown``: no reply, an unreadable one, or one whose signature is invalid.
    ``confirm``: what the client needs, where the user has to confirm a transfer.
    """

    state: State
    reason: str = ""
    confirm: dict[str, Any] | None = None


class Payment(msgspec.Struct, frozen=True):
    """A successful payment, as a provider reports it. What it does not say is empty, and fails a check later."""

    order_no: str
    amount_fen: int | None
    """Of the order: not what the user paid after a coupon of the provider's."""
    transaction_id: str
    buyer: str
    """To be compared with the order's ``openId``."""
    paid_at_ms: int = -1
    """-1: unknown, and the payment counts from its arrival."""
    kept: bytes = b""
    """What is kept of the message, so that :meth:`Channel.parse` can read it again years later: decrypted, without
    anything secret."""


class Ended(msgspec.Struct, frozen=True):
    """A provider says that a refund or a transfer has ended. That is a hint: it brings the next question forward."""

    no: str


Notice = Payment | Ended | None
"""What a notification says; ``None``: nothing that concerns us."""


class OrderState(msgspec.Struct, frozen=True):
    """A channel's reply about an order; ``payment`` if it is paid, as the callback would have it. Paid without it says
    too little: the order stays unanswered."""

    state: Literal["paid", "unpaid", "closed", "unknown"]
    payment: Payment | None = None


How = Literal["jsapi", "h5", "native", "app"]
"""Where the user pays: within the provider's own app, in a browser of the phone, by scanning a code with another
device, in an app of the operator's. Not every channel has all of them."""


class Purchase(msgspec.Struct, frozen=True):
    """What is to be paid. Asked for again, it is the same: everything follows from the order."""

    order_no: str
    amount_fen: int
    open_id: str
    expires_ms: int
    """When joining closes: nobody can pay after it."""
    how: How
    address: str = ""
    """The payer's IP address, which some providers want to know."""


class PayRefused(Exception):
    """The provider does not take the purchase: why."""


class Silent(Exception):
    """The provider does not answer, or not so that it can be verified. Nothing is known; asking again is safe."""


Movement = Literal["payment", "refund", "transfer"]

MOVEMENTS: frozenset[Movement] = frozenset(("payment", "refund", "transfer"))


class BillLine(msgspec.Struct, frozen=True):
    """One movement of money in the provider's daily bill."""

    kind: Movement
    no: str
    """Number of the transaction, the refund or the transfer."""
    order_no: str
    amount_fen: int
    at_ms: int
    payer: str = ""
    """Empty where the bill does not say: a payment that is mended from it is looked up first."""


BILLED = b"bill "
"""Before a line that is kept in the place of a notification that never came: no provider's begins with it."""


def payment_billed(line: BillLine) -> Payment:
    """A payment of a bill, as the callback would have it that was never heard of."""
    kept = BILLED + msgspec.json.encode(line)
    return Payment(line.order_no, line.amount_fen, line.no, line.payer, line.at_ms, kept)


def payment_kept(kept: bytes) -> Payment | None:
    """What :func:`payment_billed` had kept; ``None``: it is a notification, which its channel reads."""
    if not kept.startswith(BILLED):
        return None
    try:
        return payment_billed(msgspec.json.decode(kept.removeprefix(BILLED), type=BillLine))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class NoBill(Exception):
    """There is no bill of the day, or it cannot be read to its end."""


class NotYet(NoBill):
    """There is no bill of the day yet; there will be."""


class BadSignature(Exception):
    """The signature is invalid or its timestamp is outside the tolerance."""


class Probe(BadSignature):
    """The provider sends a wrong signature on purpose, to see it refused. Nobody has to be alarmed."""


class Unreadable(Exception):
    """A message with a valid signature cannot be read. ``kept``: what is kept of it."""

    def __init__(self, why: str, kept: bytes) -> None:
        super().__init__(why)
        self.kept = kept


TAKEN = frozenset(
    (
        *("ok", "paid", "already_paid", "refund_due"),
        *("order_not_found", "amount_mismatch", "buyer_mismatch", "transaction_missing", "bad_request"),
    )
)
"""Words by which a notification is taken care of, for good: what fails a check is in the quarantine, and sending it
again would change nothing."""


class Reply(msgspec.Struct, frozen=True):
    """What a provider wants as the answer to a notification."""

    status: int
    media_type: str = ""
    body: bytes = b""


Wait = Callable[[str, float], Awaitable[None]]
"""Waits until one more call to an endpoint (``wechat.refund``) is within its limit of calls a second, which all
processes share. Raises :class:`TooManyCalls` where that takes too long."""


class TooManyCalls(Exception):
    """The endpoint's limit is used up for longer than a caller should wait; nothing was sent."""


PULLING = ("wechat",)
"""The channels that pull, as the books know them: what the rule of a claim depends on must not change with the settings
of the process that writes it."""


class Channel(Protocol):
    """A payment provider. Calls to it do not raise if it is down or fails: their result says so."""

    name: str
    pulls: bool
    """Whether users have to confirm a transfer: then stakes go back as refunds, and packets into the balance
    (docs/rules.md, *The way out of a balance*)."""
    least_transfer_fen: int
    most_transfer_fen: int
    ready: bool
    """Whether calls to it can be sent at all: a platform without a URL is only heard."""
    billed: frozenset[Movement]
    """What its bills have lines of; anything else is not missed in them."""
    transfers_known_days: int
    """So long after a transfer the provider's *not found* can be believed. Later it is never sent again by itself."""
    notification: type[msgspec.Struct] | None
    """What the provider posts, where that is JSON with names: for the OpenAPI document."""
    hows: tuple[How, ...]
    """Where users can pay; the first is the default. Empty: :meth:`pay` does not care."""

    def silent_seconds(self) -> float:
        """How long calls have gone without an answer; 0 if the last one had one, or is long ago."""
        ...

    def pay_at_once(self, order_no: str, amount_fen: int) -> dict[str, Any] | None:
        """What the client needs to pay, where no call to the provider is needed for it."""
        ...

    async def pay(self, purchase: Purchase) -> dict[str, Any]:
        """What the client hands to the provider. Raises :class:`PayRefused`, :class:`Silent`, :class:`TooManyCalls`."""
        ...

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Notice:
        """Verify a notification, decrypt and parse it. Raises :class:`BadSignature`, :class:`Unreadable`."""
        ...

    def parse(self, kept: bytes) -> Payment:
        """What :meth:`read` had kept of a payment. Raises :class:`Unreadable`."""
        ...

    def answer(self, word: str) -> Reply | None:
        """The provider's form of an answer to a notification (a word of :mod:`clock.domain.outcomes`); ``None``: the
        envelope."""
        ...

    async def query_order(self, order_no: str) -> OrderState: ...

    async def close_order(self, order_no: str) -> OrderState:
        """If the order is already paid, the state is ``paid``."""
        ...

    async def refund(
        self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int, total_fen: int
    ) -> Result:
        """``total_fen``: what was paid for the order."""
        ...

    async def query_refund(self, refund_no: str, order_no: str) -> Result: ...

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result: ...

    async def query_transfer(self, transfer_no: str) -> Result: ...

    def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        """The movements of a local day, in pages: a bill may have millions of lines. Raises :class:`NoBill`, also after
        some pages; then these count for nothing."""
        ...

    async def check(self) -> list[str]:
        """One signed question to the provider: what works, in sentences. Raises :class:`Silent` with what does not."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
