"""The provider's bill against the payments, refunds and payouts in the books."""

import time
from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec

from clock.audit.report import MOST, Difference, Report
from clock.books import outbox
from clock.channels import BillLine
from clock.domain import order_no
from clock.domain.rounds import following, previous
from clock.domain.shapes import PaymentCallback, PaymentExtra
from clock.rounds.recorded import Recorded
from clock.service import Service


async def compare_bill(service: Service, round_: Recorded, report: Report) -> None:
    """Compare the round's lines of the bill with the books, where a platform is configured. A payment in the bill that
    the books do not have is taken as if its callback had come."""
    if not service.settings.platform_url:
        return
    day = round_.day
    sent = await _sent(service, day)
    found = await _lines(service, day, round_.rules.order_prefix)
    if found is None:
        report.differences.append(Difference("bill_missing", str(day), "the provider has none to give", ""))
        return
    lines, whole_until = found
    report.bill_lines = len(lines)
    dismissed = await service.store.all(
        "dismissed", transaction_ids=[line.no for line in lines if line.kind == "payment"]
    )
    by_hand = {(one["order_no"], one["transaction_id"]) for one in dismissed}
    payments = [line for line in lines if line.kind == "payment" and (line.order_no, line.no) not in by_hand]
    await _payments(service, day, payments, whole_until, report)
    given_back = {(one["order_no"], one["amount_fen"]) for one in dismissed}
    moved = [line for line in lines if line.kind != "payment"]
    before = {no for no, ended_on in sent.items() if ended_on < whole_until}
    await _outgoing(service, day, before, moved, given_back, report)


async def _sent(service: Service, day: date) -> dict[str, date]:
    """What the books have as sent, and since which date; a bill that is asked for afterwards must have it."""
    zone = ZoneInfo(service.settings.timezone)
    numbers = await service.store.all("outgoing_numbers", day=day)
    return {one["no"]: one["ended_at"].astimezone(zone).date() for one in numbers if one["state"] == "done"}


async def _lines(service: Service, day: date, order_prefix: str) -> tuple[list[BillLine], date] | None:
    """The round's lines of the bills of every date on which its money may have moved, and the date from which on one is
    missing: providers have the bill of a date when it is over. ``None`` where they do not have one of these either.
    What a bill has twice is one line of the sum, so that money which moved twice is not what the books say."""
    channel = service.channels[service.settings.channel]
    today = datetime.now(ZoneInfo(service.settings.timezone)).date()
    moved = await service.store.all("money_dates", day=day, zone=service.settings.timezone)
    dates = {day, following(day), previous(today), today, *(one["date"] for one in moved)}
    whole_until = date.max
    numbers = {one["no"] for one in await service.store.all("outgoing_numbers", day=day)}
    taken = {one["transaction_id"] for one in await service.store.all("payments_of_round", day=day)}
    found: dict[tuple[str, str, str], BillLine] = {}
    for one in sorted(dates):
        lines = await channel.bill(one.isoformat())
        if lines is None and one < today:
            return None
        if lines is None:
            whole_until = min(whole_until, one)
        for line in lines or ():
            place = order_no.parse(order_prefix, line.order_no)
            ours = line.kind == "transfer" and line.no.startswith(f"P{day:%Y%m%d}")
            ours = ours or (line.kind == "payment" and line.no in taken)
            if ours or line.no in numbers or (place is not None and place.day == day):
                key = line.kind, line.no, line.order_no
                twice = found[key].amount_fen if key in found else 0
                found[key] = msgspec.structs.replace(line, amount_fen=line.amount_fen + twice)
    return list(found.values()), whole_until


async def _payments(service: Service, day: date, lines: list[BillLine], whole_until: date, report: Report) -> None:
    zone = ZoneInfo(service.settings.timezone)
    billed = {(line.order_no, line.no): line for line in lines}
    books, due = {}, set()
    for one in await service.store.all("payments_of_round", day=day):
        key = one["order_no"], one["transaction_id"]
        books[key] = one["amount_fen"]
        if datetime.fromtimestamp(one["paid_at_ms"] / 1000, zone).date() < whole_until:
            due.add(key)
    for key in sorted(billed.keys() - books.keys())[:MOST]:
        word = await _mend(service, billed[key])
        place = order_no.place_of(key[0])
        if place is not None:
            await outbox.drain(service.store, service.redis, place.day, place.shard)
        if await service.store.one("find_payment", day=day, order_no=key[0], transaction_id=key[1]):
            report.mended.append(f"order {key[0]} transaction {key[1]}: {word}")
        else:
            report.differences.append(
                Difference("payment_unheard", f"order {key[0]}", f"bill {billed[key].amount_fen} fen", word)
            )
    for key in sorted(due - billed.keys())[:MOST]:
        report.differences.append(
            Difference("payment_not_billed", f"order {key[0]}", f"books {books[key]} fen", f"transaction {key[1]}")
        )
    for key in sorted(key for key in books.keys() & billed.keys() if books[key] != billed[key].amount_fen):
        report.differences.append(
            Difference(
                "payment_amount", f"order {key[0]}", f"books {books[key]} fen", f"bill {billed[key].amount_fen} fen"
            )
        )


async def _mend(service: Service, line: BillLine) -> str:
    """Take a payment from the bill as if its callback had come."""
    paid_at = datetime.fromtimestamp(line.at_ms / 1000, ZoneInfo(service.settings.timezone))
    extra = PaymentExtra(
        amount=line.amount_fen, buyerId=line.payer, notify_time=paid_at.isoformat(), transactionId=line.no
    )
    callback = PaymentCallback(line.order_no, extra)
    raw = msgspec.json.encode(callback)
    return (await service.incoming.pay(callback, service.settings.channel, raw, time.monotonic())).word


async def _outgoing(
    service: Service,
    day: date,
    before: set[str],
    lines: list[BillLine],
    given_back: set[tuple[str, int]],
    report: Report,
) -> None:
    """``before``: sent before the bill was asked for. What is moving meanwhile is compared the next time.
    ``given_back``: order and sum of dismissed payments, which an operator gave back at the provider."""
    books = {one["no"]: one for one in await service.store.all("outgoing_numbers", day=day)}
    billed = {
        line.no: line.amount_fen
        for line in lines
        if line.no in books or line.kind != "refund" or (line.order_no, line.amount_fen) not in given_back
    }
    sent = {no: one["amount_fen"] for no, one in books.items() if one["state"] == "done"}
    for no in sorted(before | billed.keys()):
        if sent.get(no) == billed.get(no) or (no in books and books[no]["state"] in ("unknown", "processing")):
            continue
        kind = books[no]["kind"] if no in books else "movement"
        report.differences.append(
            Difference(f"{kind}_not_as_billed", no, f"books {sent.get(no)} fen sent", f"bill {billed.get(no)} fen")
        )
