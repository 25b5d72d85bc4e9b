"""The demo's players over HTTP: one client for all, and crowds that run one phase with a progress bar."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, date, datetime
from time import monotonic
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from yarl import URL

from clock import descriptors
from clock.dev.demo_books import Player
from clock.domain.outcomes import RETRY_AFTER_SECONDS
from clock.http.wire import Envelope

CONNECTIONS = 256
"""An upper bound; the limit of descriptors may lower it."""
TRIES = 6
REQUEST_SECONDS = 20.0
PHASE_SECONDS = 120.0
WORKER_SECONDS = 60.0
RECONCILE_TRIES = 30
"""A worker compares; asking again waits ten seconds more for the same."""

Act = Callable[[Player], Awaitable[None]]
Look = Callable[[], Awaitable[tuple[int, int]]]
"""Progress: how much is done, and the total."""


class DemoError(Exception):
    """The round cannot be played to its end; the message says why."""


def session() -> aiohttp.ClientSession:
    """One session for all players. Idle connections do not count towards the limit, hence half of the descriptors."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=min(CONNECTIONS, descriptors.left() // 2), keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
        skip_auto_headers=("user-agent", "accept-encoding"),
        headers={"content-type": "application/json"},
    )


class Client:
    """Requests to the service. Retries a temporary refusal (429, 503) and a lost connection."""

    def __init__(self, session: aiohttp.ClientSession, page: str) -> None:
        self._session = session
        self._page = page.rstrip("/")
        self._urls: dict[str, URL] = {}
        self._decode = msgspec.json.Decoder(Envelope).decode
        self.operator_headers: dict[str, str] = {}
        self.sent = self.repeated = 0

    async def send(
        self, method: str, path: str, raw: bytes | None, headers: dict[str, str], expected: Collection[str]
    ) -> Envelope:
        """The reply, whose code is one of ``expected``. Raises :class:`DemoError`."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(path if path.startswith("http") else self._page + path)
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                self.repeated += 1
                await asyncio.sleep(0.25 * attempt)
            self.sent += 1
            try:
                async with self._session.request(method, url, data=raw, headers=headers) as reply:
                    envelope = self._decode(await reply.read())
            except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
                problem = f"{type(error).__name__} {error}"
                continue
            if envelope.code in expected:
                return envelope
            if envelope.code not in RETRY_AFTER_SECONDS:
                raise DemoError(f"{method} {path} was answered {envelope.code}: {envelope.message}")
            problem = envelope.code
        raise DemoError(f"{method} {path} failed {TRIES} times, the last time with {problem}")

    async def post(self, path: str, player: Player, expected: Collection[str], **body: Any) -> Envelope:
        """A player's verb with the player's token."""
        raw = msgspec.json.encode({"uid": player.uid, **body})
        return await self.send("POST", path, raw, {"authorization": player.authorization}, expected)

    async def token(self, uid: int, role: str) -> str:
        raw = msgspec.json.encode({"uid": uid, "role": role})
        return "Bearer " + str((await self.send("POST", "/dev/token", raw, {}, ("ok",))).data["token"])

    async def figures(self, day: date) -> dict[str, Any] | None:
        """The operator's view of a round, ``None`` if there is none."""
        path = f"/ops/rounds/{day}"
        reply = await self.send("GET", path, None, self.operator_headers, ("ok", "round_not_found"))
        return reply.data if reply.status else None

    async def reconcile(self, day: date) -> list[str]:
        """The differences that the service's own reconciliation finds."""
        path, expected = f"/ops/reconcile/{day}", ("books_agree", "books_differ", "working")
        for _ in range(RECONCILE_TRIES):
            compared = await self.send("POST", path, None, self.operator_headers, expected)
            if compared.code != "working":
                break
        else:
            raise DemoError(f"the books of {day} are still being compared")
        return [
            f"{one['what']} {one['subject']}: {one['one']}, {one['other']}"
            for report in compared.data["reports"]
            for one in report["differences"]
        ]

    async def move_time(self, at_ms: int | None) -> None:
        """Move the game's clock to an instant, or back to the real time."""
        if at_ms is None:
            await self.send("DELETE", "/dev/time", None, {}, ("ok",))
            return
        now = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
        await self.send("PUT", "/dev/time", msgspec.json.encode({"now": now}), {}, ("ok",))


class Crowd:
    """Plays phases: many players doing one thing, with a progress bar, over a bounded number of connections."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    async def all(self, title: str, players: Sequence[Player], act: Act, starts_s: Sequence[float] = ()) -> None:
        """Every player acts once. ``starts_s``: planned instants from now; the wait is counted from the plan."""
        bar = self._progress.add_task(title, total=len(players), note="")
        waits: list[float] = []
        queue = iter(zip(players, starts_s or [-1.0] * len(players), strict=True))
        began = monotonic()

        async def visitor() -> None:
            for player, start_s in queue:
                due = monotonic() if start_s < 0 else began + start_s
                if (early := due - monotonic()) > 0:
                    await asyncio.sleep(early)
                await act(player)
                waits.append(monotonic() - due)
                self._progress.advance(bar)

        visitors = [asyncio.create_task(visitor()) for _ in range(min(CONNECTIONS, len(players)))]
        try:
            async with asyncio.timeout(PHASE_SECONDS):
                await asyncio.gather(*visitors)
        except TimeoutError:
            raise DemoError(f"{title!r}: {len(waits)} of {len(players)} after {PHASE_SECONDS:.0f} s") from None
        finally:
            for task in visitors:
                task.cancel()
        if waits:
            waits.sort()
            rate, p99 = len(waits) / (monotonic() - began), waits[len(waits) * 99 // 100]
            self._progress.update(bar, note=f"{rate:6,.0f}/s  p99 {p99 * 1000:5,.0f} ms")

    async def until(self, title: str, look: Look, patience_s: float = math.inf) -> None:
        """Wait for the worker, at most ``patience_s``."""
        bar = self._progress.add_task(title, total=None, note="")
        began = monotonic()
        while True:
            done, total = await look()
            self._progress.update(bar, completed=done, total=total)
            waited = monotonic() - began
            if done == total or waited > patience_s:
                break
            if waited > WORKER_SECONDS:
                raise DemoError(f"{title!r}: {done:,} of {total:,} after {WORKER_SECONDS:.0f} s")
            await asyncio.sleep(0.25)
        self._progress.update(bar, note=f"after {waited:.1f} s")


def progress_bars(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=console, refresh_per_second=4)
