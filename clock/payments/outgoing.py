"""Outgoing money: payouts, refunds and withdrawals, a durable queue in Postgres, each under one fixed number.

A row is marked ``unknown`` before it is sent. So after a crash the channel is queried about that number before it is
sent again, and it is sent again only under the same number.
"""

import asyncio
import random
from collections import defaultdict
from datetime import date
from typing import Any

import msgspec
import structlog

from clock.books import ledger, telling
from clock.books.store import Connection, Store, rows
from clock.channels import PULLING, Channel, Result

log = structlog.get_logger()

AT_ONCE = 50
LOOKED_AT = 4 * AT_ONCE
"""Of these, other senders may have some."""
LEASE_SECONDS = 25
"""A query and a sending take less. Whoever comes after it asks about the number first, so one that took longer does no
harm."""
FIRST_DELAY_SECONDS = 2.0
LONGEST_DELAY_SECONDS = 6 * 3600.0
STUCK_ATTEMPTS = 12
"""After this many attempts, which take some hours, an operator is alerted."""


async def send_some(store: Store, channels: dict[str, Channel]) -> int:
    """Send, or query, the rows that are due; returns their number."""
    return await _send(store, channels, await take(store))


async def send_one(store: Store, channels: dict[str, Channel], day: date, no: str) -> None:
    """The same of one row now, for somebody who waits for it. Whoever is interrupted leaves it to the worker."""
    async with store.transaction() as connection:
        due = await lease(connection, await rows(connection, "lock_outgoing", day=day, no=no))
    await _send(store, channels, due)


async def _send(store: Store, channels: dict[str, Channel], due: list[dict[str, Any]]) -> int:
    results = await asyncio.gather(*(_tried(channels.get(row["channel"]), row) for row in due))
    await _record(store, list(zip(due, results, strict=True)))
    return len(due)


async def take(store: Store) -> list[dict[str, Any]]:
    """Lease rows that are due to this process."""
    async with store.transaction() as connection:
        return await lease(connection, await lock_due(connection))


async def lock_due(connection: Connection) -> list[dict[str, Any]]:
    """Rows that are due and nobody else has, locked until the transaction ends."""
    found = await rows(connection, "due_outgoing", limit=LOOKED_AT)
    days, nos = ([row[name] for row in found] for name in ("day", "no"))
    return await rows(connection, "lock_due_outgoing", days=days, nos=nos, limit=AT_ONCE) if found else []


async def hasten(store: Store, no: str) -> None:
    """The provider says that a refund or a transfer has ended: it is asked about soon."""
    for found in await store.all("find_moving", no=no):
        await store.all("hasten", day=found["day"], no=no)


async def lease(connection: Connection, due: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``due``: from :func:`lock_due`."""
    days, nos, states = ([row[name] for row in due] for name in ("day", "no", "was"))
    given = {"days": days, "nos": nos, "states": states, "lease_seconds": LEASE_SECONDS}
    return await rows(connection, "take_outgoing", **given) if due else []


async def _tried(channel: Channel | None, row: dict[str, Any]) -> Result:
    """An unexpected error in one attempt is logged and counts as unknown; the batch goes on."""
    try:
        return await _attempt(channel, row)
    except Exception as error:
        log.error("outgoing_broke", no=row["no"], kind=row["kind"], exc_info=error)
        return Result("unknown", type(error).__name__)


async def _attempt(channel: Channel | None, row: dict[str, Any]) -> Result:
    """Query the channel if the row may have been sent before; send it if it was not."""
    if channel is None:
        return Result("again", f"no channel {row['channel']}")
    if row["kind"] == "payout" and channel.pulls:  # what the house makes good, and what an older version owes
        return Result("failed", "the user withdraws it")
    if row["was"] != "owed":
        known = await _known(channel, row)
        if known.state == "again":  # the query was not delivered, so the outcome stays as it was
            return Result("processing" if row["was"] == "processing" else "unknown", known.reason)
        if known.state == "processing" and row["kind"] == "withdrawal" and channel.pulls and not row["confirm"]:
            return await _confirmation(channel, row, known)
        if known.state != "not_found":
            return known
        if row["kind"] != "refund" and row["age_days"] >= channel.transfers_known_days:
            return Result("unknown", "too old for the provider to know it: to be looked up by hand")
    if row["kind"] == "refund":
        paid = row["order_no"], row["transaction_id"], row["amount_fen"], row["total_fen"]
        return await channel.refund(row["sent_as"], *paid)
    return await channel.transfer(row["sent_as"], row["open_id"], row["amount_fen"])


async def _confirmation(channel: Channel, row: dict[str, Any], known: Result) -> Result:
    """What the user needs to confirm was in a reply that did not arrive, and no query says it. The same number sent
    again moves nothing, and may have it."""
    said = await channel.transfer(row["sent_as"], row["open_id"], row["amount_fen"])
    return said if said.state == "processing" else known


async def _known(channel: Channel, row: dict[str, Any]) -> Result:
    if row["kind"] == "refund":
        return await channel.query_refund(row["sent_as"], row["order_no"])
    return await channel.query_transfer(row["sent_as"])


async def _record(store: Store, attempts: list[tuple[dict[str, Any], Result]]) -> None:
    """Record the results, and post those that are final, in one transaction."""
    ended: dict[tuple[date, str, str], list[str]] = defaultdict(list)
    told: list[tuple[dict[str, Any], str, str]] = []
    async with store.transaction() as connection:
        for row, result in sorted(attempts, key=_place):  # whoever has some of them too locks them in this order
            if result.state in ("done", "failed"):
                key = {"day": row["day"], "no": row["no"], "state": result.state, "reason": result.reason}
                key["handled"] = "returned" if result.state == "failed" and _is_returned(row) else None
                if await rows(connection, "end_outgoing", **key):
                    told.append((row, result.state, result.reason))
                ended[row["day"], row["channel"] or "", result.state].append(row["no"])
            else:
                await _delay(connection, row, result)
        for (day, channel, state), numbers in ended.items():
            await ledger.post_outgoing(connection, day, channel, state, numbers)
        for row, result in sorted(attempts, key=_place):  # after the accounts, as whoever withdraws locks them
            if result.confirm:
                confirm = msgspec.json.encode(result.confirm).decode()
                await rows(connection, "save_confirm", uid=row["uid"], no=row["no"], confirm=confirm)
        await telling.tell_ended(store, connection, told)


def _is_returned(row: dict[str, Any]) -> bool:
    """Whether the balance is where the money belongs now, so that no operator has to see to it: its user withdraws
    it."""
    return row["kind"] == "withdrawal" or (row["kind"] == "payout" and row["channel"] in PULLING)


def _place(attempt: tuple[dict[str, Any], Result]) -> tuple[date, str]:
    return attempt[0]["day"], attempt[0]["no"]


async def _delay(connection: Connection, row: dict[str, Any], result: Result) -> None:
    state = "processing" if result.state == "processing" else "unknown"
    if result.state == "again" and row["was"] == "owed":
        state = "owed"  # never sent, so it may be sent without a query
    key = {"day": row["day"], "no": row["no"], "state": state, "reason": result.reason}
    await rows(connection, "delay_outgoing", seconds=delay_seconds(row["attempts"]), **key)
    if row["attempts"] == STUCK_ATTEMPTS:
        log.error("outgoing_stuck", no=row["no"], kind=row["kind"], state=state, reason=result.reason)


def delay_seconds(attempts: int) -> float:
    """Exponential backoff up to six hours, with jitter of half the delay."""
    delay: float = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempts, 20))
    return delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, decides nothing
