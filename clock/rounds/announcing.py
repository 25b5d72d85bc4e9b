"""Events, sent to ``CLOCK_EVENTS_URL``: signed, at least once, those of a round in order (docs/events.md).

Of each round only the oldest unsent event is sent; the next one once it was taken, or given up. Rounds wait for each
other in nothing. A lease keeps an event from being sent by two processes at the same time; no transaction is open
while it is sent.
"""

import asyncio
import random
from datetime import date
from time import monotonic
from typing import Any

import aiohttp
import msgspec
import structlog

from clock.books.store import Store, rows
from clock.channels.webhooks import Signatures, rfc3339
from clock.config import Settings
from clock.names import Names

NAMES = Names(2)

log = structlog.get_logger()

ROUNDS_AT_ONCE = 16
LEASE_SECONDS = 25
TIMEOUT_SECONDS = 10.0
FIRST_DELAY_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 3600.0
PAUSE_SECONDS = 0.2
GIVE_UP_DAYS = 3
KEEP_DAYS = 30
FORGET_AT_ONCE = 5_000


class Announcing:
    """Not used if ``CLOCK_EVENTS_URL`` is empty."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._url = settings.events_url
        self._secrets = settings.webhook_secret
        self._store = store
        self._session: aiohttp.ClientSession | None = None

    async def send_due(self, until: float) -> None:
        """Send what is due, and becomes due, until then, in monotonic seconds. Ends earlier where nothing is due.
        Raises :class:`~clock.domain.outcomes.Unavailable`."""
        busy: dict[date, asyncio.Task[None]] = {}
        try:
            while monotonic() < until:
                for row in await self._store.all("due_rounds", limit=ROUNDS_AT_ONCE):
                    if row["day"] not in busy and len(busy) < ROUNDS_AT_ONCE:
                        busy[row["day"]] = asyncio.create_task(self._send_round(row["day"], until))
                if not busy:
                    return
                await asyncio.wait(busy.values(), timeout=PAUSE_SECONDS)
                for day in [day for day, task in busy.items() if task.done()]:
                    busy.pop(day).result()
            await asyncio.gather(*busy.values())
        finally:
            for task in busy.values():
                task.cancel()

    async def forget_old(self) -> None:
        """Delete what is older than :data:`KEEP_DAYS`, a bounded number of events at a time."""
        await self._store.all("forget_events", days=KEEP_DAYS, limit=FORGET_AT_ONCE)

    async def _send_round(self, day: date, until: float) -> None:
        """Send the events of one round, one after another, until one is not taken."""
        while monotonic() < until and (event := await self._take(day)):
            if reason := await self._refused(day, event):
                await self._delay(event, reason)
            else:
                await self._store.all("mark_sent", id=event["id"])

    async def _take(self, day: date) -> dict[str, Any] | None:
        """Lease the oldest unsent event of a round; None if there is none, another process has it, or it waits."""
        async with self._store.transaction() as connection:
            for oldest in await rows(connection, "first_unsent", day=day):
                for event in await rows(connection, "take_event", id=oldest["id"], lease_seconds=LEASE_SECONDS):
                    return event
        return None

    async def _refused(self, day: date, event: dict[str, Any]) -> str:
        """Why the receiver did not take it; empty if it did: any 2xx. What it says is not read."""
        body = {"type": event["type"], "timestamp": rfc3339(event["at_ms"]), "data": event["data"]}
        raw = msgspec.json.encode(body)
        headers = Signatures(self._secrets).sign(raw, event["id"])
        try:
            async with self._connected().post(self._url, data=raw, headers=headers, allow_redirects=False) as reply:
                reason = "" if 200 <= reply.status < 300 else f"HTTP {reply.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = type(error).__name__
        if reason:
            log.warning("event_not_taken", day=str(day), id=event["id"], attempts=event["attempts"], reason=reason)
        return reason

    async def _delay(self, event: dict[str, Any], reason: str) -> None:
        when = {"seconds": delay_seconds(event["attempts"]), "days": GIVE_UP_DAYS}
        for row in await self._store.all("delay_event", id=event["id"], reason=reason, **when):
            if row["state"] == "given_up":
                log.error("event_given_up", id=event["id"], type=event["type"], reason=reason)

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


def delay_seconds(attempts: int) -> float:
    """Doubles with each attempt, up to an hour; jitter of half the delay."""
    delay: float = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempts - 1, 20))
    return delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, decides nothing
