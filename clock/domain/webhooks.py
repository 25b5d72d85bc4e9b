"""What hosts are told, as the JSON that they receive: ``{"type", "timestamp", "data"}`` (docs/events.md).

``round`` is the day on which people join it, ``YYYY-MM-DD``. Amounts are in fen; instants in ms since the epoch.
Nothing here holds a mobile number, a name or the payload of a payment.
"""

from typing import ClassVar, Literal

import msgspec

from clock.domain.rounds import Rules

MOST_ITEMS = 100
"""Of an event that tells of several users."""


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``data`` of an event; ``TYPE`` is its ``type``."""

    TYPE: ClassVar[str]
    round: str


class RoundOpened(Told, frozen=True, kw_only=True):
    """A round was created, usually the day before people can join it."""

    TYPE: ClassVar[str] = "round.opened"
    rules: Rules
    join_opens_ms: int
    join_closes_ms: int
    check_in_opens_ms: int
    check_in_closes_ms: int
    """It may become longer (``round.extended``), and settlement is later then."""
    settle_ms: int
    claim_closes_ms: int
    seed_hash: str
    """SHA-256 of the seed that decides the packets, in hex."""


class RoundExtended(Told, frozen=True, kw_only=True):
    """Check-in of one shard closes later: one event a shard and extension."""

    TYPE: ClassVar[str] = "round.extended"
    shard: int
    cause: Literal["outage", "operator"]
    since_ms: int
    """When the outage began, or the operator said so."""
    by_ms: int
    closes_ms: int
    """When check-in of the shard closes now."""
    asleep: int
    """Members of the shard who had not checked in."""
    reason: str


class Final(Told, frozen=True, kw_only=True):
    """What does not change any more once check-in is over."""

    members: int
    winners: int
    late: int
    """Members whose payment was heard of during check-in."""
    pool_fen: int


class RoundClosed(Final, frozen=True, kw_only=True):
    """Check-in is over, and what belongs to it is in the books."""

    TYPE: ClassVar[str] = "round.closed"


class RoundSettled(Final, frozen=True, kw_only=True):
    """Packets can be claimed. ``pot_fen`` is what winners share besides their stakes."""

    TYPE: ClassVar[str] = "round.settled"
    refunded_fen: int
    forfeited_fen: int
    fee_fen: int
    carried_in_fen: int
    bonus_fen: int
    """What the house added to the pot."""
    pot_fen: int
    carried_out_fen: int
    bonus_back_fen: int
    """What of the bonus went back, because nobody won."""
    smallest_fen: int | None
    """The smallest packet; null where nobody won."""
    largest_fen: int | None


class RoundVoid(Final, frozen=True, kw_only=True):
    """The round was called off: every stake is owed back."""

    TYPE: ClassVar[str] = "round.void"
    reason: str


class Payment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payment that made a member."""

    uid: int
    order_no: str
    amount_fen: int
    late: bool
    """It was heard of during check-in: refunded, if the member does not check in."""
    paid_at_ms: int


class PaymentAccepted(Told, frozen=True, kw_only=True):
    """Users are members of the round."""

    TYPE: ClassVar[str] = "payment.accepted"
    items: list[Payment]


class Packet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a winner was credited; ``amount_fen`` is the sum of stake and packet."""

    uid: int
    amount_fen: int
    stake_fen: int
    packet_fen: int
    by: Literal["user", "system"]
    """``system``: the winner had not claimed when claiming closed."""


class PacketCredited(Told, frozen=True, kw_only=True):
    """Winners were credited their stakes and packets."""

    TYPE: ClassVar[str] = "packet.credited"
    items: list[Packet]


class FailedPayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transfer that the provider refused for good; the sum is in the user's balance."""

    uid: int
    no: str
    """Number of the transfer."""
    amount_fen: int
    reason: str
    """The provider's word."""


class PayoutFailed(Told, frozen=True, kw_only=True):
    """Payouts did not arrive, and will not under these numbers."""

    TYPE: ClassVar[str] = "payout.failed"
    items: list[FailedPayout]


class Refund(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payment that was given back."""

    uid: int
    no: str
    """Number of the refund."""
    order_no: str
    amount_fen: int


class RefundDone(Told, frozen=True, kw_only=True):
    """The provider has given payments back."""

    TYPE: ClassVar[str] = "refund.done"
    items: list[Refund]


TYPES: dict[str, type[Told]] = {
    kind.TYPE: kind
    for kind in (
        *(RoundOpened, RoundExtended, RoundClosed, RoundSettled, RoundVoid),
        *(PaymentAccepted, PacketCredited, PayoutFailed, RefundDone),
    )
}
"""Every type of event and the shape of its ``data``."""
