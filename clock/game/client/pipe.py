"""One connection on which script calls follow each other without waiting, for a process and a server.

redis-py makes the connection (address, TLS, name and password); from then on hiredis packs and reads, and replies go
to their callers in the order of the calls. A pool would take and give back a connection a call, with locks, a health
check and two timers, which cost more than the call itself (docs/decisions/0022). Nothing is ever sent again: a
connection in doubt is dropped, and everybody who waits on it is told so.

A call without a reply means one of two things. The server is slow, as while it waits for its disk: then it answers
nobody, and waiting is right. Or somebody in between has forgotten the connection: then it answers a new one, and the
old one is dropped (docs/decisions/0037).
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoReply

PROBE_SECONDS = 1.0
"""How old the oldest call is when the server is asked on a new connection whether it answers, and how often."""

KEEP_SECONDS = 10.0
"""How often an idle connection is tried, so that the first verb after a quiet night finds one that works."""


def of_a_replica(error: Exception) -> bool:
    """Whether the error says that the server is no primary: its name may mean another server by now."""
    return isinstance(error, ReadOnlyError) or str(error).startswith("MASTERDOWN")


def _error(text: str) -> RedisError:
    """What redis-py would raise, as far as callers tell errors apart."""
    word, _, rest = text.partition(" ")
    kinds: dict[str, type[ResponseError]] = {"NOSCRIPT": NoScriptError, "READONLY": ReadOnlyError}
    return kinds[word](rest) if word in kinds else ResponseError(text)


def _run_id(info: bytes) -> str:
    found = re.search(rb"^run_id:(\w+)", info, re.MULTILINE)
    return found[1].decode() if found else ""


def packed(*command: str | int | bytes) -> bytes:
    """A command as Redis reads it."""
    return hiredis.pack_command(command)  # type: ignore[arg-type, no-any-return]  # its stub knows one word only


class Pipe(asyncio.Protocol):
    """``seconds`` is how long a reply may take; then the connection is dropped. ``doubt`` is told why one was.
    ``silent`` is called every :data:`PROBE_SECONDS` in which a reply is waited for."""

    def __init__(
        self,
        pool: ConnectionPool,
        seconds: float,
        doubt: Callable[[RedisError], None],
        silent: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._seconds = seconds
        self._doubt = doubt
        self._silent = silent
        self._opening = asyncio.Lock()
        self._failed_at = 0.0
        self._probe: asyncio.Task[None] | None = None
        self._heard = 0
        """How often bytes have come."""
        self._connection: Any = None
        self._transport: asyncio.Transport | None = None
        self.server = ""
        """The run id of the server that it was connected to last."""
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._keeper: asyncio.TimerHandle | None = None
        self._try: asyncio.Task[None] | None = None

    async def execute(self, *command: str | int | bytes) -> Any:
        """The reply of one command. Raises a ``RedisError``, after which it may have been done, or not."""
        if self._transport is None:
            await self.open()
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((monotonic(), future))
        if self._timer is None:
            self._timer = loop.call_later(min(PROBE_SECONDS, self._seconds), self._check)
        self._transport.write(packed(*command))
        return await future

    async def aclose(self) -> None:
        self.drop(LostConnection("closed"))
        for task in (self._probe, self._try, self._keeper):
            if task is not None:
                task.cancel()
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)

    async def open(self) -> None:
        """Connect, unless that is done. Raises a ``RedisError``. Whoever waits for an attempt shares its failure."""
        if self.connected:
            return
        asked_at = monotonic()
        async with self._opening:
            if self._transport is not None:
                return
            if self._failed_at >= asked_at:
                raise LostConnection("the server could not be reached a moment ago")
            try:
                await self._connect()
            except RedisError:
                self._failed_at = monotonic()
                raise

    @property
    def connected(self) -> bool:
        return self._transport is not None

    async def _connect(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)
        self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        await self._connection.connect()
        await self._connection.send_command("INFO", "server")
        self.server = _run_id(await self._connection.read_response())
        transport = self._connection._writer.transport
        self._reader = hiredis.Reader(replyError=_error)
        transport.set_protocol(self)
        self._transport = transport
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._keep)

    def _keep(self) -> None:
        """Try the connection while it is idle, and make a new one where there is none."""
        loop = asyncio.get_running_loop()
        self._keeper = loop.call_later(KEEP_SECONDS, self._keep)
        if not self._waiting and (self._try is None or self._try.done()):
            self._try = loop.create_task(self._ping())

    async def _ping(self) -> None:
        with suppress(RedisError, OSError):
            await self.execute("PING")

    def data_received(self, data: bytes) -> None:
        self._heard += 1
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                _, future = self._waiting.popleft()
                if isinstance(reply, RedisError) and of_a_replica(reply):
                    self.drop(reply)
                if future.done():
                    continue
                if isinstance(reply, Exception):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (hiredis.HiredisError, IndexError) as error:
            self.drop(LostConnection(f"a reply that nobody understands: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.drop(LostConnection(str(error or "closed by the server")))

    def _check(self) -> None:
        """Drop the connection if the oldest call has waited too long, and ask the server if it has waited for long."""
        self._timer = None
        if not self._waiting:
            return
        waited = monotonic() - self._waiting[0][0]
        if waited >= self._seconds:
            self.drop(NoReply(f"no reply in {self._seconds:g} s"))
            return
        loop, next_probe = asyncio.get_running_loop(), PROBE_SECONDS - waited
        if next_probe <= 0:
            next_probe = PROBE_SECONDS
            self._silent()
            if self._probe is None or self._probe.done():
                self._probe = loop.create_task(self._ask(self._transport))
        self._timer = loop.call_later(min(next_probe, self._seconds - waited), self._check)

    async def _ask(self, transport: asyncio.Transport | None) -> None:
        """Drop the connection if the server answers a new one meanwhile, but not this."""
        heard, connection = self._heard, self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
            await connection.send_command("PING")
            await connection.read_response()
        except (RedisError, OSError):
            return
        finally:
            await connection.disconnect(nowait=True)
        if self._transport is transport and self._heard == heard:
            self.drop(NoReply("the server answers, but not on this connection"))

    def drop(self, error: RedisError) -> None:
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(type(error)(str(error)))
        self._doubt(error)
