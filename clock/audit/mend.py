"""Making Redis and the books agree on one round while people play, whichever of them has lost something.

First the books get again whatever the streams have kept. Then they have everything that is known, and Redis gets from
them what it misses: each user's record, if nobody has changed it since it was compared.
"""

from collections import defaultdict
from datetime import date
from itertools import chain

import msgspec
import structlog

from clock.audit import packets
from clock.audit.contents import Shard, contents_of, stage_of, state_in_redis
from clock.audit.rebuild import CHUNK, look_into, rebuild_round, refuse_contradictions
from clock.audit.retell import known, retell
from clock.books import outbox
from clock.books.leases import held
from clock.books.store import RELEASE_LOCK, SETTLEMENT_LOCK, Connection, rows
from clock.domain.rounds import PUBLISHED_STATES, SEALED_STATES, UNSEALED_STATES, windows
from clock.game import keys
from clock.game.client.calls import call
from clock.game.scripts import Value, load, of_users
from clock.rounds.recorded import Recorded, find
from clock.service import Service

log = structlog.get_logger()

MEND, CLOSE = load("mend"), load("close")

PASSES = 5
FORWARD = ("open", "closed", "settled", "finished")
"""States of a shard; mending never takes one back."""


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
    told: int = 0
    """Entries that were written anew from Redis' records, since the streams did not hold them any more."""
    left: list[int] = []
    """Users of whom Redis knows more than the books, and always will: they have given back what made them members."""


async def mend(service: Service, day: date) -> Mended | None:
    """``None`` if there is no such round. Raises :class:`BooksDiffer` and ``Unavailable``."""
    async with service.store.transaction() as connection:
        await rows(connection, "lock_settlement", lock=SETTLEMENT_LOCK)
        await rows(connection, "lock_releases", lock=RELEASE_LOCK)  # an order that comes back changes what is released
        async with held(connection):
            return await _made_whole(service, connection, day)


async def _made_whole(service: Service, connection: Connection, day: date) -> Mended | None:
    if await find(service.store, day) is None:
        return None
    done = Mended(day.isoformat(), await rebuild_round(service, connection, day))
    round_ = await find(service.store, day)
    assert round_ is not None
    await close_again(service, round_)
    for shard in round_.shards:
        await outbox.go_back(service.redis, day, shard)
        await outbox.drain(service.store, service.redis, day, shard)
    books = await _until_they_agree(service, round_, done)
    closed = {one["shard"] for one in await service.store.all("closed_shards", day=day)}
    for shard in round_.shards:
        state = await service.redis.hget(keys.name(day, shard, "round"), "state")
        if state is None:  # expired
            continue
        await _shard(service, round_, shard, books[shard], state.decode(), shard in closed)
        await _extend(service, round_, shard, books[shard])
        if shard in closed and not done.left:
            done.closings += await _closing(service, round_, shard, books[shard])
    if round_.finished_at is not None:
        await service.finishing.expire_again(day, round_.rules.shards, round_.finished_at)
    log.info("round_mended", **{**msgspec.structs.asdict(done), "left": len(done.left)})
    return done


async def _until_they_agree(service: Service, round_: Recorded, done: Mended) -> dict[int, Shard]:
    """Correct ranks and records until nothing differs, or as often as :data:`PASSES`; the books at the end."""
    for number in range(PASSES):
        done.ranks += await _ranks(service, round_)
        books = await contents_of(service.store, round_)
        refuse_contradictions(round_.day, chain.from_iterable(one.members.items() for one in books.values()))
        before = done.left
        final = set(before) if round_.state in SEALED_STATES else set()
        words, done.left = await _users(service, round_, books, final)
        done.users += words.count(b"mended")
        if not words and (not done.left or (number > 1 and done.left == before)):
            break
        for shard in {keys.shard_of(uid, round_.rules.shards) for uid in done.left}:
            done.told += await retell(service, round_, shard, done.left)  # or they were only on their way
    return books


async def _ranks(service: Service, round_: Recorded) -> int:
    """Give ranks anew, in the order of check-in, where two servers have given the same one; how many have changed. Once
    the round is sealed each is in its statement, and stays."""
    if round_.state not in UNSEALED_STATES:
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


async def _users(
    service: Service, round_: Recorded, books: dict[int, Shard], final: set[int]
) -> tuple[list[bytes], list[int]]:
    """Correct records of users whom the books have as far as Redis or further; a word for each, ``mended`` or
    ``moved``. And users whom Redis has further, in shards of which all is in the books; but for those of whom the books
    are ``final``: what they were told besides is a promise (docs/decisions/0060).

    Refused payments first, so that none of them is taken once its order is back. Records that raise somebody last: the
    counts differ until all is done, also if this ends half-way.
    """
    words: list[bytes] = []
    ahead: list[int] = []
    for shard, content in books.items():
        await _payments(service, round_, shard, content)
        members = keys.name(round_.day, shard, "members")
        found = {int(uid): record async for uid, record in service.redis.hscan_iter(members, count=1_000)}
        differing = [uid for uid in found.keys() | content.members.keys() if found.get(uid) != content.members.get(uid)]
        further = {uid for uid in differing if stage_of(found.get(uid)) > stage_of(content.members.get(uid))} - final
        if further and not await outbox.waiting(service.redis, round_.day, shard, 1):
            ahead += sorted(further)
        wrong = [uid for uid in differing if uid not in further]
        wrong.sort(key=lambda uid: stage_of(found.get(uid)) < stage_of(content.members.get(uid)))
        words += await _mend(service, round_, shard, content, found, wrong)
        await outbox.drain(service.store, service.redis, round_.day, shard)
    return words, ahead


async def _payments(service: Service, round_: Recorded, shard: int, content: Shard) -> None:
    payments, totals, checking = keys.names(round_.day, shard, ("payments", "totals", "checking"))
    await look_into(service.redis, checking, content.checking)
    for name, outcome in content.payments.items():
        if await service.redis.hsetnx(payments, name, outcome):
            await service.redis.hincrby(totals, "refused_payments", 1)


async def _mend(
    service: Service, round_: Recorded, shard: int, content: Shard, found: dict[int, bytes], uids: list[int]
) -> list[bytes]:
    names, words = keys.names(round_.day, shard, MEND.nouns), []
    fens = await packets.read(service.redis, round_.day, shard) if uids else []
    for start in range(0, max(1, len(uids)), CHUNK):
        users: list[tuple[Value, ...]] = []
        for uid in uids[start : start + CHUNK]:
            late, packet_fen = int(uid in content.late_uids), content.packets_fen.get(uid, 0)
            record = found.get(uid, b"")
            users.append((uid, record, content.members[uid], late, packet_fen, _claimed_fen(record, fens)))
        words += (await call(service.redis, MEND, names, ["", content.tally.last_number, *of_users(MEND, users)]))[1:]
    return words


def _claimed_fen(record: bytes, fens: list[int]) -> int:
    """The packet that a record says is claimed."""
    told = known(record) if record[:1] == b"P" else None
    return fens[told[1].rank - 1] if told and 0 < told[1].rank <= len(fens) else 0


async def close_again(service: Service, round_: Recorded) -> None:
    """A sealed round takes nobody any more, also in a shard that has forgotten that it was closed."""
    if round_.state not in SEALED_STATES:
        return
    for shard in round_.shards:
        if await service.redis.hget(keys.name(round_.day, shard, "round"), "state") == b"open":
            args = (service.time.expected_ms(), service.time.skew_ms, "split", 0)
            names = keys.names(round_.day, shard, CLOSE.nouns)
            await call(service.redis, CLOSE, names, [service.time.setting, *args])
            log.error("shard_closed_again", day=str(round_.day), shard=shard)


async def _shard(service: Service, round_: Recorded, shard: int, content: Shard, here: str, closed: bool) -> None:
    """What a shard in the state ``here`` holds besides its users and its totals: packets, and its state."""
    redis, day = service.redis, round_.day
    name, totals = keys.names(day, shard, ("round", "totals"))
    right = state_in_redis(round_.state, closed)
    if round_.state in PUBLISHED_STATES and here in ("open", "closed"):  # nobody claims here
        pipe = redis.pipeline(transaction=False)
        for number, start in enumerate(range(0, len(content.packets), keys.PIECE)):
            packets.write(pipe, day, shard, number, content.packets[start : start + keys.PIECE])
        await pipe.execute()
        for counter in ("published", "published_fen"):
            await redis.hset(totals, counter, content.tally.totals.get(counter, 0))
    if right == "void" or (here in FORWARD and right in FORWARD and FORWARD.index(right) > FORWARD.index(here)):
        await redis.hset(name, "state", right)


async def _extend(service: Service, round_: Recorded, shard: int, content: Shard) -> None:
    """A check-in that was made longer stays so, where Redis has forgotten it. One that was made longer after the round
    was sealed was not."""
    name = keys.name(round_.day, shard, "round")
    here = int(await service.redis.hget(name, "extended_ms") or 0)
    if here < content.extended_ms or (here > content.extended_ms and round_.state in SEALED_STATES):
        closes_ms = windows(round_.day, round_.rules).check_in_closes_ms + content.extended_ms
        await service.redis.hset(name, mapping={"check_in_closes_ms": closes_ms, "extended_ms": content.extended_ms})


async def _closing(service: Service, round_: Recorded, shard: int, content: Shard) -> int:
    """A closed shard counts what the books have; until the round is sealed, it has also said so when it closed. 1 where
    that was corrected."""
    figures = {name: content.tally.totals.get(name, 0) for name in ("members", "winners", "late", "pool_fen")}
    await service.redis.hset(keys.name(round_.day, shard, "totals"), mapping=figures)
    if round_.state not in UNSEALED_STATES:
        return 0
    return len(await service.store.all("correct_closing", day=round_.day, shard=shard, **figures))
