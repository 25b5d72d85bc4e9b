"""Long work, a row a piece: who holds it, how far it is, how it ended (docs/decisions/0053).

A row is not a lock. What must not be done twice at once is kept apart by the locks of the work itself; the row says who
does it, lets nobody begin it a second time meanwhile, and lets others take it over when its holder has vanished.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Literal

import msgspec
import structlog
from redis.exceptions import RedisError

from clock.books.store import Store
from clock.domain import progress
from clock.domain.outcomes import Answer, Unavailable

log = structlog.get_logger()

LEASE_SECONDS = 25.0
"""A holder that was not heard of for so long has vanished: within half a minute another one goes on."""

BEAT_SECONDS = 5.0
WRITE_SECONDS = 1.0
"""How far it is, is written at most so often."""

SHOWN_SECONDS = 2.0
"""What a worker does by itself has a row once it has taken so long."""

PAUSE_SECONDS = 5.0
"""Before it is tried again, where a server was away."""

KEPT_DAYS = 30
FORGOTTEN_AT_ONCE = 1_000

MOST_BYTES = 1 << 20
"""Of an answer that is kept; the data of a larger one are left out."""

AWAY = (Unavailable, RedisError, OSError)


class Taken(Exception):
    """Somebody else has the row now, and does the work."""


class Row(msgspec.Struct, frozen=True):
    """A row that this process holds."""

    id: int
    kind: str
    about: str
    arguments: dict[str, Any]
    holder: str


class Seen(msgspec.Struct, frozen=True):
    """Work that somebody else may be doing. ``alive``: its holder was heard of lately. ``tried``: it waits because a
    server was away. ``answer``: how it has ended."""

    state: Literal["waiting", "running", "ended"]
    kind: str
    about: str
    step: str = ""
    done: int | None = None
    total: int | None = None
    answer: dict[str, Any] | None = None
    alive: bool = False
    tried: bool = False


class Running:
    """Work that is being done here. With a ``row`` it is shown at once; otherwise it gets one, in the name of ``by``,
    when it has said how far it is after :data:`SHOWN_SECONDS`. By then it has the locks that it needs, so that whoever
    holds the row can only be waiting for it: the row is taken over."""

    def __init__(self, store: Store, kind: str, about: str, by: str, row: Row | None = None) -> None:
        self._store = store
        self._kind = kind
        self._about = about
        self._by = by
        self._row = row
        self._began = self._written = monotonic()
        self._heard: tuple[str, int | None, int | None] = ("", None, None)
        self._news = False

    async def run(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do it, and write its end. Raises what ``work`` raises, and :class:`Taken`. An exception's ``word``, if it has
        one, is how it has ended."""
        with progress.heard(self._hear):
            task = asyncio.ensure_future(work())
        try:
            try:
                await self._watch(task)
                answer = task.result()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        except (*AWAY, asyncio.CancelledError):  # where the process ends, another one goes on at once
            await self._write(self._let_go)
            raise
        except Exception as error:
            if not isinstance(error, Taken):
                word = getattr(error, "word", "internal")
                await self._write(lambda: self._end(Answer(word)))
            raise
        await self._write(lambda: self._end(answer))
        return answer

    def _hear(self, step: str, done: int, total: int | None) -> None:
        self._heard, self._news = (step, done, total), True

    async def _watch(self, task: "asyncio.Future[Answer]") -> None:
        while not (await asyncio.wait({task}, timeout=WRITE_SECONDS))[0]:
            now = monotonic()
            if self._row is None:
                if self._heard[0] and now - self._began >= SHOWN_SECONDS:
                    await self._write(self._show)
            elif self._news or now - self._written >= BEAT_SECONDS:
                self._news, self._written = False, now
                if not await self._write(self._beat):
                    raise Taken

    async def _show(self) -> bool:
        ago = monotonic() - self._began
        self._row = await hold(self._store, self._kind, self._about, {}, self._by, over=True, ago_seconds=ago)
        return True

    def _mine(self) -> dict[str, Any]:
        assert self._row is not None
        step, done, total = self._heard
        return {"id": self._row.id, "holder": self._row.holder, "step": step, "done": done, "total": total}

    async def _beat(self) -> bool:
        return bool(await self._store.all("beat_work", **self._mine()))

    async def _end(self, answer: Answer) -> bool:
        if self._row is not None:
            kept = kept_form(answer).decode()
            await self._store.all("end_work", **self._mine(), answer=kept, word=answer.word)
        return True

    async def _let_go(self) -> bool:
        if self._row is not None:
            await self._store.all("let_work_go", id=self._row.id, holder=self._row.holder)
        return True

    async def _write(self, write: Callable[[], Awaitable[bool]]) -> bool:
        """Where this cannot be written, the work goes on all the same, or has been done."""
        try:
            return await write()
        except Unavailable as error:
            log.warning("work_not_written", kind=self._kind, about=self._about, error=str(error))
            return True


def kept_form(answer: Answer) -> bytes:
    """An answer as its row has it: ``{"word", "data"}`` in JSON."""
    encoded = msgspec.json.encode({"word": answer.word, "data": answer.data})
    return encoded if len(encoded) <= MOST_BYTES else msgspec.json.encode({"word": answer.word, "data": {}})


async def hold(
    store: Store,
    kind: str,
    about: str,
    arguments: dict[str, Any],
    by: str,
    *,
    over: bool = False,
    ago_seconds: float = 0.0,
) -> Row | None:
    """The row of work that is done here, begun ``ago_seconds`` ago; None if somebody else does it. ``over``: take it
    from whoever holds it. Work that had waited keeps its own arguments."""
    found = await store.one(
        "hold_work",
        kind=kind,
        about=about,
        arguments=msgspec.json.encode(arguments).decode(),
        asked_by=by,
        holder=_new_holder(),
        ago=ago_seconds,
        over=over,
        lease=LEASE_SECONDS,
    )
    return msgspec.convert(found, Row) if found else None


async def take(store: Store, kinds: list[str]) -> Row | None:
    """The oldest piece of work of these kinds that nobody does."""
    found = await store.one("take_work", kinds=kinds, holder=_new_holder(), lease=LEASE_SECONDS, pause=PAUSE_SECONDS)
    return msgspec.convert(found, Row) if found else None


async def ask(store: Store, kind: str, about: str, arguments: dict[str, Any], by: str, act: int) -> int:
    """Have a worker do it; the id of its row. The same that has not ended yet is joined: the act waits for its end."""
    given = msgspec.json.encode(arguments).decode()
    found = await store.one("ask_work", kind=kind, about=about, arguments=given, asked_by=by, act=act)
    assert found is not None
    return int(found["id"])


async def seen(store: Store, number: int) -> "Seen":
    """A row as it is now."""
    found = await store.one("get_work", id=number, lease=LEASE_SECONDS)
    assert found is not None
    return Seen(**found)


async def unfinished(store: Store, kind: str, about: str) -> int | None:
    """The id of the piece of this kind about this that has not ended."""
    found = await store.one("unfinished_work", kind=kind, about=about)
    return int(found["id"]) if found else None


async def listed(store: Store, about: str | None, limit: int) -> list[dict[str, Any]]:
    """At most ``limit`` that have not ended, then as many that have, each the newest first; instants in ms."""
    return list(await store.all("list_work", about=about, limit=limit, lease=LEASE_SECONDS))


async def forget_old(store: Store, kinds: list[str]) -> None:
    """Remove some of what ended long ago. What is none of ``kinds``, and whose holder has vanished, has ended."""
    await store.all("end_vanished_work", kinds=kinds, lease=LEASE_SECONDS)
    await store.all("forget_work", days=KEPT_DAYS, limit=FORGOTTEN_AT_ONCE)


def _new_holder() -> str:
    """Another one each time: whoever has lost a row does not write into it any more."""
    return f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
