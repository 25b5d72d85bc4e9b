"""Steps shared by settling, voiding and finishing: one process at a time, scripts called on a shard, shards drained and
closed, refunds owed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from typing import Any

import structlog
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from clock import logs
from clock.books import outbox
from clock.books.leases import held
from clock.books.partitions import measure
from clock.books.store import ROUND_LOCK, SETTLEMENT_LOCK, Store, rows, unhurried
from clock.domain import progress
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import WAIT_CAP_MS, day_number
from clock.game import keys
from clock.game.client.calls import call
from clock.game.client.commands import Commands
from clock.game.gametime import GameTime
from clock.game.scripts import Value, load
from clock.rounds.clocks import Clocks
from clock.rounds.opening import Opener
from clock.rounds.recorded import Recorded, recorded

log = structlog.get_logger()

CLOSE, EXTEND = load("close"), load("extend")

DRAIN_SECONDS = 20.0

AT_ONCE = 16
"""Calls in flight: the server syncs its file once for several. With ``CLOCK_DURABILITY=replica`` one at a time."""

MEASURED_FROM = 2_000
"""Members of a round for which Postgres has to know how many there are; below, any plan will do."""


class BooksDiffer(Exception):
    """Redis and Postgres disagree about a round: settlement stops, and a person must investigate."""

    word = "books_differ"


@contextmanager
def isolated(day: object, *stopping: type[Exception]) -> Iterator[None]:
    """What goes wrong in one round is said, not every second, and does not stop the others. A server that is away stops
    all of them, and so does what is ``stopping``."""
    try:
        yield
    except Exception as error:
        if _is_away(error) or isinstance(error, stopping):
            raise
        if not logs.is_news("round", str(day), type(error)):
            return
        if isinstance(error, outbox.UNREADABLE):
            log.error("outbox_unreadable", day=str(day), error=type(error).__name__)
        elif isinstance(error, BooksDiffer):
            log.error("books_differ", day=str(day), error=str(error))
        elif isinstance(error, Unavailable):
            log.warning("round_waits", day=str(day), error=str(error))
        else:
            log.error("round_failed", day=str(day), exc_info=error)


def _is_away(error: Exception) -> bool:
    """Whether it is a server that does not answer. One that says no to a command has answered, but for a replica."""
    answered = isinstance(error, ResponseError) and not isinstance(error, ReadOnlyError)
    return isinstance(error, (RedisError, OSError)) and not answered


class NotDue(Exception):
    """A shard's check-in is still open: its window has become longer."""


class Ending:
    """The connections and the shared steps of everything that ends a round."""

    def __init__(self, store: Store, redis: Commands, time: GameTime, clocks: Clocks, opener: Opener) -> None:
        self.store = store
        self.redis = redis
        self.time = time
        self.clocks = clocks
        self.opener = opener
        self._at_once = 1 if getattr(redis, "replicated", False) else AT_ONCE
        self._turn = asyncio.Lock()
        """Waiting for Postgres' lock occupies a connection, so only one task of this process waits."""

    @asynccontextmanager
    async def alone(self, day: date) -> AsyncIterator[Recorded | None]:
        """The round as recorded, under its lock; errors of a server become :class:`Unavailable`."""
        try:
            with unhurried():
                async with self._turn, self.store.transaction() as connection:
                    lock = {"all": SETTLEMENT_LOCK, "lock": ROUND_LOCK, "number": day_number(day)}
                    await rows(connection, "lock_round", **lock)
                    found = await rows(connection, "get_round", day=day)
                    progress.at("begun", 0)
                    async with held(connection):
                        yield recorded(found[0]) if found else None
        except (Unavailable, RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"settlement of {day}: {error}") from error

    async def is_free(self, day: date) -> bool:
        """Whether nobody works on the round now: otherwise another one is begun meanwhile."""
        async with self.store.transaction() as connection:
            found = await rows(connection, "try_round", lock=ROUND_LOCK, number=day_number(day))
        return bool(found[0]["free"])

    async def reply(self, script: Any, day: date, shard: int, *args: Value) -> list[Any]:
        """Call a script on a shard; return its whole reply."""
        names = keys.names(day, shard, script.nouns)
        return await call(self.redis, script, names, [self.time.setting, *args])

    async def word(self, script: Any, day: date, shard: int, *args: Value) -> str:
        """Call a script on a shard; return the word of its reply."""
        return str((await self.reply(script, day, shard, *args))[1].decode())

    async def each(self, calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Make calls whose order does not matter, some of them at once. Raises what the first one raises that fails."""
        for start in range(0, len(calls), self._at_once):
            await asyncio.gather(*(one() for one in calls[start : start + self._at_once]))

    async def drain(self, round_: Recorded) -> None:
        """Wait until the round's outbox is empty. Raises :class:`Unavailable` after a timeout."""
        async with asyncio.timeout(DRAIN_SECONDS):
            for shard in round_.shards:
                while True:
                    await outbox.drain(self.store, self.redis, round_.day, shard)
                    if not await outbox.waiting(self.redis, round_.day, shard, 1):
                        break
                    await asyncio.sleep(0.05)

    def require_before_draw(self, round_: Recorded, stated_ms: int) -> None:
        """At the end of the transaction of a statement of this instant. Raises :class:`Unavailable` where the draw has
        come out meanwhile: a statement that is not out before it must not say that it was."""
        if round_.draw_ms is not None and stated_ms < round_.draw_ms <= self.time.now_ms():
            raise Unavailable(f"the draw of {round_.day} came out while a statement of before it was written")

    async def ends_ms(self, round_: Recorded) -> int:
        """When the shards are to be closed: the books may not have the newest extension yet."""
        names = [keys.name(round_.day, shard, "round") for shard in round_.shards]
        longest_ms = max([int(await self.redis.hget(name, "extended_ms") or 0) for name in names])
        return round_.ends_ms + max(0, longest_ms - round_.extended_ms)

    async def extend(self, round_: Recorded, asked: dict[str, Any], how: str = "extend") -> set[str]:
        """Have every shard carry out, or ``check``, what an operator said; the words that they answer."""
        args = (how, asked["number"], asked["minutes"] * 60_000, asked["reason"], asked["by_whom"])
        expected = (self.time.expected_ms(), self.time.skew_ms)
        return {await self.word(EXTEND, round_.day, shard, *expected, *args) for shard in round_.shards}

    async def close_shards(self, round_: Recorded, why: str) -> dict[str, int]:
        """Close every shard, drain it into the books, and compare; members, winners, late members and the pool in fen.
        Raises :class:`BooksDiffer` and :class:`NotDue`."""
        day = round_.day
        for shard in round_.shards:
            word = await self._close(day, shard, why)
            if word == "no_round":
                await self.opener.open_round(day)
                word = await self._close(day, shard, why)
            if word == "not_due":
                raise NotDue
            if why == "settle" and await self.redis.hget(keys.name(day, shard, "round"), "state") == b"void":
                raise BooksDiffer(f"{day} is void in Redis, and the books have lost that: call it off again")
            if word not in ("closed", "already_closed"):
                raise Unavailable(f"shard {shard} of {day} does not close: {word}")
        await self.drain(round_)
        said = await self.store.all("closed_shards", day=day)
        if sum(row["members"] for row in said) >= MEASURED_FROM:
            await measure(self.store, day)
        books = (await self.store.all("count_books", day=day))[0]
        for name in ("members", "winners", "late", "pool_fen"):
            total = sum(row[name] for row in said)
            if len(said) != len(round_.shards) or total != books[name]:
                raise BooksDiffer(f"{name} of {day}: Redis says {total}, the books say {books[name]}")
        strays = (await self.store.all("stray_ranks", day=day))[0]["ranks"]
        if strays and why == "settle":
            raise BooksDiffer(f"{strays} ranks of {day} were given twice, or not at all")
        return {name: books[name] for name in ("members", "winners", "late", "pool_fen")}

    async def _close(self, day: date, shard: int, why: str) -> str:
        return await self.word(CLOSE, day, shard, self.time.expected_ms(), self.time.skew_ms, why, WAIT_CAP_MS)
