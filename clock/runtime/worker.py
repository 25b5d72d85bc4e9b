"""The worker: arq is the alarm clock, the streams and the calendar say what is to be done.

Every job looks at what is due, so nothing is missed that fell due while no worker ran, and every job may be
killed at any moment and run again.
"""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count as count_up
from typing import Any

import msgspec
import structlog
from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import RedisError, ResponseError

from clock import logs
from clock.audit.counts import Counting
from clock.books import outbox
from clock.books.accounts import carry_some
from clock.books.store import end_half_sent
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import ENDED_STATES, Calendar
from clock.game import keys
from clock.game.client.pool import Pool, Tidy
from clock.operators.work.asking import DOING
from clock.operators.work.table import forget_old
from clock.rounds.clocks import said
from clock.rounds.ending import isolated
from clock.rounds.opening import around
from clock.runtime.jobs import Lasting, held, lasting, resilient, shown, take_asked
from clock.runtime.merging import merge_some
from clock.runtime.sending import announce, ask, remind, send, sequence, witness
from clock.service import Service, end, live_rounds

log = structlog.get_logger()

QUEUE = "clock:arq:queue"

JOB_SECONDS = 30
"""Longest life of a job: recovery of a crashed one waits for it. The long ones are only begun in it."""

DRAIN_SECONDS = 10.0
"""How long one drain job looks for new entries; the next starts within the second."""

CARRY_SECONDS = 15.0
PAUSE_SECONDS = 0.1
HEARTBEAT_MS = 10_000
RESTART_SECONDS = 0.2

IDLE_SECONDS = 20.0
"""A worker that has not ended a job for so long does not work: some are asked for every second."""

STOP_SECONDS = 10
"""How long the process takes to let go of its servers; then the kernel ends it."""

MOST_QUEUED = 100
"""Jobs that wait; beyond it nothing is asked for."""

ASKING_MS = 60_000
"""When to ask again, where nobody knows whether Redis heard it."""

QUIET_MS = (2 * 3600 * 1000, 1800 * 1000)
"""So long before check-in opens, and until so long before, hardly anybody comes."""


async def _drain_shard(service: Service, day: keys.Day, shard: int) -> int:
    """An entry that cannot be read stops its own shard, and says so until somebody looks."""
    try:
        return await outbox.drain_new(service.store, service.redis, day, shard)
    except outbox.UNREADABLE as error:
        if logs.is_news("shard", str(day), shard, type(error)):
            log.error("outbox_unreadable", day=str(day), shard=shard, error=type(error).__name__)
    return 0


@resilient
async def drain(context: dict[str, Any]) -> None:
    """Carry every shard's stream into Postgres."""
    service: Service = context["service"]
    for day, shards in await _outboxes(service):
        with isolated(day, Unavailable):
            if behind := await outbox.align(service.store, service.redis, day, list(shards)):
                log.warning("drained_again", day=str(day), shards=behind)
    until = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < until:
        moved = sum([await _drain_shard(service, keys.USERS, shard) for shard in range(keys.USER_SHARDS)])
        for round_ in await live_rounds(service):
            for shard in round_.shards:
                with isolated(round_.day, Unavailable):
                    some = await _drain_shard(service, round_.day, shard)
                    moved += some
                    if some and round_.finished_at is not None:
                        await service.finishing.expire_again(round_.day, round_.rules.shards, round_.finished_at)
        if not moved:
            await asyncio.sleep(PAUSE_SECONDS)


async def _outboxes(service: Service) -> list[tuple[keys.Day, range]]:
    """Of users, and of every round whose keys may still be in Redis; each with its shards."""
    return [(keys.USERS, range(keys.USER_SHARDS)), *((one.day, one.shards) for one in await live_rounds(service))]


@resilient
async def trim(context: dict[str, Any]) -> None:
    """Let go of drained entries that nobody will want any more, once a minute."""
    service: Service = context["service"]
    for day, shards in await _outboxes(service):
        with isolated(day, Unavailable):
            await outbox.align(service.store, service.redis, day, list(shards))  # or what the books just lost would go
            for shard in shards:
                await outbox.trim(service.redis, day, shard, service.time.now_ms())


@resilient
async def compare_counts(context: dict[str, Any]) -> None:
    """See whether Redis and the books still count the same."""
    await context["counting"].look()


@resilient
async def beat(context: dict[str, Any]) -> None:
    """Say that the worker lives, let go of who does not, and keep the rounds open that verbs may name."""
    service: Service = context["service"]
    await service.redis.set(keys.HEARTBEAT, int(time.time()), px=HEARTBEAT_MS)
    for name, channel in service.channels.items():
        if silent_s := channel.silent_seconds():
            await service.redis.set(keys.SILENT + name, int(silent_s), px=HEARTBEAT_MS)
    if ended := await end_half_sent(service.store):
        log.warning("half_sent_ended", sessions=ended)
    verdict = await service.clocks.announce()
    if verdict.off and logs.is_news("clocks_differ", *verdict.off):
        log.error("clocks_differ", clocks=said(verdict))
    await service.opener.open_flags()
    for day in around(Calendar(service.settings.timezone).day_at(service.time.now_ms())):
        with isolated(day):
            await service.opener.open_missing(day)


@resilient
async def prepare(context: dict[str, Any]) -> None:
    """Have everything in Postgres that the rounds of the next days need, and nothing of long ago, once a minute."""
    service: Service = context["service"]
    await service.opener.prepare(Calendar(service.settings.timezone).day_at(service.time.now_ms()))
    await service.clocks.agreed_now_ms()  # a wrong clock would have them forgotten
    await service.announcing.forget_old()
    await forget_old(service.store, list(DOING))


@resilient
async def rewrite(context: dict[str, Any]) -> None:
    """Have Redis rewrite its append-only file in the quiet before check-in. Otherwise it might at five, when that
    halves what it can do: a fork, a fault for the first write to each page, a second process (docs/decisions/0029)."""
    service: Service = context["service"]
    now_ms, (first_ms, last_ms) = service.time.now_ms(), QUIET_MS
    for round_ in await live_rounds(service):
        left_ms = round_.at.check_in_opens_ms - now_ms
        if last_ms < left_ms <= first_ms and await service.redis.set(keys.REWRITTEN, 1, nx=True, px=ASKING_MS):
            for node in await service.redis.nodes():
                try:
                    await node.execute_command("BGREWRITEAOF")
                    log.info("rewrite_asked", day=str(round_.day))
                except ResponseError as error:  # it is doing it already, or whoever runs it does not let us
                    log.warning("rewrite_refused", error=str(error))
            await service.redis.set(keys.REWRITTEN, 1, px=first_ms)


@resilient
async def settle(context: dict[str, Any]) -> None:
    """Settle and end the voiding of what is due, oldest first; then finish: crediting a million takes a minute, and the
    next round may have to be closed in it."""
    service: Service = context["service"]
    now_ms = service.time.now_ms()  # an estimate; each step that cannot be taken back compares three clocks itself
    live = await live_rounds(service)
    for round_ in live:
        with isolated(round_.day):
            if round_.state == "voiding":
                await shown(service, "void", service.voiding.void, round_.day, "")
            elif round_.state not in ENDED_STATES and now_ms >= round_.ends_ms:
                await shown(service, "settle", service.settling.settle, round_.day)
    for round_ in live:
        with isolated(round_.day):
            if round_.finished_at is None and now_ms >= round_.at.claim_closes_ms:
                await shown(service, "finish", service.finishing.finish, round_.day)


@resilient
async def count(context: dict[str, Any]) -> None:
    """Carry settled rounds into standings and incomes, oldest first."""
    service: Service = context["service"]
    for row in await service.store.all("uncounted"):
        with isolated(row["day"]):
            await shown(service, "count", service.standings.count, row["day"])


@resilient
async def compare(context: dict[str, Any]) -> None:
    """Reconcile each round when it has ended, and daily for a week: money goes on moving after its end."""
    service: Service = context["service"]
    for row in await service.store.all("unreconciled"):
        with isolated(row["day"]):
            answer = await held(service, "reconcile", row["day"])
            for report in answer.data.get("reports", ()) if answer else ():
                differences, mended = len(report["differences"]), len(report["mended"])
                log.info("reconciled", day=report["day"], differences=differences, mended=mended)


@resilient
async def carry_over(context: dict[str, Any]) -> None:
    """Bring what an earlier version has left into the shape of this one: sums into the accounts, days into months."""
    store = context["service"].store
    until = time.monotonic() + CARRY_SECONDS
    while time.monotonic() < until and (await carry_some(store) or await merge_some(store)):
        pass


@resilient
async def asked(context: dict[str, Any]) -> None:
    """Begin what operators have asked for."""
    await take_asked(context)


JOBS = (
    *(drain, compare_counts, beat, rewrite, settle, count, remind, announce, send, ask, compare, asked),
    *(sequence, witness),
)
"""Asked for every second."""

SELDOM = (trim, prepare, carry_over)
"""Asked for once a minute."""

LONG = (settle, count, compare, carry_over)
"""They may take longer than a job of arq's lives."""


async def ring(queue: ArqRedis) -> None:
    """The alarm clock: asks for every job once a second of the monotonic clock, as long as somebody does them. arq's
    own goes by the wall clock, and is silent for an hour where that is set back by one."""
    for second in count_up():
        if await queue.zcard(QUEUE) < MOST_QUEUED:
            for job in JOBS if second % 60 else (*JOBS, *SELDOM):
                await queue.enqueue_job(job.__name__)
        await asyncio.sleep(1)


async def tell(worker: Worker, service: Service) -> None:
    """Say that this host's worker does jobs, for who watches it: the heartbeat may be another's."""
    done, since = -1, time.monotonic()
    while True:
        if worker.jobs_complete != done:
            done, since = worker.jobs_complete, time.monotonic()
        if time.monotonic() - since < IDLE_SECONDS:
            with suppress(RedisError, OSError):
                await service.redis.set(keys.WORKS + socket.gethostname(), done, px=HEARTBEAT_MS)
        await asyncio.sleep(1)


async def works(service: Service) -> bool:
    """Whether a worker of this host does its jobs."""
    return bool(await service.redis.exists(keys.WORKS + socket.gethostname()))


class Queue(ArqRedis):
    """arq cancels its jobs between two commands of a pipeline."""

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Tidy:
        return Tidy(self.connection_pool, self.response_callbacks, transaction, shard_hint)


def build(service: Service, counting: Counting) -> Worker:
    """An arq worker with our jobs, in MessagePack. ``counting`` remembers which servers answered the one before."""
    encode = msgspec.msgpack.Encoder(enc_hook=repr).encode  # arq hands over exceptions, too
    queue = Queue(
        Pool.of(service.settings.arq_url),  # arq's own reader of URLs takes a password as it stands in one
        job_serializer=encode,
        job_deserializer=msgspec.msgpack.decode,
        default_queue_name=QUEUE,
    )
    jobs = {job.__name__: lasting(job) if job in LONG else job for job in (*JOBS, *SELDOM)}
    return Worker(
        functions=[func(job, name=name, keep_result=0, timeout=JOB_SECONDS) for name, job in jobs.items()],  # type: ignore[arg-type]
        redis_pool=queue,
        queue_name=QUEUE,
        ctx={"service": service, "counting": counting, "lasting": Lasting(), "said": logs.Said()},
        handle_signals=False,
        keep_result=0,
        health_check_interval=10,
        health_check_key="clock:arq:health",
        job_serializer=encode,
        job_deserializer=msgspec.msgpack.decode,
        poll_delay=0.2,
        max_jobs=12,
        job_timeout=JOB_SECONDS,
    )


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; a lost Redis ends an arq worker, so the next one is built. Whatever else goes wrong
    ends the process with status 1, and whoever supervises it starts the next."""
    logs.configure("worker")
    service = Service(settings, answer_seconds=None)
    counting = Counting(service)
    try:
        await service.start()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        log.info("worker_started")
        while not stopping.is_set():
            await _work(service, counting, stopping)
    except Exception as error:
        log.error("worker_failed", exc_info=error)
        raise SystemExit(1) from None
    finally:
        with _ended_by_the_kernel():
            await service.stop()
    log.info("worker_stopped")
    signal.alarm(STOP_SECONDS)  # the interpreter waits for a thread, which may be splitting millions


@contextmanager
def _ended_by_the_kernel() -> Iterator[None]:
    """The process dies of SIGALRM if this takes too long, as when a task waits for a server that does not answer."""
    signal.alarm(STOP_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


async def _work(service: Service, counting: Counting, stopping: asyncio.Event) -> None:
    """One arq worker's life."""
    worker: Worker | None = None
    stop = asyncio.create_task(stopping.wait())
    try:
        worker = build(service, counting)
        work = (worker.async_run(), ring(worker.pool), tell(worker, service))
        parts = [asyncio.create_task(part) for part in work]
        await asyncio.wait({*parts, stop}, return_when=asyncio.FIRST_COMPLETED)
        ended = [part for part in parts if part.done()]
        await end(parts)
        for part in ended:
            part.result()
    except (RedisError, OSError, TimeoutError) as error:
        log.error("worker_lost_redis", error=str(error))
        await asyncio.sleep(RESTART_SECONDS)
    except Exception as error:  # said before what remains of it is closed, which may take too long
        log.error("worker_failed", exc_info=error)
        raise SystemExit(1) from None
    finally:
        stop.cancel()
        if worker is not None:
            with _ended_by_the_kernel():
                await _close(worker)


async def _close(worker: Worker) -> None:
    """End its jobs ourselves: arq's ``close`` raises what a job raises that it has cancelled between two commands."""
    jobs = list(worker.tasks.values())
    await end(jobs)
    await asyncio.gather(*jobs, return_exceptions=True)
    worker.tasks.clear()
    await worker.ctx["lasting"].end()
    try:
        await worker.close()
    except (RedisError, OSError, AttributeError) as error:
        log.warning("worker_not_closed", error=str(error))
