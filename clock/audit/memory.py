"""What Redis holds of a round against what a rebuild would write.

While people play both grow. What a shard has counted before the books are read, they must have; what they have, it must
have counted afterwards.
"""

from collections.abc import Callable

from clock.audit.contents import Tally, published
from clock.audit.hashes import Checking, Comparison, Payments, Users, drained
from clock.audit.report import MOST, Difference, Report
from clock.domain.rounds import PUBLISHED_STATES
from clock.game import keys
from clock.rounds.recorded import Recorded
from clock.service import Service

COMPARED_OPEN = ("orders", "members", "winners", "late", "pool_fen", "claimed", "claimed_fen", "refused_payments")
COMPARED = (*COMPARED_OPEN, "published", "published_fen")
"""Counters of a shard, without and with those of a published manifest."""

LOOKED_INTO = (b"open", b"closed")
"""States of a shard in which a refused payment is noted."""


async def in_redis(service: Service, round_: Recorded, report: Report) -> list[int]:
    """The round's shards that are in Redis. A round that is over may have left it."""
    here = []
    for shard in round_.shards:
        if await service.redis.exists(keys.name(round_.day, shard, "round")):
            here.append(shard)
        elif round_.finished_at is None:
            report.differences.append(Difference("round_missing", f"shard {shard}", "Postgres", "not in Redis"))
    return here


async def compare_memory(service: Service, round_: Recorded, here: list[int], report: Report) -> None:
    """Users, refused payments and totals of these shards. Where users differ, what they add up to differs with them,
    and is not named. Raises :class:`Unavailable`."""
    if not here:
        return
    before = {shard: await _counted(service, round_, shard) for shard in here}
    await drained(service, round_, here)
    users = Users(round_)
    records = Comparison(service, round_, here, users)
    await records.run(sum(counted["orders"] for counted in before.values()))
    report.differences += _named("user_state", "user ", records, _state)
    if len(records.differing) >= MOST:  # not all users were read
        return
    agreeing = [shard for shard in here if shard not in {shard for shard, _ in records.differing}]
    refused = Comparison(service, round_, agreeing, Payments(round_, users.tallies))
    await refused.run()
    report.differences += _named("payment_refused", "", refused, _text)
    await _callbacks(service, round_, agreeing, report)
    if len(refused.differing) >= MOST:
        return
    if round_.state in PUBLISHED_STATES:
        for shard, sums in (await published(service.store, round_)).items():
            users.tallies[shard].totals.update(sums)
    for shard in agreeing:
        report.differences += await _totals(service, round_, shard, before[shard], users.tallies[shard])


async def _callbacks(service: Service, round_: Recorded, shards: list[int], report: Report) -> None:
    """Refused payments of unpaid orders, in shards in which they are still noted."""
    taking = [shard for shard in shards if await _state_of(service, round_, shard) in LOOKED_INTO]
    found = Comparison(service, round_, taking, Checking(round_))
    await found.run()
    over = [shard for shard in taking if await _state_of(service, round_, shard) not in LOOKED_INTO]
    found.differing = {field: said for field, said in found.differing.items() if field[0] not in over}
    report.differences += _named("payment_looked_into", "", found, _text)


async def _totals(
    service: Service, round_: Recorded, shard: int, before: dict[str, int], tally: Tally
) -> list[Difference]:
    after, found = await _counted(service, round_, shard), []
    for name in COMPARED if round_.state in PUBLISHED_STATES else COMPARED_OPEN:
        books = tally.totals.get(name, 0)
        if not before[name] <= books <= after[name]:
            found.append(Difference("total", f"{name} of shard {shard}", f"Redis {after[name]}", f"books {books}"))
    return found


async def _counted(service: Service, round_: Recorded, shard: int) -> dict[str, int]:
    found = await service.redis.hmget(keys.name(round_.day, shard, "totals"), COMPARED)
    return {name: int(count or 0) for name, count in zip(COMPARED, found, strict=True)}


async def _state_of(service: Service, round_: Recorded, shard: int) -> bytes | None:
    return await service.redis.hget(keys.name(round_.day, shard, "round"), "state")


def _named(what: str, subject: str, found: Comparison, said: Callable[[bytes | None], str]) -> list[Difference]:
    return [
        Difference(what, f"{subject}{name}", f"Redis {said(redis)}", f"books {said(books)}")
        for (_, name), (redis, books) in sorted(found.differing.items())[:MOST]
    ]


def _state(record: bytes | None) -> str:
    """A record's state; with all of it, where two of the same state differ, nobody needs it in a log."""
    return chr(record[0]) if record else "nothing"


def _text(value: bytes | None) -> str:
    return "nothing" if value is None else value.decode(errors="replace")
