"""Do Redis, the books, the ledger, the manifest and the provider's bill say the same of a round?

Each difference is named with its order, user or number. What is safe to mend is mended: a payment in the bill
that we never heard of takes the way of its callback (:mod:`clock.audit.bill`). The rest is listed.
"""

import asyncio
from datetime import date

from clock.audit import packets
from clock.audit.bill import compare_bill
from clock.audit.contents import Shard, contents_of
from clock.audit.report import MOST, Difference, Report, record
from clock.books import ledger, outbox
from clock.domain.rounds import PAID_OUT_STATES, PUBLISHED_STATES, SPLIT_STATES
from clock.domain.split import split
from clock.game import keys
from clock.rounds.recorded import Recorded, find
from clock.service import Service

LOOKS = 3
LOOK_AGAIN_SECONDS = 0.5

COMPARED_OPEN = ("orders", "members", "winners", "late", "pool_fen", "claimed", "claimed_fen", "refused_payments")
COMPARED = (*COMPARED_OPEN, "published", "published_fen")
"""Counters of a shard, without and with those of a published manifest."""


async def reconcile(service: Service, day: date) -> Report | None:
    """Compare everything about a round; ``None`` if there is no such round. Raises :class:`Unavailable`."""
    round_ = await find(service.store, day)
    if round_ is None:
        return None
    report = Report(day=day.isoformat())
    await _drain(service, round_)
    await compare_bill(service, round_, report)
    await _drain(service, round_)
    await _redis(service, round_, report)
    await _ledger(service, round_, report)
    await _manifest(service, round_, report)
    await record(service.store, day, report)
    return report


async def _drain(service: Service, round_: Recorded) -> None:
    for shard in round_.shards:
        await outbox.drain(service.store, service.redis, round_.day, shard)


# -- Redis against the books


async def _redis(service: Service, round_: Recorded, report: Report) -> None:
    """Redis holds what a rebuild would write; compared where nothing is on its way."""
    here = []
    for shard in round_.shards:
        if await service.redis.exists(keys.name(round_.day, shard, "round")):
            here.append(shard)
        elif round_.finished_at is None:
            report.differences.append(Difference("round_missing", f"shard {shard}", "Postgres", "not in Redis"))
    report.differences += await _steady(service, round_, here)


async def _steady(service: Service, round_: Recorded, shards: list[int]) -> list[Difference]:
    """Differences that stay: while people play, Redis and Postgres are not read at the same instant."""
    found = await _look(service, round_, shards)
    for _ in range(LOOKS - 1):
        if not found:
            break
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        await _drain(service, round_)
        again = {(one.what, one.subject) for one in await _look(service, round_, shards)}
        found = [one for one in found if (one.what, one.subject) in again]
    return found


async def _look(service: Service, round_: Recorded, shards: list[int]) -> list[Difference]:
    """First what Redis has, then what the books have: these have all of a shard whose outbox was empty in between."""
    redis = service.redis
    found = {}
    for shard in shards:
        members = keys.name(round_.day, shard, "members")
        records = {int(uid): record async for uid, record in redis.hscan_iter(members, count=1_000)}
        if not await outbox.waiting(redis, round_.day, shard, 1):
            found[shard] = records
    books = await contents_of(service.store, round_)
    return [one for shard in found for one in await _shard(service, round_, shard, found[shard], books[shard])]


async def _shard(
    service: Service, round_: Recorded, shard: int, found: dict[int, bytes], books: Shard
) -> list[Difference]:
    redis = service.redis
    payments, totals = keys.names(round_.day, shard, ("payments", "totals"))
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
    for name in COMPARED if round_.state in PUBLISHED_STATES else COMPARED_OPEN:
        if counted.get(name, 0) != books.totals.get(name, 0):
            differences.append(
                Difference(
                    "total",
                    f"{name} of shard {shard}",
                    f"Redis {counted.get(name, 0)}",
                    f"books {books.totals.get(name, 0)}",
                )
            )
    if round_.state in PUBLISHED_STATES and await packets.read(redis, round_.day, shard) != books.packets:
        differences.append(Difference("packets", f"shard {shard}", "Redis has others", f"{len(books.packets)} packets"))
    return differences


def _said(record: bytes | None) -> str:
    """A record's state; with all of it, where two of the same state differ, nobody needs it in a log."""
    return chr(record[0]) if record else "nothing"


# -- the ledger against the books


async def _ledger(service: Service, round_: Recorded, report: Report) -> None:
    """Each row that a rule speaks of has its transfer, of the same amount, and no transfer is without its row."""
    day = round_.day
    for rule in ledger.RULES:
        for found in await ledger.unposted(service.store, rule, day, MOST):
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
    if round_.state in PAID_OUT_STATES and left:
        report.differences.append(Difference("pool_not_empty", f"pool:{day}", f"{left} fen", "0 fen"))


# -- the manifest against the seed and the claims


async def _manifest(service: Service, round_: Recorded, report: Report) -> None:
    if round_.state not in SPLIT_STATES:
        return
    day = round_.day
    expected = split(round_.seed, round_.pot_fen, round_.winners, round_.packet_rules).packets_fen
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
