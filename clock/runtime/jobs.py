"""How a worker's jobs run: each once at a time, long ones as long as they take, and what goes wrong is said seldom."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import date
from typing import Any

import structlog

from clock import logs
from clock.domain.outcomes import Answer
from clock.operators.work import table
from clock.operators.work.asking import DOING, done
from clock.operators.work.table import AWAY, Row, Running, Taken
from clock.service import Service, end

log = structlog.get_logger()

BY = "worker"
"""In whose name a worker does what nobody has asked for."""

Job = Callable[[dict[str, Any]], Awaitable[None]]


class Lasting:
    """Work that may take hours, one of a name at a time. It ends with the worker, which waits for none of it."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def runs(self, name: str) -> bool:
        return name in self._tasks and not self._tasks[name].done()

    def begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = asyncio.create_task(work)

    async def end(self) -> None:
        await end(list(self._tasks.values()))


def resilient(job: Job) -> Job:
    """One run at a time in a process. Whatever goes wrong ends the run, and the next one tries again."""
    running = asyncio.Lock()

    async def run(context: dict[str, Any]) -> None:
        if running.locked():
            return
        async with running:
            await guarded(context, job.__name__, job(context))

    run.__name__ = run.__qualname__ = job.__name__
    return run


def lasting(job: Job) -> Job:
    """The job as arq runs it: it is begun, and not waited for, so that arq does not cut it. A worker that dies leaves
    nothing behind that would hold up the next one: arq knows only that the job was begun."""

    async def begin(context: dict[str, Any]) -> None:
        running: Lasting = context["lasting"]
        if not running.runs(job.__name__):
            running.begin(job.__name__, _run(job, context))

    return begin


async def _run(job: Job, context: dict[str, Any]) -> None:
    await job(context)


async def guarded(context: dict[str, Any], name: str, work: Awaitable[None]) -> None:
    """Say what goes wrong, the same at most once in :data:`~clock.logs.AGAIN_SECONDS`, and go on."""
    with logs.remembering(context.setdefault("said", logs.Said())):
        try:
            await work
        except AWAY as error:
            if logs.is_news("job_waits", name, type(error)):
                log.warning("job_waits", job=name, error=str(error))
        except Exception as error:
            if logs.is_news("job_failed", name, type(error)):
                log.error("job_failed", job=name, exc_info=error)


async def shown(service: Service, kind: str, work: Callable[..., Awaitable[Any]], day: date, *args: Any) -> None:
    """Do what nobody has asked for. Once it takes long, it is shown. A round on which another process works is left to
    it: the next one may be begun meanwhile."""

    async def answered() -> Answer:
        result = await work(day, *args)
        return Answer(result if isinstance(result, str) else "ok" if result is not False else "not_due")

    if not await service.ending.is_free(day):
        return
    try:
        await Running(service.store, kind, str(day), BY).run(answered)
    except Taken:
        log.warning("work_taken_over", kind=kind, about=str(day))


async def held(service: Service, kind: str, day: date) -> Answer | None:
    """Do what nobody has asked for, unless another process does it; its answer."""
    row = await table.hold(service.store, kind, str(day), {}, BY)
    return await _done(service, row) if row else None


async def take_asked(context: dict[str, Any]) -> None:
    """Begin what operators have asked for, one of a kind at a time."""
    service, running = context["service"], context["lasting"]
    while kinds := [kind for kind in DOING if not running.runs(_name(kind))]:
        row = await table.take(service.store, kinds)
        if row is None:
            break
        running.begin(_name(row.kind), guarded(context, _name(row.kind), _do(service, row)))


def _name(kind: str) -> str:
    return f"asked_{kind}"


async def _do(service: Service, row: Row) -> None:
    log.info("work_begun", kind=row.kind, about=row.about)
    if answer := await _done(service, row):
        log.info("work_ended", kind=row.kind, about=row.about, word=answer.word)


async def _done(service: Service, row: Row) -> Answer | None:
    try:
        return await done(service, row)
    except Taken:
        log.warning("work_taken_over", kind=row.kind, about=row.about)
    return None
