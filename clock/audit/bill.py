"""The provider's bill against the payments, refunds and payouts in the books.

The lines go into a table beside the books while they are read (:mod:`clock.audit.billed`): a million of them are never
in memory together, and Postgres compares them.
"""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from clock.audit import billed
from clock.audit.report import MOST, Difference, Report
from clock.books import outbox
from clock.books.owed import payout_prefix
from clock.books.store import Connection, one, rows
from clock.channels import BillLine, NoBill, Payment
from clock.domain import order_no, progress
from clock.domain.rounds import following, previous
from clock.rounds.recorded import Recorded
from clock.service import Service

DRAIN_SECONDS = 10.0
"""How long a payment that was mended may take into the books."""


async def compare_bill(service: Service, round_: Recorded, report: Report) -> None:
    """Compare the round's lines of the bill with the books, where a platform is configured. A payment in the bill that
    the books do not have is taken as if its callback had come. Raises :class:`~clock.domain.outcomes.Unavailable`."""
    if not service.settings.platform_url:
        return
    day, zone = round_.day, service.settings.timezone
    async with service.store.transaction() as connection:
        await rows(connection, "compare_all")
        await billed.begin(connection)
        asked = await one(connection, "clock_now")
        whole_until = await _read(service, connection, round_)
        if whole_until is None:
            report.differences.append(Difference("bill_missing", str(day), "the provider has none to give", ""))
            return
        await rows(connection, "end_bill", day=day)
        await rows(connection, "measure_bill")
        report.bill_lines = (await one(connection, "count_billed"))["lines"]
        due = {"day": day, "zone": zone, "whole_until": whole_until, "limit": MOST}
        await _unheard(service, connection, day, report)
        for found in await rows(connection, "not_billed", asked_ms=asked["ms"], **due):
            report.differences.append(
                Difference(
                    "payment_not_billed",
                    f"order {found['order_no']}",
                    f"books {found['amount_fen']} fen",
                    f"transaction {found['transaction_id']}",
                )
            )
        for found in await rows(connection, "billed_otherwise", day=day, limit=MOST):
            said = f"books {found['books_fen']} fen", f"bill {found['billed_fen']} fen"
            report.differences.append(Difference("payment_amount", f"order {found['order_no']}", *said))
        for found in await rows(connection, "moved_otherwise", asked_at=asked["at"], **due):
            said = f"books {found['sent_fen']} fen sent", f"bill {found['billed_fen']} fen"
            report.differences.append(Difference(f"{found['kind']}_not_as_billed", found["no"], *said))


async def _read(service: Service, connection: Connection, round_: Recorded) -> date | None:
    """Read the bills of every date on which the round's money may have moved; the date from which on one is missing:
    providers have the bill of a date when it is over. ``None`` where they do not have one of these either."""
    zone = service.settings.timezone
    today = datetime.now(ZoneInfo(zone)).date()
    moved = await rows(connection, "money_dates", day=round_.day, zone=zone)
    dates = {round_.day, following(round_.day), previous(today), today, *(found["date"] for found in moved)}
    whole_until, reader = date.max, _Reader(service, round_)
    for when in sorted(dates):
        try:
            await billed.put(connection, reader.pages(when))
        except NoBill:
            if when < today:
                return None
            whole_until = min(whole_until, when)
    return whole_until


class _Reader:
    """Bills of several dates, one after the other."""

    def __init__(self, service: Service, round_: Recorded) -> None:
        self._channel = service.channels[service.settings.channel]
        self._day = round_.day
        self._prefix = round_.rules.order_prefix
        self._payouts = payout_prefix(round_.day)
        self._read = 0

    async def pages(self, when: date) -> AsyncIterator[billed.Page]:
        async with aclosing(self._channel.bill(when.isoformat())) as pages:
            async for page in pages:
                self._read += len(page)
                progress.at("reconcile_bill", self._read)
                yield [(line, self._is_ours(line)) for line in page]

    def _is_ours(self, line: BillLine) -> bool:
        if line.kind == "transfer" and line.no.startswith(self._payouts):
            return True
        place = order_no.parse(self._prefix, line.order_no)
        return place is not None and place.day == self._day


async def _unheard(service: Service, connection: Connection, day: date, report: Report) -> None:
    """Take payments that only the bill has. The books' side of that is other transactions'."""
    for line in await rows(connection, "unheard", day=day, limit=MOST):
        word = await _mend(service, line)
        place = order_no.place_of(line["order_no"])
        if place is not None:
            until = time.monotonic() + DRAIN_SECONDS
            await outbox.drain_until(service.store, service.redis, place.day, place.shard, until)
        if await rows(connection, "find_payment", day=day, order_no=line["order_no"], transaction_id=line["no"]):
            report.mended.append(f"order {line['order_no']} transaction {line['no']}: {word}")
        else:
            report.differences.append(
                Difference("payment_unheard", f"order {line['order_no']}", f"bill {line['amount_fen']} fen", word)
            )


async def _mend(service: Service, line: dict[str, Any]) -> str:
    """Take a payment from the bill as if its callback had come."""
    channel = service.settings.channel
    kept = f"{channel} {line}".encode()
    paid = Payment(line["order_no"], line["amount_fen"], line["no"], line["payer"], line["at_ms"], kept)
    return (await service.incoming.pay(paid, channel, time.monotonic())).word
