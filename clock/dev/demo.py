"""``clock demo``: one whole day of the game with simulated users over real HTTP, and an audit of its books.

The players keep a journal of every acknowledged answer. At the end it is compared with Postgres and Redis
(:mod:`clock.dev.demo_books`). Every wait has a timeout, which ends the demo with a message.
"""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic
from zoneinfo import ZoneInfo

import aiohttp
import msgspec
import structlog
from rich.console import Console

from clock.config import Settings
from clock.dev import demo_books, demo_client
from clock.dev.demo_books import Player
from clock.dev.demo_client import Act, Client, Crowd, DemoError, Look
from clock.dev.demo_till import Till
from clock.domain.rounds import WAIT_CAP_MS, Calendar, Rules, Windows, windows
from clock.game.client.calls import connect
from clock.runtime import embedded
from clock.runtime.crew import StartError
from clock.runtime.directory import DataDirError, with_dev_secrets
from clock.runtime.ports import free_port
from clock.runtime.processes import EmbeddedError
from clock.runtime.supervise import Urls, running

PROVIDER_SECONDS = 45.0
FIRST_UID = 1_000_001
OPERATOR_UID = 1
DEFAULT_DATA_DIR = Settings().data_dir

HERD_MEAN_SECONDS = 0.8
"""Arrivals of a herd decay exponentially: two thirds within this time, the last within four times it."""

SERVICE_AGREES = "the service finds the same: Redis, books, ledger, manifest, the provider's bill"


def cast(users: int) -> list[Player]:
    """The players, in a pattern of a hundred that repeats. One in five oversleeps."""
    players = []
    for number in range(users):
        part = number % 100
        player = Player(uid=FIRST_UID + number, sleeps=20 <= part < 40, forgets=50 <= part < 58)
        if 40 <= part < 50:
            player.taps = 2
        elif 80 <= part < 85:
            player.pays = "repeated"
        elif 85 <= part < 87:
            player.pays = "dev"
        elif part == 90:
            player.pays = "twice"
        elif 91 <= part < 94:
            player.pays = "never"
        elif part == 94:
            player.pays = "after_midnight"
        elif 95 <= part < 97:
            player.pays, player.sleeps = "in_the_morning", part == 96
        players.append(player)
    return players


class Day:
    """One round, from joining to the last credit."""

    def __init__(self, client: Client, crowd: Crowd, players: list[Player], urls: Urls, settings: Settings) -> None:
        self.client = client
        self.crowd = crowd
        self.urls = urls
        self.till = Till(client, urls)
        self.players = players
        self.zone = ZoneInfo(settings.timezone)
        self.day: date
        self.rules: Rules
        self.at: Windows
        self.seed_hash = ""
        self.has_beacon = False
        self._random = random.Random(len(players))  # noqa: S311 - a plan of arrivals, the same each time
        self._random.shuffle(players)

    async def play(self) -> None:
        await self.open()
        await self.evening()
        await self.morning()
        await self.settlement()
        await self.next_midnight()

    async def open(self) -> None:
        """Choose a round without members, at a time when the previous round cannot interfere."""
        client = self.client
        client.operator_headers = {"authorization": await client.token(OPERATOR_UID, "operator")}
        await client.move_time(None)
        self.day = Calendar(self.zone.key).day_at(round(datetime.now(UTC).timestamp() * 1000))
        for _ in range(400):
            self.day += timedelta(days=1)
            figures = await client.figures(self.day)
            if figures is None or (figures["state"] in ("planned", "joining") and not figures["members"]):
                break
        else:
            raise DemoError("every round of the next 400 days is taken")
        noon = datetime(self.day.year, self.day.month, self.day.day, 12, tzinfo=self.zone)
        await client.move_time(round(noon.timestamp() * 1000))
        figures = await client.figures(self.day)
        if figures is None:
            raise DemoError(f"the round of {self.day} does not open")
        self.seed_hash, self.has_beacon = figures["seed_hash"], figures["draw_ms"] is not None
        self.rules = msgspec.convert(figures["rules"], Rules)
        self.at = windows(self.day, self.rules)

    async def evening(self) -> None:
        """Tokens, the home page, orders, payments."""
        paying = [p for p in self.players if p.pays in ("once", "repeated", "twice", "dev")]
        await self.crowd.all("tokens", self.players, self._sign_in)
        await self.client.move_time(self.at.join_closes_ms - 3_600_000)
        await self.crowd.all("home page", self.players, self._look)
        await self.crowd.all("join", self.players, self._join)
        if self.till.is_foreign:
            await self.crowd.all("orders at the provider", self.players, self.till.order)
        await self.crowd.all("payments", paying, self._pay)
        await self.crowd.all("callbacks repeated", [p for p in paying if p.pays == "repeated"], self._call_back_again)
        await self.crowd.all("paid twice", [p for p in paying if p.pays == "twice"], self._pay_twice)

    async def morning(self) -> None:
        """Late payments, early birds, the herd at the opening, oversleepers."""
        awake = [p for p in self.players if p.is_member and not p.sleeps]
        await self.client.move_time(self.at.check_in_opens_ms - 60_000)
        strays = [p for p in self.players if p.pays == "after_midnight"]
        await self.crowd.all("paid after joining closed", strays, self._pay)
        await self.crowd.all("check-in, too early", awake[::50], self._tap_in_vain("too_early"))
        await self.client.move_time(self.at.check_in_opens_ms)
        taps = self._herd([p for p in awake for _ in range(p.taps)])
        await self.crowd.all("check-in herd", taps, self._check_in, self._plan(len(taps)))
        late = [p for p in self.players if p.is_late]
        await self.crowd.all("callbacks in the morning", late, self._pay)
        await self.crowd.all("late check-ins", [p for p in late if not p.sleeps], self._check_in)
        await self.crowd.all("home page", self.players, self._look)
        await self.client.move_time(self.at.check_in_closes_ms + 1)
        await self.crowd.all(
            "check-in, overslept", [p for p in self.players if p.sleeps], self._tap_in_vain("too_late")
        )

    async def settlement(self) -> None:
        """The worker settles, then the players who claim do so at once."""
        winners = [p for p in self.players if p.is_winner and not p.forgets]
        await self.crowd.all("claims, too soon", winners[::50], self._claim_in_vain)
        if self.has_beacon:
            await self.client.move_time(self.at.check_in_closes_ms + WAIT_CAP_MS)
            await self.crowd.until("closed before the beacon's draw", self._has_state("sealed", "step"))
        await self.client.move_time(self.at.settle_ms)
        await self.crowd.until("settled by the worker", self._has_state("settled"))
        claims = self._herd([p for p in winners for _ in range(p.taps)])
        await self.crowd.all("claims herd", claims, self._claim, self._plan(len(claims)))

    async def next_midnight(self) -> None:
        """The system credits unclaimed packets."""
        await self.client.move_time(self.at.claim_closes_ms)
        await self.crowd.until("forgotten ones credited", self._has_state("finished"))
        await self.crowd.until("payouts and refunds", self._money_sent, PROVIDER_SECONDS)
        if self.till.pulls:
            winners = [p for p in self.players if p.is_winner]
            await self.crowd.all("withdrawals", winners, self.till.withdraw)
            await self.crowd.until("withdrawals paid", self._withdrawn, PROVIDER_SECONDS)

    async def _withdrawn(self) -> tuple[int, int]:
        return await demo_books.count_withdrawn(self.urls["database_url"], self.day)

    async def _money_sent(self) -> tuple[int, int]:
        return await demo_books.count_sent(self.urls["database_url"], self.day)

    def _herd(self, players: list[Player]) -> list[Player]:
        self._random.shuffle(players)
        return players

    def _plan(self, count: int) -> list[float]:
        draw = self._random.expovariate
        return sorted(draw(1 / HERD_MEAN_SECONDS) % (4 * HERD_MEAN_SECONDS) for _ in range(count))

    def _has_state(self, state: str, name: str = "state") -> Look:
        async def asked() -> tuple[int, int]:
            figures = await self.client.figures(self.day)
            return int(figures is not None and figures[name] == state), 1

        return asked

    # -- what one player does

    async def _sign_in(self, player: Player) -> None:
        player.authorization = await self.client.token(player.uid, "user")

    async def _look(self, player: Player) -> None:
        await self.client.post("/api/summary", player, ("ok",))

    async def _join(self, player: Player) -> None:
        uid = player.uid
        extra = {"mobile": f"138{uid % 10**8:08}", "nickname": f"player {uid}", "openId": f"open-{uid}"}
        reply = await self.client.post("/api/join", player, ("ordered", "order_pending"), extra=extra)
        player.order_no = reply.data["order_no"]

    async def _pay(self, player: Player) -> None:
        """Pay at the provider, which sends its signed callback."""
        strays = player.pays == "after_midnight"
        if player.pays == "dev":
            raw = msgspec.json.encode({"order_no": player.order_no})
            await self.client.send("POST", "/dev/pay", raw, {}, ("paid", "already_paid"))
        else:
            at_ms = self.at.join_closes_ms + (60_000 if strays else -60_000)
            expected = ("refund_due",) if strays else ("paid", "already_paid")
            await self.till.pay(player, self.rules.stake_fen, at_ms, expected)
        player.is_member = not strays
        player.refunds += strays

    async def _pay_twice(self, player: Player) -> None:
        at_ms = self.at.join_closes_ms - 60_000
        await self.till.pay(player, self.rules.stake_fen, at_ms, ("refund_due",), again=True)
        player.refunds += 1

    async def _call_back_again(self, player: Player) -> None:
        """The provider repeats its callback, with a new signature."""
        at_ms = self.at.join_closes_ms - 60_000
        await self.till.pay(player, self.rules.stake_fen, at_ms, ("already_paid",))

    async def _check_in(self, player: Player) -> None:
        reply = await self.client.post("/api/check-in", player, ("checked_in", "already_checked_in"))
        player.firsts += reply.code == "checked_in"
        player.is_winner = True

    def _tap_in_vain(self, word: str) -> Act:
        async def tap(player: Player) -> None:
            await self.client.post("/api/check-in", player, (word,))

        return tap

    async def _claim(self, player: Player) -> None:
        reply = await self.client.post("/api/claim", player, ("claimed", "already_claimed"))
        packet_fen = reply.data["assign"]["money"]
        if player.packet_fen not in (None, packet_fen):
            raise DemoError(f"user {player.uid} was given {player.packet_fen} fen, then {packet_fen}")
        player.packet_fen = packet_fen

    async def _claim_in_vain(self, player: Player) -> None:
        await self.client.post("/api/claim", player, ("not_settled",))


async def play(given: Settings, users: int) -> int:
    """Play a round in a stack of its own; 0 if its books agree, 1 if not or if it could not be played.

    Servers or a data directory that the settings name are used as they are, in development only: the demo moves
    their clock, and its worker settles whatever is due by then. Everything else is temporary.
    """
    console = Console(width=None if sys.stdout.isatty() else 110)
    with _quiet_logs(), _data_dir(given) as data_dir:
        settings = msgspec.structs.replace(
            given, env="dev", port=0, data_dir=data_dir, platform_url="", sandbox_port=free_port(), public_url=""
        )
        try:
            _require_playground(given, users)
            console.print(f"Starting the stack for {users:,} players …")
            async with running(settings, quiet=True) as urls:
                return await _played(with_dev_secrets(settings), urls, users, console)
        except (DemoError, StartError, EmbeddedError, DataDirError, aiohttp.ClientError, TimeoutError) as error:
            console.print(f"The demo ended early: {type(error).__name__} {error}", style="red", markup=False)
            for name in ("api", "worker"):
                _print_tail(console, data_dir / "log" / f"{name}.log")
            return 1


def _require_playground(given: Settings, users: int) -> None:
    """Raises :class:`DemoError` in production, whose clock the demo would move."""
    named = given.redis_url or given.database_url or given.data_dir != DEFAULT_DATA_DIR
    if named and given.env != "dev":
        raise DemoError("it moves the clock of the servers and data that CLOCK_* name: set CLOCK_ENV=dev to allow that")
    if users < 1:
        raise DemoError("at least one user has to play")


async def _played(settings: Settings, urls: Urls, users: int, console: Console) -> int:
    """Play and audit, in a stack that runs."""
    began = monotonic()
    players = cast(users)
    async with demo_client.session() as session:
        client = Client(session, urls["page"])
        with demo_client.progress_bars(console) as progress:
            day = Day(client, Crowd(progress), players, urls, settings)
            await day.play()
        agree = await _audit(day, urls, console)
        await client.move_time(None)
    repeated = f", {client.repeated:,} of them repeated" if client.repeated else ""
    console.print(f"{client.sent:,} requests{repeated}, {monotonic() - began:.1f} s")
    return 0 if agree else 1


async def _audit(day: Day, urls: Urls, console: Console) -> bool:
    """Print the books and everything that contradicts them; whether nothing does."""
    redis = connect(urls["redis_url"])
    try:
        memory = await demo_books.read_memory(redis, day.day, day.rules.shards)
    finally:
        await redis.aclose()
    books = await demo_books.read_books(urls["database_url"], day.day, day.till.pulls)
    found = demo_books.differences(day.players, day.seed_hash, books, memory)
    if not books.waiting_fen:  # while money is moving, the provider's bill is incomplete
        found[SERVICE_AGREES] = await day.client.reconcile(day.day)
    console.print()
    console.print(demo_books.table(books))
    for statement, problems in found.items():
        console.print(f"[red]NO [/] {statement}" if problems else f"[green]yes[/] {statement}")
        for problem in problems[:5]:
            console.print(f"    {problem}", markup=False, highlight=False)
        if len(problems) > 5:
            console.print(f"    … and {len(problems) - 5:,} more")
    return not any(found.values())


@contextmanager
def _data_dir(settings: Settings) -> Iterator[Path]:
    """The one that was asked for, or a temporary one."""
    if settings.data_dir != DEFAULT_DATA_DIR:
        yield settings.data_dir
        return
    with embedded.scratch() as path:
        yield path


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Only warnings, beside the progress bars."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    try:
        yield
    finally:
        structlog.configure(**before)


def _print_tail(console: Console, path: Path) -> None:
    lines = path.read_text(errors="replace").splitlines()[-5:] if path.exists() else []
    for line in lines:
        console.print(f"{path.name}: {line}", markup=False, highlight=False, style="dim")
