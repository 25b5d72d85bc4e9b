"""Reminders: a durable queue in Postgres, sent as ``reminder.due`` to ``CLOCK_REMINDER_URL``, signed.

Members who have not checked in at ``CLOCK_REMIND_AT``, according to Postgres, are queued, once a round. Right before a
batch is sent, Redis says who still has not checked in, and whether check-in is open. A retry has the same
``webhook-id`` (Standard Webhooks).
"""

import asyncio
import random
from datetime import date
from typing import Any

import aiohttp
import msgspec
import structlog

from clock.books.store import Store, rows
from clock.channels.webhooks import Signatures, rfc3339
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.domain.records import ASLEEP_STATES
from clock.domain.rounds import Calendar, Rules, following, instant_ms, previous
from clock.game import keys
from clock.game.client.calls import call
from clock.game.client.commands import Commands
from clock.game.gametime import GameTime
from clock.game.scripts import load
from clock.names import Names
from clock.rounds.recorded import Recorded, find

NAMES = Names(2)

log = structlog.get_logger()

STATUS = load("status")

AT_ONCE = 50
LEASE_SECONDS = 25
TIMEOUT_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 60.0


class Reminders:
    """Not used if ``CLOCK_REMINDER_URL`` is empty."""

    def __init__(self, settings: Settings, store: Store, redis: Commands, time: GameTime) -> None:
        self._url = settings.reminder_url
        self._remind_at = settings.remind_at
        self._calendar = Calendar(settings.timezone)
        self._secrets = settings.webhook_secret
        self._store = store
        self._redis = redis
        self._time = time
        self._session: aiohttp.ClientSession | None = None

    async def send_some(self) -> int:
        """Queue this morning's reminders when they are due, and send a batch; returns the size of the batch."""
        day = previous(self._calendar.day_at(self._time.now_ms()))
        await self._store.all("expire_reminders", day=day)
        round_ = await find(self._store, day)
        if round_ is None:
            return 0
        if self._time.now_ms() < instant_ms(following(day), self._remind_at, round_.rules.timezone):
            return 0
        if round_.reminded_at is None and self._time.now_ms() < round_.at.check_in_closes_ms:
            await self._queue(day)
        due = await self._take(day)
        if due:
            await self._send_batch(round_, due)
        return len(due)

    async def _take(self, day: date) -> list[dict[str, Any]]:
        """Lease reminders that are due to this process."""
        async with self._store.transaction() as connection:
            due = await rows(connection, "lock_due_reminders", day=day, limit=AT_ONCE)
            uids = [row["uid"] for row in due]
            lease = {"day": day, "uids": uids, "lease_seconds": LEASE_SECONDS}
            return await rows(connection, "take_reminders", **lease) if due else []

    async def _queue(self, day: date) -> None:
        """Queue the reminders and mark the round as queued, in one transaction."""
        async with self._store.transaction() as connection:
            if await rows(connection, "mark_reminded", day=day):
                await rows(connection, "queue_reminders", day=day)

    async def _send_batch(self, round_: Recorded, due: list[dict[str, Any]]) -> None:
        day, closes_ms = round_.day, round_.at.check_in_closes_ms
        now_ms, asleep = await self._asleep(day, round_.rules, [row["uid"] for row in due])
        if now_ms >= closes_ms:
            await self._end(day, "expired", [row["uid"] for row in due])
            return
        await self._end(day, "awake", [row["uid"] for row in due if row["uid"] not in asleep])
        sleepers = [row for row in due if row["uid"] in asleep]
        taken = await asyncio.gather(*(self._send(row, closes_ms) for row in sleepers))
        await self._end(day, "sent", [row["uid"] for row, ok in zip(sleepers, taken, strict=True) if ok])
        for row, ok in zip(sleepers, taken, strict=True):
            if not ok:
                seconds = min(LONGEST_DELAY_SECONDS, 2.0 ** min(row["attempts"], 10)) * random.uniform(0.5, 1)  # noqa: S311 - spreads retries
                await self._store.all("delay_reminder", day=day, uid=row["uid"], seconds=seconds)

    async def _asleep(self, day: date, rules: Rules, uids: list[int]) -> tuple[int, set[int]]:
        """The scripts' time, and which of the uids are members who have not checked in."""
        now_ms, asleep = 0, set()
        for shard in {keys.shard_of(uid, rules.shards) for uid in uids}:
            own = [uid for uid in uids if keys.shard_of(uid, rules.shards) == shard]
            names = keys.names(day, shard, STATUS.nouns)
            at_ms, *states = await call(self._redis, STATUS, names, [self._time.setting, *own])
            if b"no_round" in states:
                raise Unavailable(f"round {day} is not in Redis")
            now_ms = max(now_ms, at_ms)
            asleep |= {uid for uid, state in zip(own, states, strict=True) if state[0] in ASLEEP_STATES}
        return now_ms, asleep

    async def _end(self, day: date, state: str, uids: list[int]) -> None:
        if uids:
            await self._store.all("end_reminders", day=day, state=state, uids=uids)

    async def _send(self, row: dict[str, Any], closes_ms: int) -> bool:
        """Whether the receiver accepted it: any 2xx."""
        raw = msgspec.json.encode(
            {
                "type": "reminder.due",
                "timestamp": rfc3339(self._time.now_ms()),
                "data": {
                    "uid": row["uid"],
                    "openId": row["open_id"],
                    "round": row["day"].isoformat(),
                    "check_in_closes": rfc3339(closes_ms),
                },
            }
        )
        headers = Signatures(self._secrets).sign(raw, f"reminder_{row['day']:%Y%m%d}_{row['uid']}")
        try:
            async with self._connected().post(self._url, data=raw, headers=headers, allow_redirects=False) as reply:
                taken = 200 <= reply.status < 300
                reason = f"HTTP {reply.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            taken, reason = False, type(error).__name__
        if not taken:
            log.warning("reminder_not_taken", day=str(row["day"]), attempts=row["attempts"], reason=reason)
        return taken

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=NAMES), timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
