"""Making Redis and the books agree on one round while people play, whichever of them has lost something.

First the books get again whatever the streams have kept. Then they have everything that is known, and Redis gets from
them what it misses: each user's record, if nobody has changed it since it was compared.
"""

from collections import defaultdict
from datetime import date

import msgspec
import structlog

from clock.audit import packets
from clock.audit.contents import Shard, contents_of, state_in_redis
from clock.audit.rebuild import CHUNK, rebuild_round
from clock.books import outbox
from clock.books.store import SETTLEMENT_LOCK, rows
from clock.domain.rounds import PUBLISHED_STATES, UNSPLIT_STATES
from clock.game import keys
from clock.game.client import call
from clock.game.scripts import Value, load, of_users
from clock.rounds.recorded import Recorded, find
from clock.service import Service

log = structlog.get_logger()

MEND = load("mend")

PASSES = 5
FORWARD = ("open", "closed", "settled", "finished")
"""States of a shard; mending never takes one back."""
STAGES = {b"O": 1, b"M": 2, b"L": 2, b"C": 3, b"P": 4}
"""How far a user is, by the first byte of the record: ordered, member, checked in, claimed; 0 is nothing."""


class Mended(msgspec.Struct):
    """What was done."""

    day: str
    rebuilt: list[str]
    """Shards that were not in Redis."""
    ranks: int = 0
    """Winners whose rank was corrected in the books."""
    users: int = 0
    """Users whose record was corrected in Redis."""
    closings: int = 0
    """Shards whose totals at closing were corrected."""
    left: list[int] = []
    """Users of whom Redis knows more than the books; the streams do not have it any more."""


async def mend(service: Service, day: date) -> Mended | None:
    """``None`` if there is no such round. Raises :class:`~clock.rounds.ending.BooksDiffer`, ``Unavailable``."""
    async with service.store.transaction() as connection:
        await rows(connection, "lock_settlement", lock=SETTLEMENT_LOCK)
        if await find(service.store, day) is None:
            return None
        done = Mended(day.isoformat(), await rebuild_round(service, connection, day))
        round_ = await find(service.store, day)
        assert round_ is not None
        for shard in round_.shards:
            await outbox.go_back(service.redis, day, shard)
            await outbox.drain(service.store, service.redis, day, shard)
        for _ in range(PASSES):
            done.ranks += await _ranks(service, round_)
            books = await contents_of(service.store, round_)
            words, done.left = await _users(service, round_, books)
            done.users += words.count(b"mended")
            if not words and not done.left:  # those left may only have been on their way into the books
                break
        closed = {one["shard"] for one in await service.store.all("closed_shards", day=day)}
        for shard in round_.shards:
            await _shard(service, round_, shard, books[shard], shard in closed)
            done.closings += await _closing(service, round_, shard, books[shard], shard in closed)
    log.info("round_mended", **{**msgspec.structs.asdict(done), "left": len(done.left)})
    return done


async def _ranks(service: Service, round_: Recorded) -> int:
    """Give ranks anew, in the order of check-in, where two servers have given the same one; how many have changed. Once
    the round is split each belongs to a packet, and stays."""
    if round_.state not in UNSPLIT_STATES:
        return 0
    given: dict[int, int] = defaultdict(int)
    changed: dict[int, int] = {}
    async for row in service.store.stream("ranks", day=round_.day):
        shard = keys.shard_of(row["uid"], round_.rules.shards)
        given[shard] += 1
        if row["rank"] != given[shard]:
            changed[row["uid"]] = given[shard]
    if changed:
        await service.store.all("correct_ranks", day=round_.day, uids=list(changed), ranks=list(changed.values()))
    return len(changed)


async def _users(service: Service, round_: Recorded, books: dict[int, Shard]) -> tuple[list[bytes], list[int]]:
    """Correct records of users whom the books have as far as Redis or further; a word for each, ``mended`` or
    ``moved``. And users whom Redis has further, in shards of which all is in the books."""
    words: list[bytes] = []
    ahead: list[int] = []
    for shard, content in books.items():
        name = keys.name(round_.day, shard, "members")
        found = {int(uid): record async for uid, record in service.redis.hscan_iter(name, count=1_000)}
        differing = [uid for uid in found.keys() | content.members.keys() if found.get(uid) != content.members.get(uid)]
        further = {uid for uid in differing if _stage(found.get(uid)) > _stage(content.members.get(uid))}
        if further and not await outbox.waiting(service.redis, round_.day, shard, 1):
            ahead += further
        words += await _mend(service, round_, shard, content, found, [uid for uid in differing if uid not in further])
        await outbox.drain(service.store, service.redis, round_.day, shard)
    return words, ahead


async def _mend(
    service: Service, round_: Recorded, shard: int, content: Shard, found: dict[int, bytes], uids: list[int]
) -> list[bytes]:
    names, words = keys.names(round_.day, shard, MEND.nouns), []
    for start in range(0, len(uids), CHUNK):
        users: list[tuple[Value, ...]] = []
        for uid in uids[start : start + CHUNK]:
            late, packet_fen = int(uid in content.late_uids), content.packets_fen.get(uid, 0)
            users.append((uid, found.get(uid, b""), content.members[uid], late, packet_fen))
        words += (await call(service.redis, MEND, names, ["", *of_users(MEND, users)]))[1:]
    return words


def _stage(record: bytes | None) -> int:
    return STAGES.get(record[:1], 0) if record else 0


async def _shard(service: Service, round_: Recorded, shard: int, content: Shard, closed: bool) -> None:
    """What a shard holds besides its users: refused payments, order numbers, packets, its state."""
    redis, day = service.redis, round_.day
    round_name, payments, totals = keys.names(day, shard, ("round", "payments", "totals"))
    known = {name.decode() for name in await redis.hgetall(payments)}
    missing = {name: outcome for name, outcome in content.payments.items() if name not in known}
    if missing:
        await redis.hset(payments, mapping=missing)
        await redis.hincrby(totals, "refused_payments", len(missing))
    state, last_number = await redis.hmget(round_name, ("state", "last_number"))
    if int(last_number or 0) < content.last_number:
        await redis.hset(round_name, items=["last_number", content.last_number, "server", "lost"])
    here, right = (state or b"open").decode(), state_in_redis(round_.state, closed)
    if round_.state in PUBLISHED_STATES and here in ("open", "closed"):  # nobody claims here
        await packets.write(redis, day, shard, content.packets)
        for name in ("published", "published_fen"):
            await redis.hset(totals, name, content.totals.get(name, 0))
    if right == "void" or (here in FORWARD and right in FORWARD and FORWARD.index(right) > FORWARD.index(here)):
        await redis.hset(round_name, "state", right)


async def _closing(service: Service, round_: Recorded, shard: int, content: Shard, closed: bool) -> int:
    """Until the round is split, a shard has said when it closed what the books have; 1 where that was corrected."""
    if not closed or round_.state not in UNSPLIT_STATES:
        return 0
    figures = {name: content.totals.get(name, 0) for name in ("members", "winners", "late", "pool_fen")}
    return len(await service.store.all("correct_closing", day=round_.day, shard=shard, **figures))
