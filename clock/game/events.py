"""The events that scripts append to the outbox: one entry a call, MessagePack, a column or a row a user.

An entry is the stream field ``e`` holding ``[verb's event, …fields]``. The field names here are what the
``ENTRY`` lines of the scripts must say; the loader compares the two.

While one version replaces the other, each reads what the other appends. So a new field stands last and has a default:
an older worker passes over it, a newer one reads entries without it. Fields are never removed, moved or given another
meaning, and a row never becomes longer: what is new about users is a list of its own. A new event, or a new word in a
field, cannot be read by an older worker. It leaves the entry, and those after it, to a newer one.
"""

from typing import Literal

import msgspec

PaymentOutcome = Literal[
    "paid", "paid_late", "refund_late", "refund_closed", "refund_second", "refund_void", "refund_released"
]


class Ordered(msgspec.Struct, frozen=True, array_like=True, tag="ordered"):
    """Rows ``[uid, order_no, order_id, amount_fen, open_id, mobile, nickname]``."""

    at_ms: int
    rows: list[tuple[int, str, int, int, str, str, str]]


class Payment(msgspec.Struct, frozen=True, array_like=True, tag="payment"):
    """Rows ``[uid, order_no, transaction_id, amount_fen, paid_at_ms, outcome, channel, raw body]``."""

    at_ms: int
    rows: list[tuple[int, str, str, int, int, PaymentOutcome, str, str]]


class Quarantined(msgspec.Struct, frozen=True, array_like=True, tag="quarantined"):
    """Rows ``[channel, reason, order_no, raw body in base64]``."""

    at_ms: int
    rows: list[tuple[str, str, str, str]]


class CheckedIn(msgspec.Struct, frozen=True, array_like=True, tag="checked_in"):
    """The first user is the shard's winner number ``first_rank`` (from 1), the next the one after it, …"""

    at_ms: int
    first_rank: int
    uids: list[int]


class Claimed(msgspec.Struct, frozen=True, array_like=True, tag="claimed"):
    """Each user got the packet of the shard with the number in ``indexes`` (from 0). One number: the first of
    consecutive ones, as it was before a packet belonged to a rank."""

    at_ms: int
    by: Literal["user", "system"]
    stake_fen: int
    indexes: int | list[int]
    uids: list[int]
    packets_fen: list[int]


class Profiled(msgspec.Struct, frozen=True, array_like=True, tag="profiled"):
    """Rows ``[uid, open_id, mobile, nickname]``; an empty text changes nothing."""

    at_ms: int
    rows: list[tuple[int, str, str, str]]


class Closed(msgspec.Struct, frozen=True, array_like=True, tag="closed"):
    """The final totals of the shard; ``why`` it was closed. ``split``: it had forgotten that it was closed."""

    at_ms: int
    why: Literal["settle", "void", "split"]
    members: int
    winners: int
    late: int
    pool_fen: int


class Extended(msgspec.Struct, frozen=True, array_like=True, tag="extended"):
    """The shard's check-in closes ``by_ms`` later, at ``closes_ms``: nobody could check in since ``since_ms``, or an
    operator said so. ``asleep``: members who had not checked in."""

    at_ms: int
    cause: Literal["outage", "operator"]
    since_ms: int
    by_ms: int
    closes_ms: int
    asleep: int
    reason: str
    by_whom: str


class Reminded(msgspec.Struct, frozen=True, array_like=True, tag="reminded"):
    """Rows ``[uid, 1 or 0]``: the reminder switch."""

    at_ms: int
    rows: list[tuple[int, Literal[0, 1]]]


class Acknowledged(msgspec.Struct, frozen=True, array_like=True, tag="acknowledged"):
    """Rows ``[uid, day number of the round whose result was seen]``."""

    at_ms: int
    rows: list[tuple[int, int]]


Event = Ordered | Payment | Quarantined | CheckedIn | Claimed | Profiled | Closed | Extended | Reminded | Acknowledged

BY_TAG: dict[str, type[Event]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (Ordered, Payment, Quarantined, CheckedIn, Claimed, Profiled, Closed, Extended, Reminded, Acknowledged)
}

decode = msgspec.msgpack.Decoder(Event).decode
"""Bytes of an entry's field ``e`` to an event; raises ``msgspec.ValidationError``."""
