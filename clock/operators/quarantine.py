"""Releasing from the quarantine: an operator decides once about a signed callback that was not credited.

*refund*: the payment is owed back to its transaction, under its fixed refund number. *dismiss*: no money moves. A
release never makes a member. If the order is in Redis, the script that owes the refund also records it, so that a
later callback of the same payment is refused; if the order is not in Redis, every later callback is quarantined.
"""

from datetime import date
from time import monotonic
from typing import Any, Literal

import msgspec

from clock.books import entries, outbox
from clock.books.leases import held
from clock.books.owed import refund_no
from clock.books.partitions import months_played, only
from clock.books.store import RELEASE_LOCK, Connection, Store, rows, unhurried
from clock.channels import Channel, Unreadable, payment_kept
from clock.domain import order_no
from clock.domain.order_no import Place
from clock.domain.outcomes import Answer, Unavailable
from clock.game import events, keys
from clock.game.client.calls import call
from clock.game.scripts import load
from clock.payments.incoming import body_sha1, readable
from clock.service import Service, live_rounds

RELEASE, DECIDED = load("release"), load("decided")

Action = Literal["refund", "dismiss"]

NOBODY = 0
"""The uid for a payment of an unknown order number."""

MOST_FEN = 2**53 - 1

DRAIN_SECONDS = 10.0


class CannotRelease(Exception):
    """Why this callback cannot be released like this; nothing was done."""


class Decision(msgspec.Struct, frozen=True):
    action: Action
    reason: str
    by_whom: str


class Payment(msgspec.Struct, frozen=True):
    """The readable contents of a quarantined body; ``why_not`` is set if it cannot be refunded."""

    transaction_id: str = ""
    amount_fen: int | None = None
    paid_at_ms: int = -1
    why_not: str = ""


Channels = dict[str, Channel]


def payment_of(channels: Channels, channel: str, raw: bytes) -> Payment:
    """``raw``: what was kept of the channel's notification."""
    if channel not in channels:
        return Payment(why_not="channel_missing")
    try:
        paid = payment_kept(raw) or channels[channel].parse(raw)
    except Unreadable:
        return Payment(why_not="unreadable")
    amount_fen = paid.amount_fen if paid.amount_fen is not None and 0 < paid.amount_fen <= MOST_FEN else None
    missing = {"order": paid.order_no, "transaction": paid.transaction_id, "amount": amount_fen}
    why_not = next((f"{name}_missing" for name, value in missing.items() if not value), "")
    if ":" in paid.order_no:  # invalid at every provider; the ledger's causes use it as a separator
        why_not = "unreadable"
    return Payment(paid.transaction_id, amount_fen, paid.paid_at_ms, why_not)


async def quarantined(store: Store, channels: Channels, page: int, limit: int, waiting: bool = False) -> Answer:
    """Signed callbacks that failed a check, newest first, each with the decision about it, if any."""
    count = await store.one("count_quarantine") or {}
    found = await store.all("list_quarantine", waiting=waiting, limit=limit, offset=(page - 1) * limit)
    total = count["waiting"] if waiting else count["total"]
    refunds = [row for row in found if row["refund_no"]]
    days, nos = only(row["refund_day"] for row in refunds), [row["refund_no"] for row in refunds]
    states = {row["no"]: row["state"] for row in await store.all("refund_states", days=days, nos=nos)}
    items = [_kept(channels, {**row, "refund_state": states.get(row["refund_no"])}) for row in found]
    return Answer("ok", {"total": total, "waiting": count["waiting"], "items": items})


def _kept(channels: Channels, row: dict[str, Any]) -> dict[str, Any]:
    """A quarantined callback for operators; ``why_not`` says why its payment cannot be refunded."""
    decided = ("action", "why", "by_whom", "released_ms", "amount_fen", "refund_no", "refund_state")
    shown = {name: value for name, value in row.items() if name not in (*decided, "refund_day")}
    payment = payment_of(channels, row["channel"], row["raw"])
    shown |= {"day": row["day"].isoformat(), "raw": row["raw"].decode("utf-8", "replace")}
    shown |= {"transaction_id": payment.transaction_id, "amount": payment.amount_fen, "why_not": payment.why_not}
    shown["released"] = {name: row[name] for name in decided} if row["action"] else None
    return shown


async def release(service: Service, entry: str, action: Action, reason: str, by_whom: str) -> Answer:
    """Decide about the callback with the id ``entry`` (SHA-256 in hex). Repeating the decision answers as the first
    time; another one answers ``already_released`` with the first. Raises :class:`Unavailable`; a retry is safe.
    """
    digest = bytes.fromhex(entry)
    try:
        kept = await service.store.one("get_quarantined", digest=digest)
        if kept is None:
            return Answer("quarantined_not_found")
        with unhurried():
            place, row = await _alone(service, digest, Decision(action, reason, by_whom))
        if place is not None:
            await _tell_order(service, place, row["order_no"])
            await outbox.drain(service.store, service.redis, place.day, place.shard)
    except CannotRelease as error:
        return Answer("cannot_release", {"why": str(error)})
    return Answer("released" if row["action"] == action else "already_released", decision(entry, row))


async def _alone(service: Service, digest: bytes, decided: Decision) -> tuple[Place | None, dict[str, Any]]:
    """Decide while nobody else does, unless somebody has. The order's place, None if Redis has no such order; the
    callback with its decision."""
    async with service.store.transaction() as connection:
        await rows(connection, "lock_releases", lock=RELEASE_LOCK)
        async with held(connection):
            await _drain_all(service)  # and no order comes back into Redis until it is decided
            (row,) = await rows(connection, "get_quarantined", digest=digest)
            place = await service.incoming.place_of(row["order_no"])
            if place is not None and await service.incoming.order(place) is None:
                place = None
            if not row["action"]:
                await _decide(service, connection, row, place, decided)
                (row,) = await rows(connection, "get_quarantined", digest=digest)
            return place, row


async def _tell_order(service: Service, place: Place, number: str) -> None:
    """The user's open order is no longer looked into because of callbacks that are decided. Repeatable: after an error
    the same decision is sent again."""
    found = await service.store.all("decided_of_order", order_no=number)
    names = keys.names(place.day, place.shard, DECIDED.nouns)
    bodies = [body_sha1(row["raw"]) for row in found]
    await call(service.redis, DECIDED, names, [service.time.setting, place.tail, *bodies])


async def _drain_all(service: Service) -> None:
    """Drain every shard, so that everything accepted until now is in the books, also where another process is at it.
    Raises :class:`Unavailable` where that takes too long."""
    until = monotonic() + DRAIN_SECONDS
    for round_ in await live_rounds(service):
        await outbox.align(service.store, service.redis, round_.day, list(round_.shards))
        for shard in round_.shards:
            if not await outbox.drain_until(service.store, service.redis, round_.day, shard, until):
                raise Unavailable(f"the outbox of {round_.day} is not drained in {DRAIN_SECONDS:g} s")


def decision(entry: str, row: dict[str, Any]) -> dict[str, Any]:
    """The decision, for operators."""
    named = ("action", "reason", "order_no", "transaction_id", "amount_fen", "refund_no")
    day = row["refunded_in"].isoformat() if row["refunded_in"] else None
    return {"id": entry, **{name: row[name] for name in named}, "by": row["by_whom"], "at_ms": row["at_ms"], "day": day}


async def _decide(
    service: Service, connection: Connection, row: dict[str, Any], place: Place | None, decided: Decision
) -> None:
    """Execute the decision, and store it for this callback and all others of the same payment."""
    payment = payment_of(service.channels, row["channel"], row["raw"])
    await _check(service, connection, row, payment, decided.action)
    saved: dict[str, Any] = {
        **msgspec.structs.asdict(decided),
        "day": None,
        "order_no": row["order_no"],
        "transaction_id": payment.transaction_id,
        "amount_fen": payment.amount_fen,
        "refund_no": None,
    }
    if decided.action == "refund":
        owed = _owe_order(service, place, row, payment) if place else _owe_nobody(service, connection, row, payment)
        saved |= {"day": await owed, "refund_no": refund_no(row["order_no"], payment.transaction_id)}
    digests = [row["digest"]]
    if payment.transaction_id:
        waiting = await rows(connection, "waiting_of_order", order_no=row["order_no"], channel=row["channel"])
        read = {one["digest"]: payment_of(service.channels, row["channel"], one["raw"]) for one in waiting}
        same = [one for one, paid in read.items() if paid.transaction_id == payment.transaction_id]
        digests += [digest for digest in same if digest != row["digest"]]
    for digest in digests:
        await rows(connection, "save_release", digest=digest, **saved)


async def _booked(store: Store, of: dict[str, str]) -> list[dict[str, Any]]:
    """Payments of a channel's transaction, whatever their round: all months are looked through, so that nothing is paid
    back twice, each in a transaction of its own, so that none locks all of them."""
    found: list[dict[str, Any]] = []
    for days in await months_played(store):
        found += await store.all("transaction_booked", days=days, **of)
    return found


async def _check(
    service: Service, connection: Connection, row: dict[str, Any], payment: Payment, action: Action
) -> None:
    """Raises :class:`CannotRelease` for a refund that is impossible, or of a payment that was accepted or refunded."""
    if action == "refund" and payment.why_not:
        raise CannotRelease(payment.why_not)
    of = {"transaction_id": payment.transaction_id, "channel": row["channel"]}
    decided = [one["action"] for one in await rows(connection, "transaction_decided", **of)]
    taken = [(one["outcome"], one["order_no"]) for one in await _booked(service.store, of)]
    begun = ("refund_released", row["order_no"]) in taken and not decided
    if action == "dismiss":
        if begun:  # an earlier attempt died before it stored the decision: the refund is on its way
            raise CannotRelease("refund_begun")
    elif "dismiss" in decided:
        raise CannotRelease("dismissed")
    elif any(outcome in ("paid", "paid_late") for outcome, _ in taken):
        raise CannotRelease("accepted")
    elif (taken or decided) and not begun:
        raise CannotRelease("refunded")


def _paid_at_ms(row: dict[str, Any], payment: Payment) -> int:
    return min(payment.paid_at_ms, row["kept_ms"]) if payment.paid_at_ms >= 0 else int(row["kept_ms"])


async def _owe_order(service: Service, place: Place, row: dict[str, Any], payment: Payment) -> date:
    """Owe back the payment of an order that is in Redis; return the day of its round."""
    assert payment.amount_fen is not None
    said = await call(
        service.redis,
        RELEASE,
        keys.names(place.day, place.shard, RELEASE.nouns),
        [
            service.time.setting,
            *(place.uid, row["order_no"], place.tail, payment.transaction_id, payment.amount_fen),
            *(_paid_at_ms(row, payment), row["channel"], readable(row["raw"])),
        ],
    )
    word = said[1].decode()
    if word in ("accepted", "refunded"):
        raise CannotRelease(word)
    if word != "released":
        raise Unavailable(f"order {row['order_no']}: {word}")
    return place.day


async def _owe_nobody(service: Service, connection: Connection, row: dict[str, Any], payment: Payment) -> date:
    """Owe back the payment of an unknown order, or of a round whose keys have expired; return the day in the books."""
    assert payment.amount_fen is not None
    number, uid, day = row["order_no"], NOBODY, row["day"]
    named = order_no.place_of(number)
    if named is not None and await rows(connection, "get_round", day=named.day):
        day = named.day
    if await rows(connection, "archive_of", day=day):  # nobody can say here whether it was paid back long ago
        raise CannotRelease("archived")
    if named is not None and day == named.day:
        orders = await rows(connection, "find_order", day=day, uid=named.uid)
        uid = named.uid if orders and orders[0]["order_no"] == number else NOBODY
    paid_at_ms = _paid_at_ms(row, payment)
    paid = (uid, number, payment.transaction_id, payment.amount_fen, paid_at_ms)
    rest = ("refund_released", row["channel"], readable(row["raw"]))
    event = events.Payment(service.time.now_ms(), [(*paid, *rest)])  # type: ignore[list-item]
    await entries.write(connection, day, 0, [event])
    assert isinstance(day, date)
    return day
