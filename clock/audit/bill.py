"""Providers' bills against the payments, refunds, payouts and withdrawals in the books, each line with its channel.

The lines go into a table beside the books while they are read (:mod:`clock.audit.billed`): a million of them are never
in memory together, and Postgres compares them.
"""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from clock.audit import billed
from clock.audit.report import MOST, Difference, Report
from clock.books import outbox
from clock.books.owed import payout_prefix
from clock.books.store import Connection, one, rows
from clock.channels import BillLine, Channel, NoBill, NotYet, payment_billed
from clock.domain import order_no, progress
from clock.domain.rounds import following, previous
from clock.rounds.recorded import Recorded
from clock.service import Service

DRAIN_SECONDS = 10.0
"""How long a payment that was mended may take into the books."""

LINE = ("no", "order_no", "amount_fen", "at_ms", "payer")

TAKEN_ONCE = ("paid", "already_paid", "refund_due")
"""Of an order's first payment: another one can only be refunded then."""

ASK_SECONDS = 60.0
"""How long providers are asked about lines of one bill; of the others nothing is known then."""


async def compare_bill(service: Service, round_: Recorded, report: Report) -> None:
    """Compare the round's lines of all its channels' bills with the books. A payment in a bill that the books do not
    have is taken as if its callback had come. Raises :class:`~clock.domain.outcomes.Unavailable`."""
    day = round_.day
    channels = await channels_of(service, day, report)
    if not channels:
        return
    async with service.store.transaction() as connection:
        await rows(connection, "compare_all")
        await billed.begin(connection)
        asked = await one(connection, "clock_now")
        untils = await read_bills(service, connection, round_, channels, report)
        if not untils:
            return
        await rows(connection, "end_bill", day=day, channels=list(untils))
        await rows(connection, "measure_bill")
        report.bill_lines = (await one(connection, "count_billed"))["lines"]
        has = [(name, kind, until) for name, until in untils.items() for kind in service.channels[name].billed]
        due: dict[str, Any] = {name: [one[i] for one in has] for i, name in enumerate(("channels", "kinds", "untils"))}
        due |= {"day": day, "zone": service.settings.timezone, "limit": MOST}
        asking_until = time.monotonic() + ASK_SECONDS
        await _unheard(service, connection, day, report, asking_until)
        for found in await rows(connection, "not_billed", asked_ms=asked["ms"], **due):
            said = f"books {found['amount_fen']} fen", f"{found['channel']}: transaction {found['transaction_id']}"
            report.differences.append(Difference("payment_not_billed", f"order {found['order_no']}", *said))
        for found in await rows(connection, "billed_otherwise", day=day, limit=MOST):
            said = f"books {found['books_fen']} fen", f"{found['channel']}: bill {found['billed_fen']} fen"
            report.differences.append(Difference("payment_amount", f"order {found['order_no']}", *said))
        for found in await rows(connection, "withdrawn_unasked", **due):
            said = "books none", f"{found['channel']}: bill {found['billed_fen']} fen"
            report.differences.append(Difference("movement_not_as_billed", found["no"], *said))
        for found in await rows(connection, "moved_otherwise", asked_at=asked["at"], **due):
            if await _has_failed(service, found, asking_until):
                continue
            said = f"books {found['sent_fen']} fen sent", f"{found['channel']}: bill {found['billed_fen']} fen"
            report.differences.append(Difference(f"{found['kind']}_not_as_billed", found["no"], *said))


async def channels_of(service: Service, day: date, report: Report) -> list[Channel]:
    """The channels that can be asked, of those through which the round's money came or went and those of its orders;
    that of new orders too: the books may have lost all of a round. One that is not configured is a difference."""
    named, default = set(), service.channels[service.settings.channel]
    for row in await service.store.all("channels_billing", day=day):
        place = order_no.place_of(row["order_no"] or "")
        named.add(place.channel if place else row["channel"])
    named.discard(None)
    for name in sorted(named - service.channels.keys()):
        report.differences.append(Difference("bill_missing", str(day), f"{name}: not configured", ""))
    return [one for name, one in sorted(service.channels.items()) if one.ready and (name in named or one is default)]


async def read_bills(
    service: Service, connection: Connection, round_: Recorded, channels: list[Channel], report: Report
) -> dict[str, date]:
    """Read the bills of every date on which the round's money may have moved; of each channel the date from which on
    one is missing. A channel that has not even one of an earlier date is a difference, and not among them."""
    zone = service.settings.timezone
    today = datetime.now(ZoneInfo(zone)).date()
    moved = await rows(connection, "money_dates", day=round_.day, zone=zone)
    dates = {round_.day, following(round_.day), previous(today), today, *(found["date"] for found in moved)}
    reader, untils = _Reader(round_), {}
    for channel in channels:
        until = date.max
        for when in sorted(dates):
            try:
                await billed.put(connection, channel.name, reader.pages(channel, when))
            except NoBill as error:
                if when < today and not (isinstance(error, NotYet) and when == previous(today)):
                    said = f"{channel.name}: none of {when} to be had"
                    report.differences.append(Difference("bill_missing", str(round_.day), said, ""))
                    break
                until = min(until, when)
        else:
            untils[channel.name] = until
    return untils


class _Reader:
    """Bills of several channels and dates, one after the other."""

    def __init__(self, round_: Recorded) -> None:
        self._day = round_.day
        self._prefix = round_.rules.order_prefix
        self._payouts = payout_prefix(round_.day)
        self._read = 0

    async def pages(self, channel: Channel, when: date) -> AsyncIterator[billed.Page]:
        async with aclosing(channel.bill(when.isoformat())) as pages:
            async for page in pages:
                self._read += len(page)
                progress.at("reconcile_bill", self._read)
                yield [(line, self._is_ours(line)) for line in page]

    def _is_ours(self, line: BillLine) -> bool:
        if line.kind == "transfer" and line.no.startswith(self._payouts):
            return True
        place = order_no.parse(self._prefix, line.order_no)
        return place is not None and place.day == self._day


async def _unheard(service: Service, connection: Connection, day: date, report: Report, asking_until: float) -> None:
    """Take payments that only a bill has. The books' side of that is other transactions'."""
    for line in await rows(connection, "unheard", day=day, limit=MOST):
        word = await _mend(service, line, asking_until)
        place = order_no.place_of(line["order_no"])
        if place is not None:
            until = time.monotonic() + DRAIN_SECONDS
            await outbox.drain_until(service.store, service.redis, place.day, place.shard, until)
        if await rows(connection, "find_payment", day=day, order_no=line["order_no"], transaction_id=line["no"]):
            report.mended.append(f"order {line['order_no']} transaction {line['no']}: {word}")
        else:
            said = f"{line['channel']}: bill {line['amount_fen']} fen"
            report.differences.append(Difference("payment_unheard", f"order {line['order_no']}", said, word))


async def _mend(service: Service, line: dict[str, Any], asking_until: float) -> str:
    """Take a payment from the bill as if its callback had come; from the provider, where the bill does not say who has
    paid. Answers its word, or the order's state at the provider."""
    channel = line["channel"]
    paid = payment_billed(BillLine("payment", **{name: line[name] for name in LINE}))
    if not line["payer"]:
        if time.monotonic() > asking_until:
            return "unknown"
        said = await service.channels[channel].query_order(line["order_no"])
        if said.payment is None:
            return said.state
        word = (await service.incoming.pay(said.payment, channel, time.monotonic())).word
        if said.payment.transaction_id == paid.transaction_id or word not in TAKEN_ONCE:
            return word
        # Somebody has paid the order once more. Whoever it was, it goes back to where it came from.
        paid = msgspec.structs.replace(paid, buyer=said.payment.buyer)
    return (await service.incoming.pay(paid, channel, time.monotonic())).word


async def _has_failed(service: Service, found: dict[str, Any], asking_until: float) -> bool:
    """Whether the provider says now that a refund of its bill has failed, as the books do: some bills have refunds from
    when they were taken up."""
    if (found["kind"], found["state"]) != ("refund", "failed") or time.monotonic() > asking_until:
        return False
    return (await service.channels[found["channel"]].query_refund(found["no"], found["order_no"])).state == "failed"
