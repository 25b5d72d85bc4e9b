"""Looks at the whole service: for the operators' page, its alarms, Prometheus."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import msgspec
import structlog
from redis.exceptions import RedisError

from clock.audit.counts import Lag
from clock.books import outbox
from clock.books.partitions import PARTITIONED
from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import UNSETTLED_STATES, Calendar, phase, previous
from clock.game import keys, totals
from clock.game.gametime import Verdict
from clock.operators.live import traffic
from clock.operators.looks import look
from clock.operators.records.due import due_months
from clock.operators.watch.alarms import alarms
from clock.operators.watch.room import AHEAD_DAYS, Stock, Used, fullest, of_postgres, of_redis, of_stock
from clock.operators.watch.seen import Watched
from clock.payments.outgoing import STUCK_ATTEMPTS
from clock.rounds.recorded import recorded
from clock.service import Service

log = structlog.get_logger()

FRESH_SECONDS = 2.0
ANSWER_SECONDS = 2.0
"""How long Redis and Postgres are waited for, at the same time: whoever watches wants to know soon that one is away."""

STOCK_SECONDS = 60.0
"""What changes over days is looked at so often: Postgres asks the file system for the size of each file."""

DEAD_ROWS = 1_000_000


class Watch:
    """Looks at most every :data:`FRESH_SECONDS`, however many ask."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turn = asyncio.Lock()
        self._seen: tuple[float, Watched] | None = None
        self._stock: tuple[float, Stock] | None = None

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
        parts = self._part("redis", self._redis), self._part("postgres", self._postgres)
        stock, *found = await asyncio.gather(self._kept_stock(), *parts)
        room: dict[str, Used] = {}
        for part in found:
            room |= part.room
            for name, value in msgspec.structs.asdict(part).items():
                if value != blank[name]:
                    setattr(seen, name, value)
        seen.room = room
        if stock and seen.postgres:
            room |= of_stock(stock, settings.postgres_disk_gib)
            seen.dead_rows, seen.dead_rows_table = stock.dead_rows, stock.dead_rows_table
            seen.days_without, seen.first_without = stock.days_without, stock.first_without
            seen.months_due = stock.months_due
        return seen

    async def _kept_stock(self) -> Stock | None:
        """The last that was found, while it is fresh or nothing newer can be had."""

        async def found() -> Stock:
            store, time = self._service.store, self._service.time
            row = await store.one("watch_stock", dead_rows=DEAD_ROWS) or {}
            today = Calendar(self._service.settings.timezone).day_at(time.now_ms())
            days = [today + timedelta(days) for days in range(AHEAD_DAYS + 1)]
            without = await store.one("watch_partitions", tables=list(PARTITIONED), days=days) or {}
            due = await due_months(store, self._service.settings)
            return Stock(**row, days_without=without["count"], first_without=without["day"] or "", months_due=due)

        if self._stock is None or monotonic() - self._stock[0] > STOCK_SECONDS:
            try:
                stock = await look(self._service, "watch_stock", found, ANSWER_SECONDS)
                self._stock = (monotonic(), stock)
            except (OSError, Unavailable) as error:
                log.warning("stock_not_seen", error=str(error))
        return self._stock[1] if self._stock else None

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
        nodes = await redis.nodes()
        seen.replicas = min([int((await node.info("replication"))["connected_slaves"]) for node in nodes])
        seen.worker = bool(await redis.exists(keys.HEARTBEAT))
        today = Calendar(service.settings.timezone).day_at(service.time.now_ms())
        shown: list[tuple[keys.Day, int]] = [(keys.USERS, keys.USER_SHARDS)]
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
        rooms = []
        for node in nodes:
            persistence = await node.info("persistence")
            seen.disk_failing |= "err" in (
                persistence["aof_last_write_status"],
                persistence["aof_last_bgrewrite_status"],
            )
            memory, clients = await node.info("memory"), await node.info("clients")
            rooms.append(of_redis(persistence, memory, clients, service.settings.redis_disk_gib))
        seen.room = fullest(rooms)
        verdict = await redis.get(keys.CLOCKS)
        seen.clocks = msgspec.json.decode(verdict, type=Verdict) if verdict else None

    async def _postgres(self, seen: Watched) -> None:
        store, now_ms = self._service.store, self._service.time.now_ms()
        today = Calendar(self._service.settings.timezone).day_at(now_ms)
        row = await store.one("watch", stuck=STUCK_ATTEMPTS, today=today) or {}
        seen.quarantine_waiting, seen.outgoing_stuck = row["quarantine_waiting"], row["outgoing_stuck"]
        seen.promises, seen.promises_day = row["promises"], row["promises_day"]
        seen.differences, seen.reminders_due = row["differences"], row["reminders_due"]
        if self._service.settings.events_url:
            events = await store.one("watch_events") or {}
            seen.events_oldest_seconds, seen.events_given_up = events["oldest_seconds"], events["given_up"]
        seen.log_waiting_seconds = (await store.one("watch_log") or {})["waiting_seconds"]
        if keys_of_witnesses := self._service.witnessing.keys:
            found = await store.all("watch_witnesses", witnesses=keys_of_witnesses)
            seen.witnesses = [{**row, "witness": row["witness"].partition("+")[0]} for row in found]
        seen.room = of_postgres(await store.one("watch_room") or {})
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
        waits = round_.state == "sealed" and round_.draw_ms is not None and round_.draw is None
        awaited_ms = now_ms - (round_.draw_ms or 0) if waits else 0
        if awaited_ms > seen.draw_awaited_ms:
            seen.draw_awaited_ms, seen.awaited_day = awaited_ms, day.isoformat()
        if round_.is_equal and round_.winners:  # or nothing is split, as where it was opened too late to be joined
            seen.draws_failed += 1
            seen.failed_day = seen.failed_day or day.isoformat()
