"""The batcher: collects the users of one script and shard for a moment and sends them as one call.

A queue is flushed at the next turn of the event loop, or, with :data:`MOST_SENDERS` at it, when the calls of one of
them have returned. So an idle service adds no wait, and batches grow with load. More users than one call may hold are
sent as several calls at once, because thousands may arrive in one turn of the loop. A failed call fails its own callers
only.

First come, first served. An identical request that arrives while one is queued shares its place, and gets the answer
of a replay. So repeated requests cost other users nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from time import monotonic
from typing import Any, Protocol

import structlog
from redis.exceptions import RedisError

from clock.domain.outcomes import Busy, Unavailable
from clock.domain.rounds import WAIT_CAP_MS
from clock.game.keys import Day
from clock.game.scripts import Script, Value, of_users

log = structlog.get_logger()

MAX_BATCH = 256
MAX_CALLS = 16
"""Calls of one queue in flight. They follow each other on one connection and share an fsync of Redis' file."""
MOST_SENDERS = 2
"""Tasks at one queue: while Redis works on the calls of one, the process makes those of the other
(docs/decisions/0070)."""
MAX_WAITING = 12_288

REPLAY = {b"claimed": b"already_claimed", b"paid": b"already_paid"}
"""The script's answer to a repeated request, by its first answer; every other word is answered again unchanged.
A number is the rank of who has checked in now."""


Asked = asyncio.Future[Any]
"""``(now_ms, result)`` of a query on its way."""


class Waiter(Protocol):
    """Who is told the result: a future, or something smaller that acts at once."""

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None:
        """``(now_ms, result)``. Raises nothing."""
        ...

    def set_exception(self, error: Exception, /) -> None:
        """Raises nothing."""
        ...


def leave(asked: Asked) -> None:
    """Mark the exception as retrieved, now or when it comes: the caller has failed on another query."""
    asked.add_done_callback(lambda done: done.cancelled() or done.exception())


class Half:
    """Waits for one of two results; whichever is last tells ``waiter`` ``(now_ms, (first, second))``."""

    __slots__ = ("_other", "_place", "_result", "_waiter")

    def __init__(self, waiter: Waiter, first: "Half | None" = None) -> None:
        self._waiter = waiter
        self._other = first
        self._place = 0 if first is None else 1
        self._result: Any = None
        if first is not None:
            first._other = self

    def done(self) -> bool:
        return self._waiter.done()

    def set_result(self, result: Any) -> None:
        now_ms, self._result = result
        other = self._other
        if other is not None and other._result is not None:
            both = (other._result, self._result) if self._place else (self._result, other._result)
            self._waiter.set_result((now_ms, both))

    def set_exception(self, error: Exception) -> None:
        self._waiter.set_exception(error)


Lane = tuple[Script, Day, int]
Call = Callable[[Script, Day, int, Sequence[Value]], Awaitable[list[Any]]]


class _Waiting:
    """One place in a queue: the first request, and identical ones that have arrived since."""

    __slots__ = ("again", "args", "arrived", "waiter")

    def __init__(self, args: tuple[Value, ...], arrived: float, waiter: Waiter) -> None:
        self.args = args
        self.arrived = arrived
        self.waiter = waiter
        self.again: list[Waiter] | None = None


class _Queue(dict[tuple[Value, ...], _Waiting]):
    """In order of arrival, by the arguments of the request. ``senders``: tasks that send what is in it."""

    senders = 0


def _replayed(result: Any) -> Any:
    """The answer to a repetition of the same request."""
    if isinstance(result, list):
        return [REPLAY.get(result[0], result[0]), *result[1:]]
    return b"already_checked_in" if isinstance(result, int) else REPLAY.get(result, result)


class Batcher:
    """``call`` sends one vector to a shard and returns ``[now_ms, one result per user…]``."""

    def __init__(
        self, call: Call, max_batch: int = MAX_BATCH, max_waiting: int = MAX_WAITING, max_calls: int = MAX_CALLS
    ) -> None:
        self._call = call
        self._max_batch = max_batch
        self._most_senders = min(MOST_SENDERS, max_calls)
        self._calls_each = max_calls // self._most_senders
        self._max_waiting = max_waiting
        self._lanes: dict[Lane, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.waiting = 0
        """Callers without an answer."""

    def submit(
        self, script: Script, day: Day, shard: int, args: tuple[Value, ...], arrived: float
    ) -> asyncio.Future[Any]:
        """As :meth:`tell`; the future resolves to ``(now_ms, result)`` or raises :class:`Unavailable`."""
        future = self._running_loop().create_future()
        self.tell(future, script, day, shard, args, arrived)
        return future

    def tell(
        self, waiter: Waiter, script: Script, day: Day, shard: int, args: tuple[Value, ...], arrived: float
    ) -> None:
        """Queue one user's ``args``: the uid, then the words per user of the script's header, without ``waited_ms``.

        ``arrived`` is ``time.monotonic()`` at which the request reached the process. Raises :class:`Busy` when the
        queue is full; then ``waiter`` is told nothing.
        """
        if self.waiting >= self._max_waiting:
            raise Busy
        lane = (script, day, shard)
        queue = self._lanes.get(lane)
        if queue is None:
            queue = self._lanes[lane] = _Queue()
        if len(queue) % self._max_batch == 0 and queue.senders < self._most_senders:
            queue.senders += 1
            task = self._running_loop().create_task(self._run(lane, queue))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        place = queue.get(args)
        if place is None:
            queue[args] = _Waiting(args, arrived, waiter)
        elif place.again is None:
            place.again = [waiter]
        else:
            place.again.append(waiter)
        self.waiting += 1

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:  # cached: before Python 3.12 each look-up is a system call
            self._loop = asyncio.get_running_loop()
        return self._loop

    async def _run(self, lane: Lane, queue: _Queue) -> None:
        """Send batch after batch until the queue is empty; the task starts one loop turn after its first caller."""
        try:
            while queue:
                calls: list[Awaitable[None]] = []
                while queue and len(calls) < self._calls_each:
                    batch = [queue.pop(asked) for asked in list(islice(queue, self._max_batch))]
                    calls.append(self._send(lane, batch))
                await (asyncio.gather(*calls) if len(calls) > 1 else calls[0])
        except BaseException as error:
            self._fail(list(queue.values()), error)
            queue.clear()
            raise
        finally:
            queue.senders -= 1
            if not queue.senders:
                del self._lanes[lane]

    async def _send(self, lane: Lane, batch: list[_Waiting]) -> None:
        script, day, shard = lane
        users = [one.args for one in batch]
        if "waited_ms" in script.row:
            now = monotonic()
            users = [(one.args[0], min(WAIT_CAP_MS, int((now - one.arrived) * 1000)), *one.args[1:]) for one in batch]
        try:
            now_ms, *results = await self._call(script, day, shard, of_users(script, users))
            if len(results) != len(batch):
                raise Unavailable(f"{script.verb} answered {len(results)} of {len(batch)} users")
        except (RedisError, OSError, Unavailable) as error:
            log.error(
                "batch_failed",
                script=script.verb,
                day=str(day),
                shard=shard,
                users=len(batch),
                error=str(error),
            )
            self._fail(batch, error)
            return
        except Exception as error:
            log.error("batch_broke", script=script.verb, exc_info=error)
            self._fail(batch, error)
            return
        except asyncio.CancelledError as error:
            self._fail(batch, error)
            raise
        self.waiting -= len(batch)
        for one, result in zip(batch, results, strict=True):
            if not one.waiter.done():
                one.waiter.set_result((now_ms, result))
            if one.again is not None:
                self._answer_again(one.again, now_ms, _replayed(result))

    def _answer_again(self, waiters: list[Waiter], now_ms: int, result: Any) -> None:
        self.waiting -= len(waiters)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result((now_ms, result))

    def _fail(self, batch: list[_Waiting], error: BaseException) -> None:
        for one in batch:
            waiters = [one.waiter, *(one.again or ())]
            self.waiting -= len(waiters)
            for waiter in waiters:
                if not waiter.done():
                    failure = Unavailable(str(error))
                    failure.__cause__ = error
                    waiter.set_exception(failure)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("batcher_broke", exc_info=error)

    async def drain(self) -> None:
        """Wait until every accepted request has its answer."""
        while running := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(running)
