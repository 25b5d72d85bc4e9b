"""Do Redis, the books, the ledger, the manifest and the provider's bill say the same of a round?

Each difference is named with its order, user or number. What is safe to mend is mended: a payment in the bill
that we never heard of takes the way of its callback. The rest is listed.
"""

import asyncio
import time
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import structlog
from psycopg import sql

from clock.audit.rebuild import PUBLISHED, Shard, contents_of
from clock.books import ledger, outbox
from clock.channels import BillLine
from clock.domain import order_no
from clock.domain.rounds import Rules, following, previous
from clock.domain.shapes import PaymentCallback, PaymentExtra
from clock.domain.split import Split, split
from clock.game import keys
from clock.service import Service

log = structlog.get_logger()

MOST = 1_000
"""Differences listed of one kind."""

LOOKS = 3
LOOK_AGAIN_SECONDS = 0.5

COMPARED_OPEN = ("orders", "members", "winners", "late", "pool_fen", "claimed", "claimed_fen", "refused_payments")
COMPARED = (*COMPARED_OPEN, "published", "published_fen")
"""Counters of a shard, without and with those of a published manifest."""

SPLIT_STATES = ("split", "published", "settled", "finished")


class Difference(msgspec.Struct, frozen=True):
    """``one`` and ``other`` are what two places say of ``subject``."""

    what: str
    subject: str
    one: str
    other: str


class Report(msgspec.Struct, kw_only=True):
    day: str
    differences: list[Difference] = []
    mended: list[str] = []
    bill_lines: int | None = None
    """``None``: no platform is configured that could be asked."""


async def reconcile(service: Service, day: date) -> Report | None:
    """Compare everything about a round; ``None`` if there is no such round. Raises :class:`Unavailable`."""
    row = await service.store.one("get_round", day=day)
    if row is None:
        return None
    report = Report(day=day.isoformat())
    rules = msgspec.convert(row["rules"], Rules)
    await _drain(service, day, rules)
    await _bill(service, row, rules, report)
    await _drain(service, day, rules)
    await _redis(service, row, rules, report)
    await _ledger(service, row, report)
    await _manifest(service, row, rules, report)
    await service.store.all(
        "save_reconciliation",
        day=day,
        differences=msgspec.json.encode(report.differences).decode(),
        mended=msgspec.json.encode(report.mended).decode(),
    )
    for difference in report.differences:
        log.error("books_differ", day=report.day, **msgspec.to_builtins(difference))
    return report


async def _drain(service: Service, day: date, rules: Rules) -> None:
    for shard in range(rules.shards):
        await outbox.drain(service.store, service.redis, day, shard)


# -- Redis against the books


async def _redis(service: Service, row: dict[str, Any], rules: Rules, report: Report) -> None:
    """Redis holds what a rebuild would write; compared where nothing is on its way."""
    here = []
    for shard in range(rules.shards):
        if await service.redis.exists(keys.name(row["day"], shard, "round")):
            here.append(shard)
        elif row["finished_at"] is None:
            report.differences.append(Difference("round_missing", f"shard {shard}", "Postgres", "not in Redis"))
    report.differences += await _steady(service, row, rules, here)


async def _steady(service: Service, row: dict[str, Any], rules: Rules, shards: list[int]) -> list[Difference]:
    """Differences that stay: while people play, Redis and Postgres are not read at the same instant."""
    found = await _look(service, row, rules, shards)
    for _ in range(LOOKS - 1):
        if not found:
            break
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        await _drain(service, row["day"], rules)
        again = {(one.what, one.subject) for one in await _look(service, row, rules, shards)}
        found = [one for one in found if (one.what, one.subject) in again]
    return found


async def _look(service: Service, row: dict[str, Any], rules: Rules, shards: list[int]) -> list[Difference]:
    """First what Redis has, then what the books have: these have all of a shard whose outbox was empty in between."""
    redis: Any = service.redis
    found = {}
    for shard in shards:
        members, stream = keys.names(row["day"], shard, ("members", "outbox"))
        records = {int(uid): record async for uid, record in redis.hscan_iter(members, count=1_000)}
        if not await redis.xlen(stream):
            found[shard] = records
    books = await contents_of(service, row, rules)
    return [one for shard in found for one in await _shard(service, row, shard, found[shard], books[shard])]


async def _shard(
    service: Service, row: dict[str, Any], shard: int, found: dict[int, bytes], books: Shard
) -> list[Difference]:
    redis: Any = service.redis
    payments, totals, packets = keys.names(row["day"], shard, ("payments", "totals", "packets"))
    differences = [
        Difference(
            "user_state", f"user {uid}", f"Redis {_said(found.get(uid))}", f"books {_said(books.members.get(uid))}"
        )
        for uid in sorted(
            uid for uid in found.keys() | books.members.keys() if found.get(uid) != books.members.get(uid)
        )
    ][:MOST]
    if differences:
        return differences
    refused = {name.decode(): value.decode() for name, value in (await redis.hgetall(payments)).items()}
    for name in sorted(
        name for name in refused.keys() | books.payments.keys() if refused.get(name) != books.payments.get(name)
    ):
        differences.append(
            Difference("payment_refused", name, f"Redis {refused.get(name)}", f"books {books.payments.get(name)}")
        )
    counted = {name.decode(): int(value) for name, value in (await redis.hgetall(totals)).items()}
    for name in COMPARED if row["state"] in PUBLISHED else COMPARED_OPEN:
        if counted.get(name, 0) != books.totals.get(name, 0):
            differences.append(
                Difference(
                    "total",
                    f"{name} of shard {shard}",
                    f"Redis {counted.get(name, 0)}",
                    f"books {books.totals.get(name, 0)}",
                )
            )
    if row["state"] in PUBLISHED and [int(fen) for fen in await redis.lrange(packets, 0, -1)] != books.packets:
        differences.append(Difference("packets", f"shard {shard}", "Redis has others", f"{len(books.packets)} left"))
    return differences


def _said(record: bytes | None) -> str:
    """A record's state; with all of it, where two of the same state differ, nobody needs it in a log."""
    return chr(record[0]) if record else "nothing"


# -- the ledger against the books


OUTGOING = sql.SQL(
    "(SELECT o.*, CASE o.kind WHEN 'refund' THEN (SELECT p.channel FROM payments p WHERE p.day = o.day"
    " AND p.order_no = o.order_no AND p.transaction_id = o.transaction_id)"
    " ELSE (SELECT p.channel FROM orders r JOIN payments p ON p.day = r.day AND p.order_no = r.order_no"
    " WHERE r.day = o.day AND r.uid = o.uid AND p.outcome IN ('paid', 'paid_late') LIMIT 1) END AS channel"
    " FROM outgoing o)"
)
"""``outgoing`` with the channel through which each goes, as a source of transfers."""


async def _ledger(service: Service, row: dict[str, Any], report: Report) -> None:
    """Each row that a rule speaks of has its transfer, of the same amount, and no transfer is without its row."""
    day = row["day"]
    sources = {"rounds": ledger.SETTLED_ROUND, "outgoing": OUTGOING}
    for rule in ledger.RULES:
        if rule.table == "rounds" and row["state"] not in ("settled", "finished"):
            continue
        statement = sql.SQL(
            "SELECT coalesce(b.cause, l.cause) AS cause, b.fen AS books, l.fen AS ledger, b.accounts,"
            " l.accounts AS posted"
            " FROM (SELECT {cause} AS cause, {amount} AS fen, {from_account} || ' to ' || {to_account} AS accounts"
            "  FROM {source} AS source WHERE day = {day} AND {amount} > 0 AND {when}) b"
            " FULL JOIN (SELECT cause, amount_fen AS fen, from_account || ' to ' || to_account AS accounts"
            "  FROM transfers WHERE day = {day} AND kind = {kind}) l ON l.cause = b.cause"
            " WHERE (b.fen, b.accounts) IS DISTINCT FROM (l.fen, l.accounts) ORDER BY 1 LIMIT {most}"
        ).format(
            source=sources.get(rule.table, sql.Identifier(rule.table)),
            most=sql.Literal(MOST),
            **ledger.parts(rule, day),
        )
        async with service.store.transaction() as connection:
            for found in await (await connection.execute(statement)).fetchall():
                report.differences.append(
                    Difference(
                        f"ledger_{rule.kind}",
                        str(found["cause"]),
                        f"books {found['books']} fen {found['accounts']}",
                        f"ledger {found['ledger']} fen {found['posted']}",
                    )
                )
    for found in await service.store.all("unqueued", day=day, limit=MOST):
        report.differences.append(
            Difference("queue", found["no"], f"owed {found['owed']} fen", f"queued {found['queued']} fen")
        )
    left = (await service.store.all("pool_balance", day=day))[0]["fen"]
    if row["state"] in ("finished", "void") and left:
        report.differences.append(Difference("pool_not_empty", f"pool:{day}", f"{left} fen", "0 fen"))


# -- the manifest against the seed and the claims


async def _manifest(service: Service, row: dict[str, Any], rules: Rules, report: Report) -> None:
    if row["state"] not in SPLIT_STATES:
        return
    day = row["day"]
    packet_rules = Split(
        mode=rules.split,
        lucky_count=rules.lucky_count,
        lucky_bps=rules.lucky_bps,
        packet_cap_fen=rules.packet_cap_fen,
    )
    expected = split(row["seed"], row["pot_fen"], row["winners"], packet_rules).packets_fen
    manifest = [one["fen"] for one in await service.store.all("manifest", day=day)]
    if list(expected) != manifest:
        report.differences.append(
            Difference("manifest", str(day), f"{sum(manifest)} fen in {len(manifest)}", f"{sum(expected)} by the seed")
        )
    for stray in await service.store.all("stray_claims", day=day, limit=MOST):
        report.differences.append(
            Difference(
                "claim_not_in_manifest", f"user {stray['uid']}", f"{stray['packet_fen']} fen", f"{stray['fen']} fen"
            )
        )


# -- the provider's bill against payments, refunds and payouts


async def _bill(service: Service, row: dict[str, Any], rules: Rules, report: Report) -> None:
    if not service.settings.platform_url:
        return
    day = row["day"]
    sent = await _sent(service, day)
    found = await _lines(service, day, rules)
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


async def _lines(service: Service, day: date, rules: Rules) -> tuple[list[BillLine], date] | None:
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
            place = order_no.parse(rules.order_prefix, line.order_no)
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
