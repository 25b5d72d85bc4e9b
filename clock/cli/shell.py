"""What all commands share: kinds of arguments, settings, a service to work with, how answers are shown."""

import os
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from datetime import date
from typing import Any

import click
import msgspec
import uvloop
from redis.exceptions import RedisError

from clock import descriptors, logs
from clock.config import Settings, load, unknown_names
from clock.domain.rounds import parse_day


class Day(click.ParamType[date]):
    """``YYYY-MM-DD``."""

    name = "day"

    def convert(self, value: Any, param: Any, ctx: Any) -> date:
        try:
            return value if isinstance(value, date) else parse_day(value)
        except ValueError:
            self.fail("must be YYYY-MM-DD", param, ctx)


class Entry(click.ParamType[str]):
    """The id of a quarantined callback."""

    name = "id"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        if not re.fullmatch("[0-9a-f]{64}", value):
            self.fail("must be 64 hexadecimal digits, as clock quarantine shows them", param, ctx)
        return str(value)


PAGE, LIMIT = click.IntRange(1, 10_000), click.IntRange(1, 200)


def settings_here() -> Settings:
    """Settings from the environment, completed by the stack that runs in the data directory."""
    from clock.runtime.directory import with_dev_secrets
    from clock.runtime.supervise import running_urls

    settings = load(os.environ)
    for name in unknown_names(os.environ):
        click.echo(f"{name} is not a setting of this service", err=True)
    running = running_urls(settings.data_dir)
    if running:
        settings = msgspec.structs.replace(
            settings,
            env=running["env"],
            platform_url=settings.platform_url or running["platform_url"],
            events_url=settings.events_url or running["events_url"],
            redis_url=settings.redis_url or running["redis_url"],
            database_url=settings.database_url or running["database_url"],
            channel=running["channel"],
            wechat_url=running["wechat_url"],
            alipay_url=running["alipay_url"],
            public_url=settings.public_url or running["public_url"],
            beacon=running["beacon"],
            beacon_relays=running["beacon_relays"],
        )
    return with_dev_secrets(settings)


def ready_settings() -> Settings:
    from clock.service import require_secrets

    settings = settings_here()
    require_secrets(settings)
    return settings


def with_service(work: Callable[[Any], Awaitable[Any]], title: str = "") -> Any:
    """Run ``work`` with an open :class:`~clock.service.Service`. With a ``title``, how far it is stands on standard
    error."""
    from clock.cli.bar import telling
    from clock.operators.older_keys import require_none
    from clock.service import Service

    logs.configure("command", to=logs.STDERR)

    async def run() -> Any:
        service = Service(ready_settings(), answer_seconds=None)
        await service.start()
        try:
            with suppress(RedisError, OSError):  # some work needs no Redis
                await require_none(service.redis)
            with telling(title) if title else nullcontext():
                return await work(service)
        finally:
            await service.stop()

    return uvloop.run(run())


def show(answer: Any) -> None:
    """Print an answer as JSON; exit with status 1 if its ``status`` is 0."""
    from clock.domain.outcomes import OUTCOMES

    click.echo(msgspec.json.format(msgspec.json.encode({"code": answer.word, **answer.data})).decode())
    if not OUTCOMES[answer.word].status:
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clock")
def cli() -> None:
    """clock: an early-rise check-in game. Settings come from CLOCK_* in the environment."""
    descriptors.raise_limit()
