"""Creating rounds: the snapshot of the rules, from the book, the seed and the statement O in Postgres, then the rules
in every shard of Redis."""

import os
from datetime import UTC, date, datetime

import msgspec
import structlog
from redis.exceptions import RedisError

from clock.beacon.rule import Draw, draw_of
from clock.beacon.settings import beacon_of
from clock.books import rulebook, telling
from clock.books.partitions import add_partitions, months_ahead
from clock.books.store import Store, rows
from clock.config import Settings, rules_of
from clock.domain import order_no
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import Rules, empty_window, following, no_room, previous, windows
from clock.domain.webhooks import RoundOpened
from clock.game import keys
from clock.game.client.calls import call
from clock.game.client.commands import Commands
from clock.game.gametime import GameTime
from clock.game.scripts import Value, load
from clock.proofs import statements
from clock.proofs.statements import Signing
from clock.rounds.recorded import Recorded, find, recorded

log = structlog.get_logger()

OPEN = load("open")

PREPARED_MONTHS = 2
"""For so many months after this one the partitions are there, so for 59 days at least: as long may whatever holds them
up last."""


def around(now: date) -> tuple[date, date, date]:
    """The rounds that verbs may name: of yesterday, today and tomorrow."""
    return previous(now), now, following(now)


class Opener:
    """Opens rounds. Every step is idempotent and may run in several processes."""

    def __init__(self, settings: Settings, store: Store, redis: Commands, time: GameTime, signing: Signing) -> None:
        self._environment = rules_of(settings)
        self._beacon = beacon_of(settings)
        self._signing = signing
        self._store = store
        self._redis = redis
        self._time = time

    async def open_round(self, day: date) -> Rules:
        """Make sure that the round exists; return its rules. Raises :class:`Unavailable`, also if Redis has lost a
        round that was in use: opening it again would lose its members."""
        round_ = await self._record(day)
        rules = round_.rules
        await add_partitions(self._store, [day])
        used = {row["shard"] for row in await self._store.all("drained_shards", day=day)}
        fields = round_fields(round_)
        for shard in round_.shards:
            lost = shard in used or round_.state not in ("open", "voiding")
            await self._open_shard(day, shard, fields, lost)
        return rules

    async def reopen(self, day: date) -> bool:
        """For a verb on a round that is not in Redis: ``False`` if there never was one or its keys have expired.
        Otherwise as :meth:`open_round`."""
        round_ = await find(self._store, day)
        if round_ is None or _is_over(round_):
            return False
        await self.open_round(day)
        return True

    async def open_flags(self) -> None:
        """Create the hashes of users' flags. Raises :class:`Unavailable`, also if one was in use and is lost.

        All of them before any is used: the books know that there are flags, not of which shards.
        """
        try:
            names = [keys.name(keys.USERS, shard, "flags") for shard in range(keys.USER_SHARDS)]
            missing = [name for name in names if not await self._redis.hexists(name, "open")]
            if not missing:
                return
            used = await self._store.one("flags_used")
            if used is not None and used["used"]:
                raise Unavailable(f"flags of users were in use and are not in Redis: {', '.join(missing)}")
            for name in missing:
                await self._redis.hsetnx(name, "open", 1)
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis cannot open the flags of users: {error}") from error

    async def prepare(self, now: date) -> None:
        """Make the partitions of yesterday's month, of today's and of those after it: at midnight nothing is left to
        do. Say which rounds Redis has and the books have lost: nothing of them is drained or settled."""
        ahead = [months_ahead(now, months) for months in range(PREPARED_MONTHS + 1)]
        if made := await add_partitions(self._store, [previous(now), *ahead]):
            log.info("partitions_made", tables=made, until=f"{ahead[-1]:%Y-%m}")
        for day in around(now):
            if await find(self._store, day) is None and await self._redis.exists(keys.name(day, 0, "round")):
                log.error("round_lost", day=str(day))

    async def open_around(self, now: date) -> None:
        """Open the flags, and the rounds of yesterday, today and tomorrow."""
        await self.open_flags()
        for day in around(now):
            await self.open_missing(day)

    async def open_missing(self, day: date) -> None:
        """Open a round that is not in Redis."""
        if not await self._redis.exists(keys.name(day, 0, "round")):
            await self.open_round(day)
            log.info("round_opened", day=str(day))

    async def _record(self, day: date) -> Recorded:
        """Raises :class:`Unavailable` for a round that Redis has and the books do not: another seed would not have its
        published hash. Redis is asked first: another process may write the round meanwhile, and does so into the books
        before Redis has it."""
        in_redis = await self._is_in_redis(day)
        async with self._store.transaction() as connection:
            found = await rows(connection, "get_round", day=day)
            if not found:
                if in_redis:
                    raise Unavailable(f"Redis has round {day} and the books do not: its seed is in a newer backup")
                await rulebook.lock(connection)
                rules = (await rulebook.begun(connection, day, self._environment)).rules(day)
                if why := empty_window(day, rules):  # as when the zone's rules have changed since they were planned
                    raise Unavailable(f"round {day} cannot be opened: {why}")
                draw = self._draw(day, rules)
                secret = {"seed": os.urandom(32), "salt_key": os.urandom(32), "draw_ms": draw and draw.instant_ms}
                await rows(connection, "create_round", day=day, rules=msgspec.json.encode(rules).decode(), **secret)
                found = await rows(connection, "get_round", day=day)
                round_ = recorded(found[0])
                if round_.salt_key:  # or a process of an earlier version was faster, which will not go on with C and P
                    await self._signing.write(connection, day, statements.opened(round_, self._signing.origin, draw))
                await telling.tell(self._store, connection, day, _opened(round_), self._time.now_ms())
            return recorded(found[0])

    def _draw(self, day: date, rules: Rules) -> Draw | None:
        """The draw that O promises. None where there is no beacon, or the rules leave its draw no room: they were
        planned before there was one."""
        if self._beacon is None:
            return None
        if why := no_room(day, rules):
            log.error("round_without_beacon", day=str(day), reason=why)
            return None
        return draw_of(self._beacon.chain, windows(day, rules).settle_ms)

    async def _is_in_redis(self, day: date) -> bool:
        try:
            return bool(await self._redis.exists(keys.name(day, 0, "round")))
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis cannot open round {day}: {error}") from error

    async def _open_shard(self, day: date, shard: int, fields: list[Value], used: bool) -> None:
        name = keys.name(day, shard, "round")
        try:
            if used and not await self._redis.exists(name):
                raise Unavailable(f"round {day} was in use and is not in Redis")
            first = order_no.first_order_id(day, shard)
            await call(self._redis, OPEN, [name], [self._time.setting, "first_order_id", first, *fields])
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis cannot open round {day}: {error}") from error


def _opened(round_: Recorded) -> RoundOpened:
    at = {name: ms for name, ms in msgspec.structs.asdict(round_.at).items() if name in RoundOpened.__struct_fields__}
    return RoundOpened(round=round_.day.isoformat(), rules=round_.rules, seed_hash=round_.seed_hash.hex(), **at)


def _is_over(round_: Recorded) -> bool:
    """Whether the round's keys have expired."""
    finished_at = round_.finished_at
    return finished_at is not None and (datetime.now(UTC) - finished_at).total_seconds() * 1000 > keys.KEEP_MS


def round_fields(round_: Recorded) -> list[Value]:
    """A shard's round hash without its state, the first order id and extensions, as field, value, …"""
    fields: list[Value] = ["rules", msgspec.json.encode(round_.rules), "seed_hash", round_.seed_hash.hex()]
    fields += ["stake_fen", round_.rules.stake_fen]
    for name, value in msgspec.structs.asdict(windows(round_.day, round_.rules)).items():
        fields += [name, value]
    return fields
