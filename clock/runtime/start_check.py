"""The start check of ``clock api``, ``clock worker`` and ``clock up``.

A server that the service cannot use is refused with a sentence that names the setting and the remedy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from time import monotonic, time_ns
from zoneinfo import ZoneInfo

import structlog
from redis.exceptions import RedisError

from clock.beacon.checking import check_beacon
from clock.beacon.settings import beacon_of
from clock.books import rulebook
from clock.books.migrations import require_schema, tables
from clock.books.postgres_check import (
    connected,
    facts,
    require_durability,
    require_rights,
    require_server,
    require_time,
)
from clock.books.store import Connection, rows
from clock.channels import Channel
from clock.config import BadSetting, Settings, rules_of
from clock.domain.outcomes import Unavailable
from clock.fair.notes import signers_of
from clock.game.client.calls import connect
from clock.game.client.commands import Commands
from clock.operators.redis_check import require_queue, require_redis
from clock.operators.rulebook import differences
from clock.rounds.planning import stuck_stake
from clock.runtime.channel_check import channels_here, require_channels

ANSWER_SECONDS = 5.0
"""How long a server is waited for. In development it is asked once."""

PAUSE_SECONDS = 0.2

log = structlog.get_logger()


async def start_check(
    settings: Settings, *, queue: bool = True, postgres_may_be_away: bool = False, migrated: bool = True
) -> None:
    """Raises :class:`BadSetting` for a server that does not fit, and in production for one that does not answer; for
    a payment channel that a stake could not be paid back by, and in production for one whose provider refuses our keys;
    for a beacon that is none. In production the beacon's relays are asked once.

    ``queue``: whether arq's own server is needed. ``postgres_may_be_away``: check-ins and payments do without it, so
    that the API starts. ``migrated``: false before ``clock migrate`` has run.
    """
    beacon = beacon_of(settings)
    async with channels_here(settings) as channels:
        await _require_servers(settings, channels, queue, postgres_may_be_away, migrated)
        if settings.env == "prod":
            asked = [check_beacon(beacon, time_ns() // 1_000_000)] if beacon else []
            await asyncio.gather(require_channels(channels), *asked)


async def _require_servers(
    settings: Settings, channels: Mapping[str, Channel], queue: bool, postgres_may_be_away: bool, migrated: bool
) -> None:
    checks: list[tuple[str, Callable[[], Awaitable[None]], bool]] = [
        (
            "Redis (CLOCK_REDIS_URL)",
            lambda: _with_redis(settings.redis_url, lambda one: require_redis(one, settings)),
            False,
        ),
        (
            "Postgres (CLOCK_DATABASE_URL)",
            lambda: _require_postgres(settings, channels, migrated),
            postgres_may_be_away,
        ),
    ]
    if queue and not settings.queue_url and settings.clustered:
        raise BadSetting("a queue of jobs cannot live on a cluster: name a Redis of its own in CLOCK_QUEUE_URL")
    if queue and settings.queue_url:
        checks.append(("Redis (CLOCK_QUEUE_URL)", lambda: _with_redis(settings.queue_url, require_queue), False))
    production = settings.env == "prod"
    for server, check, may_be_away in checks:
        why = await _silence(check, ANSWER_SECONDS if production else 0.0)
        if why and production and not may_be_away:
            raise BadSetting(f"{server} does not answer: {why}")
        if why:
            log.warning("server_not_checked", server=server, reason=why)


async def _silence(check: Callable[[], Awaitable[None]], seconds: float) -> str:
    """Run the check until the server answers or the time is over; why it does not answer, empty if it did."""
    began = monotonic()
    while True:
        try:
            async with asyncio.timeout(max(began + ANSWER_SECONDS - monotonic(), PAUSE_SECONDS)):
                await check()
            return ""
        except TimeoutError:
            return f"no answer within {ANSWER_SECONDS:.0f} s"
        except (RedisError, OSError, Unavailable) as error:
            why = str(error)
        if monotonic() + PAUSE_SECONDS >= began + seconds:
            return why
        await asyncio.sleep(PAUSE_SECONDS)


async def _with_redis(url: str, check: Callable[[Commands], Awaitable[None]]) -> None:
    redis = connect(url)
    try:
        await check(redis)
    finally:
        await redis.aclose()


async def _require_postgres(settings: Settings, channels: Mapping[str, Channel], migrated: bool) -> None:
    async with connected(settings.database_url) as connection:
        found = await facts(connection)
        require_server(found)
        require_time(found)
        if settings.env == "prod":
            require_durability(found)
        if migrated:
            await require_schema(connection)
            await require_rights(connection, found, tables())
            await _compare_rules(settings, channels, connection)
            await _compare_keys(settings, connection)


async def _compare_rules(settings: Settings, channels: Mapping[str, Channel], connection: Connection) -> None:
    """Say where the environment's rules are not those of the book, which holds. Raises :class:`BadSetting` for another
    time zone, by which this process would take another day for today, and for a stake that a channel could not pay
    back."""
    environment, today = rules_of(settings), datetime.now(ZoneInfo(settings.timezone)).date()
    book = await rulebook.read(connection, today)
    default = environment if book is None else book.default(today)
    stakes = [default.stake_fen, *(change.changes.stake_fen for change in (book.changes if book else ()))]
    for stake_fen in stakes:
        if why := stuck_stake(channels.values(), stake_fen):
            raise BadSetting(f"{why}: the stake is {'CLOCK_STAKE_FEN' if book is None else 'in clock rules'}")
    if book is None:
        return
    if book.first.timezone != environment.timezone:
        raise BadSetting(
            f"CLOCK_TIMEZONE={environment.timezone} is not the time zone of this game's rounds, which stays "
            f"{book.first.timezone}"
        )
    if other := differences(default, environment):
        log.warning("environment_differs", rules=other)


async def _compare_keys(settings: Settings, connection: Connection) -> None:
    """Say where none of our keys has ever signed here: what this process signs is refused by whoever knows the others.
    Right only where a game begins again under a new key."""
    own = [str(signer.verifier) for signer in signers_of(settings.statement_key)]
    known = {row["verifier"] for row in await rows(connection, "statement_keys")}
    if own and known and known.isdisjoint(own):
        log.error("statement_key_unknown", keys=own)
