"""The state of the whole service, seen from outside any request: for the operators' page, its alarms, Prometheus."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from time import monotonic
from typing import Any

import msgspec
import structlog
from prometheus_client.core import GaugeMetricFamily
from redis.exceptions import RedisError

from clock.audit.counts import Lag
from clock.books import outbox
from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import STEPS, UNSETTLED_STATES, Calendar, phase, previous
from clock.game import keys, totals
from clock.game.gametime import Verdict
from clock.game.totals import Totals
from clock.operators.live import add_up, traffic
from clock.operators.looks import look
from clock.payments.outgoing import STUCK_ATTEMPTS
from clock.rounds.recorded import recorded
from clock.service import Service

log = structlog.get_logger()

FRESH_SECONDS = 2.0
ANSWER_SECONDS = 2.0
"""How long Redis and Postgres are waited for, at the same time: whoever watches wants to know soon that one is away."""

OUTBOX_OLD_MS = 10_000
SETTLEMENT_LATE_MS = 120_000
FULL = 0.8
DISK_FREE = 0.1
HOST_AHEAD_MS = 20_000
"""Tokens have a minute of leeway, signatures five."""
BAD_SIGNATURES = 10
"""In five minutes: a secret was changed on one side, or somebody forges callbacks."""
SILENT_SECONDS = 60
EVENTS_OLD_SECONDS = 600

KINDS, STATES = ("payout", "refund"), ("owed", "unknown", "processing", "failed")


class Watched(msgspec.Struct, kw_only=True):
    """What was seen. Postgres' part keeps its zeros, and Redis' its, where ``postgres`` or ``redis`` is false."""

    redis: bool = False
    postgres: bool = False
    worker: bool = False
    replicas: int = 0
    replicas_wanted: int = 0
    outbox_entries: int = 0
    outbox_oldest_ms: int = 0
    differing: list[Lag] = []
    """Where Redis and the books count differently, by the worker's last comparison."""
    clocks: Verdict | None = None
    """How far the clocks are apart, by a worker's last comparison."""
    disk_failing: bool = False
    """Redis could not write its file."""
    disk_free: float | None = None
    """Part of the file system with ``CLOCK_DATA_DIR`` that is free, where there is one."""
    channels_silent: dict[str, int] = {}
    """Payment channels that do not answer the worker, and for how many seconds."""
    traffic: dict[str, Any] = msgspec.field(default_factory=lambda: add_up([]))
    """Of all API processes, by :func:`clock.operators.live.traffic`."""
    rounds: dict[str, Totals] = {}
    """``yesterday`` and ``today``."""
    days: dict[str, str] = {}
    states: dict[str, str] = {}
    settlement_late_ms: int = 0
    late_day: str = ""
    unanswered_orders: int = 0
    quarantine_waiting: int = 0
    outgoing: list[dict[str, Any]] = []
    """By kind and state, what has not arrived: ``count``, ``fen``, ``oldest_seconds``."""
    outgoing_stuck: int = 0
    reminders_due: int = 0
    events_oldest_seconds: int = 0
    """How long the oldest event waits to be taken by its receiver."""
    events_given_up: int = 0
    """In the last day."""
    differences: int = 0
    """Of the newest comparison of each round of the last week."""


class Watch:
    """Looks at most every :data:`FRESH_SECONDS`, however many ask."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turn = asyncio.Lock()
        self._seen: tuple[float, Watched] | None = None

    async def look(self) -> Watched:
        async with self._turn:
            if self._seen is None or monotonic() - self._seen[0] > FRESH_SECONDS:
                seen = await self._look()
                self._seen = (monotonic(), seen)  # not before: who waited meanwhile would look again, one by one
            return self._seen[1]

    async def live(self) -> Answer:
        """What all processes do now, what waits, and the alarms."""
        service, seen = self._service, await self.look()
        shown = msgspec.to_builtins(seen)
        shown["alarms"] = alarms(seen)
        shown["now_ms"] = service.time.now_ms() if service.time.known else None
        shown["timezone"] = service.settings.timezone
        return Answer("ok", shown)

    async def _look(self) -> Watched:
        settings = self._service.settings
        seen = Watched(replicas_wanted=int(settings.durability == "replica"))
        if settings.data_dir.is_dir():
            disk = shutil.disk_usage(settings.data_dir)
            seen.disk_free = disk.free / disk.total
        blank = msgspec.structs.asdict(Watched())
        for part in await asyncio.gather(self._part("redis", self._redis), self._part("postgres", self._postgres)):
            for name, value in msgspec.structs.asdict(part).items():
                if value != blank[name]:
                    setattr(seen, name, value)
        return seen

    async def _part(self, server: str, fill: Callable[[Watched], Awaitable[None]]) -> Watched:
        """What one server says; blank if it does not answer in time. The look fills what nobody else has: it goes on
        after its time."""

        async def filled() -> Watched:
            part = Watched()
            await fill(part)
            setattr(part, server, True)
            return part

        try:
            found: Watched = await look(self._service, f"watch_{server}", filled, ANSWER_SECONDS)
        except (RedisError, OSError, Unavailable) as error:
            log.warning(f"{server}_not_seen", error=str(error))
            return Watched()
        return found

    async def _redis(self, seen: Watched) -> None:
        service = self._service
        redis = service.redis
        seen.replicas = int((await redis.info("replication"))["connected_slaves"])
        seen.worker = bool(await redis.exists(keys.HEARTBEAT))
        today = Calendar(service.settings.timezone).day_at(service.time.now_ms())
        shown: list[tuple[keys.Day, int]] = [(keys.USERS, 1)]
        for name, day in (("yesterday", previous(today)), ("today", today)):
            round_ = await service.asking.round(day)
            shown.append((day, round_.rules.shards))
            seen.days[name] = day.isoformat()
            seen.rounds[name] = await totals.read(redis, day, round_.rules.shards)
        backlog = await outbox.backlog(redis, shown)
        seen.outbox_entries, seen.outbox_oldest_ms = backlog["entries"], backlog["oldest_ms"]
        seen.traffic = await traffic(redis)
        differing = await redis.get(keys.DIFFERING)
        seen.differing = msgspec.json.decode(differing or b"[]", type=list[Lag])
        seen.channels_silent = {name: int(await redis.get(keys.SILENT + name) or 0) for name in service.channels}
        persistence = await redis.info("persistence")
        seen.disk_failing = "err" in (persistence["aof_last_write_status"], persistence["aof_last_bgrewrite_status"])
        verdict = await redis.get(keys.CLOCKS)
        seen.clocks = msgspec.json.decode(verdict, type=Verdict) if verdict else None

    async def _postgres(self, seen: Watched) -> None:
        store, now_ms = self._service.store, self._service.time.now_ms()
        today = Calendar(self._service.settings.timezone).day_at(now_ms)
        row = await store.one("watch", stuck=STUCK_ATTEMPTS, today=today) or {}
        seen.quarantine_waiting, seen.outgoing_stuck = row["quarantine_waiting"], row["outgoing_stuck"]
        seen.differences, seen.reminders_due = row["differences"], row["reminders_due"]
        if self._service.settings.events_url:
            events = await store.one("watch_events") or {}
            seen.events_oldest_seconds, seen.events_given_up = events["oldest_seconds"], events["given_up"]
        seen.outgoing = list(await store.all("watch_outgoing"))
        for one in await store.all("watch_rounds"):
            self._round(seen, one, now_ms)

    @staticmethod
    def _round(seen: Watched, row: dict[str, Any], now_ms: int) -> None:
        round_ = recorded(row)
        day, at = round_.day, round_.at
        seen.states[day.isoformat()] = phase(round_.state, at, now_ms)
        seen.unanswered_orders += row["unanswered_orders"]
        late_ms = now_ms - at.settle_ms if round_.state in UNSETTLED_STATES else 0
        if late_ms > seen.settlement_late_ms:
            seen.settlement_late_ms, seen.late_day = late_ms, day.isoformat()


def alarms(seen: Watched) -> list[dict[str, Any]]:
    """What needs a person, the worst first: a word, the figures that belong to it, and its paragraph of the runbook."""
    failed = sum(one["count"] for one in seen.outgoing if one["state"] == "failed")
    failed_fen = sum(one["fen"] for one in seen.outgoing if one["state"] == "failed")
    free = 1.0 if seen.disk_free is None else seen.disk_free
    failing, connections, fullest = (seen.traffic[name] for name in ("failed_per_second", "connections", "fullest"))
    found: list[tuple[bool, dict[str, Any]]] = [
        (not seen.redis, {"code": "redis_away"}),
        (not seen.postgres, {"code": "postgres_away"}),
        (seen.redis and not seen.worker, {"code": "worker_away"}),
        (seen.redis and seen.replicas < seen.replicas_wanted, {"code": "replica_short", "replicas": seen.replicas}),
        (bool(seen.clocks and seen.clocks.off), {"code": "clocks_differ", "clocks": _off(seen.clocks)}),
        *(_behind(seen, part) for part in ("redis", "books")),
        (seen.differences > 0, {"code": "books_differ", "count": seen.differences}),
        (
            seen.settlement_late_ms > SETTLEMENT_LATE_MS,
            {"code": "settlement_late", "day": seen.late_day, "seconds": seen.settlement_late_ms // 1000},
        ),
        (
            seen.outbox_oldest_ms > OUTBOX_OLD_MS,
            {"code": "outbox_old", "count": seen.outbox_entries, "seconds": seen.outbox_oldest_ms // 1000},
        ),
        (seen.disk_failing, {"code": "disk_failing"}),
        (free < DISK_FREE, {"code": "disk_low", "percent": round(100 * free)}),
        *_of_hosts(seen),
        (
            seen.traffic["bad_signatures"] >= BAD_SIGNATURES,
            {"code": "bad_signatures", "count": seen.traffic["bad_signatures"]},
        ),
        *(
            (seconds > SILENT_SECONDS, {"code": "channel_silent", "channel": channel, "seconds": seconds})
            for channel, seconds in seen.channels_silent.items()
        ),
        (fullest > FULL, {"code": "connections", "count": connections, "percent": round(fullest * 100)}),
        (failing > 0, {"code": "failing", "per_second": failing}),
        (failed > 0, {"code": "money_failed", "count": failed, "fen": failed_fen}),
        (seen.outgoing_stuck > 0, {"code": "money_stuck", "count": seen.outgoing_stuck}),
        (
            seen.events_oldest_seconds > EVENTS_OLD_SECONDS,
            {"code": "events_waiting", "seconds": seen.events_oldest_seconds},
        ),
        (seen.events_given_up > 0, {"code": "events_given_up", "count": seen.events_given_up}),
        (seen.quarantine_waiting > 0, {"code": "quarantine", "count": seen.quarantine_waiting}),
        (seen.unanswered_orders > 0, {"code": "unanswered", "count": seen.unanswered_orders}),
    ]
    return [{**alarm, "runbook": f"/ops/runbook#{alarm['code']}"} for rings, alarm in found if rings]


def _of_hosts(seen: Watched) -> Iterator[tuple[bool, dict[str, Any]]]:
    """``host_clock`` for each host of API processes whose clock is off: it judges tokens and signatures by it."""
    for host, ahead_ms in seen.traffic["ahead_ms"].items():
        yield abs(ahead_ms) > HOST_AHEAD_MS, {"code": "host_clock", "host": host, "ahead_ms": ahead_ms}


def _off(verdict: Verdict | None) -> dict[str, int]:
    """By how many ms each clock that stands alone is ahead."""
    return {name: verdict.ahead_ms[name] for name in verdict.off} if verdict else {}


def _behind(seen: Watched, part: str) -> tuple[bool, dict[str, Any]]:
    """``redis_behind`` or ``books_behind``, with the first day and the most users of a step."""
    found = [one for one in seen.differing if one.behind == part]
    users: dict[str, int] = {}
    for one in found:
        users[one.step] = users.get(one.step, 0) + one.count
    day = min((one.day for one in found), default="")
    return bool(found), {"code": f"{part}_behind", "day": day, "count": max(users.values(), default=0)}


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def measured(seen: Watched) -> Iterator[GaugeMetricFamily]:
    """What was seen, for Prometheus. Every API process says the same of the whole service: take ``max``."""
    yield _gauge("clock_redis_up", "Whether Redis answers", seen.redis)
    yield _gauge("clock_postgres_up", "Whether Postgres answers", seen.postgres)
    if seen.redis:
        yield _gauge("clock_worker_up", "Whether a worker has been heard of in the last ten seconds", seen.worker)
        yield _gauge("clock_replicas", "Replicas of Redis", seen.replicas)
        yield _gauge("clock_replicas_wanted", "Replicas that an answer waits for", seen.replicas_wanted)
        yield _gauge("clock_connections", "Connections of clients to all API processes", seen.traffic["connections"])
        yield _gauge(
            "clock_connections_fullest", "Of what one process can take, the fullest has", seen.traffic["fullest"]
        )
        yield _gauge(
            "clock_bad_signatures", "Callbacks refused for their signature, 5 min", seen.traffic["bad_signatures"]
        )
        yield _gauge("clock_disk_failing", "Whether Redis could not write its file", seen.disk_failing)
        silent = GaugeMetricFamily("clock_channel_silent_seconds", "Since when it has not answered", labels=["channel"])
        for channel, seconds in seen.channels_silent.items():
            silent.add_metric([channel], seconds)
        host = GaugeMetricFamily("clock_host_ahead_seconds", "How far an API host's clock is ahead", labels=["host"])
        for name, ms in seen.traffic["ahead_ms"].items():
            host.add_metric([name], ms / 1000)
        yield from (silent, host)
        yield _gauge("clock_outbox_entries", "Entries that are not in Postgres yet", seen.outbox_entries)
        yield _gauge("clock_outbox_oldest_seconds", "How long the oldest of them waits", seen.outbox_oldest_ms / 1000)
        for part in ("redis", "books"):
            users = _behind(seen, part)[1]["count"]
            yield _gauge(f"clock_{part}_behind", f"Users of a step that {part} miss", users)
        if seen.clocks:
            ahead = GaugeMetricFamily(
                "clock_ahead_seconds", "How far a clock is ahead of the middle one", labels=["of"]
            )
            for name, ms in seen.clocks.ahead_ms.items():
                ahead.add_metric([name], ms / 1000)
            yield ahead
            yield _gauge(
                "clock_clocks_off", "Clocks that stand alone: what cannot be taken back waits", len(seen.clocks.off)
            )
        yield from _of_rounds(seen)
    if seen.disk_free is not None:
        yield _gauge("clock_disk_free", "Part of the data directory's file system that is free", seen.disk_free)
    if seen.postgres:
        late_s = seen.settlement_late_ms / 1000
        yield _gauge("clock_settlement_late_seconds", "Since when the oldest due settlement waits", late_s)
        yield _gauge("clock_quarantine_waiting", "Quarantined callbacks without a decision", seen.quarantine_waiting)
        yield _gauge("clock_outgoing_stuck", "Payouts and refunds that were tried for hours", seen.outgoing_stuck)
        yield _gauge("clock_reminders_due", "Reminders that wait to be sent", seen.reminders_due)
        oldest_s = seen.events_oldest_seconds
        yield _gauge("clock_events_oldest_seconds", "How long the oldest event waits for its receiver", oldest_s)
        yield _gauge("clock_events_given_up", "Events given up in the last day", seen.events_given_up)
        yield _gauge("clock_unanswered_orders", "Orders settled without an answer", seen.unanswered_orders)
        yield _gauge("clock_reconcile_differences", "In the newest comparisons of a week", seen.differences)
        yield from _of_outgoing(seen)


def _of_rounds(seen: Watched) -> Iterator[GaugeMetricFamily]:
    users = GaugeMetricFamily("clock_round_users", "Users who took a step of a round", labels=["round", "step"])
    pool = GaugeMetricFamily("clock_round_pool_fen", "Stakes of a round's members", labels=["round"])
    packets = GaugeMetricFamily("clock_round_packets_published", "Packets that can be claimed", labels=["round"])
    for name, sums in seen.rounds.items():
        for step in STEPS:
            users.add_metric([name, step.name], getattr(sums, step.counter))
        pool.add_metric([name], sums.pool_fen)
        packets.add_metric([name], sums.published)
    yield from (users, pool, packets)


def _of_outgoing(seen: Watched) -> Iterator[GaugeMetricFamily]:
    names = ["kind", "state"]
    count = GaugeMetricFamily("clock_outgoing", "Payouts and refunds that have not arrived", labels=names)
    fen = GaugeMetricFamily("clock_outgoing_fen", "Their sum", labels=names)
    oldest = GaugeMetricFamily(
        "clock_outgoing_oldest_seconds", "How long ago the oldest of them was owed", labels=names
    )
    found = {(one["kind"], one["state"]): one for one in seen.outgoing}
    for kind in KINDS:
        for state in STATES:
            one = found.get((kind, state), {"count": 0, "fen": 0, "oldest_seconds": 0})
            count.add_metric([kind, state], one["count"])
            fen.add_metric([kind, state], one["fen"])
            oldest.add_metric([kind, state], max(0, one["oldest_seconds"]))
    yield from (count, fen, oldest)
