"""Commands that run the service or a part of it, prepare it, or try it."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import click
import uvloop

from clock import logs
from clock.cli.shell import cli, ready_settings, settings_here, with_service
from clock.config import BadSetting, load
from clock.hs256 import RIGHTS, Role

MIGRATE_SECONDS = 60.0
"""How long ``clock migrate`` waits for Postgres, which may be starting beside it."""

UID = click.IntRange(1, 2**53 - 1)


@cli.command()
def up() -> None:
    """Run everything here: embedded servers, migrations, API and worker, kept running."""
    from clock.runtime import supervise

    sys.exit(asyncio.run(supervise.up(load(os.environ))))


@contextmanager
def temporary_folder() -> Iterator[str]:
    """Raises :class:`BadSetting` where no folder for temporary files can be written."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="clock-metrics-")
    except OSError as error:
        raise BadSetting(
            f"no folder for temporary files can be written ({error.strerror}): set TMPDIR, or mount a file system in "
            "memory at /tmp"
        ) from None
    with folder as path:
        yield path


@cli.command()
def api() -> None:
    """Serve HTTP."""
    with temporary_folder() as metrics:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", metrics)  # prometheus_client reads it when imported
        from clock.http.server import serve
        from clock.runtime.start_check import start_check
        from clock.runtime.supervise import free_port

        settings = ready_settings()
        logs.configure("api")
        uvloop.run(start_check(settings, queue=False, postgres_may_be_away=True))
        port = free_port(settings.host, settings.port)
        dev = load(os.environ).env == "dev"  # as the processes that serve read it
        serve(f"clock.{'dev' if dev else 'http'}.app:create_app", settings, port)


@cli.command()
@click.option("--check", is_flag=True, help="Only say by the exit status whether a worker of this host does its jobs.")
def worker(check: bool) -> None:
    """Carry the outbox into Postgres, settle and finish rounds."""
    from clock.runtime.start_check import start_check
    from clock.runtime.worker import run, works

    if check:
        sys.exit(0 if with_service(works) else 1)
    settings = ready_settings()
    logs.configure("worker")
    uvloop.run(start_check(settings))
    uvloop.run(run(settings))


@cli.command()
@click.argument("provider", type=click.Choice(["platform", "wechat", "alipay", "beacon"]), default="platform")
def sandbox(provider: str) -> None:
    """Play a payment provider (development): the platform, WeChat Pay or Alipay; or the beacon."""
    from clock.dev.providers.serving import serve

    uvloop.run(serve(ready_settings(), provider))


@cli.command()
def migrate() -> None:
    """Bring Postgres' tables up to date; wait up to a minute for a Postgres that is still starting."""
    from clock.books import migrations

    logs.configure("migrate")
    settings = settings_here()
    if not settings.database_url:
        raise BadSetting("CLOCK_DATABASE_URL is required")
    applied = asyncio.run(migrations.migrate_once_there(settings.database_url, MIGRATE_SECONDS))
    logs.say(f"{len(applied)} migrations applied")


@cli.command()
def move_keys() -> None:
    """Give the keys of an older version their new names in Redis, once, when all of its processes have ended; the
    same command goes on after a kill."""
    from clock.operators.older_keys import move_at

    logs.configure("move-keys", to=logs.STDERR)
    settings = settings_here()
    if not settings.redis_url:
        raise BadSetting("CLOCK_REDIS_URL is required")
    logs.say(f"keys moved: {uvloop.run(move_at(settings.redis_url))}")


@cli.command()
@click.argument("uid", type=UID, required=False)
@click.option("--role", type=click.Choice(["user", "service", "operator"]), default="user", show_default=True)
@click.option("--name", help="Of a service or an operator, in place of UID: it is in every record of what they do.")
@click.option("--scope", help='An operator\'s rights: "read money rules", or some of them; without it all.')
@click.option("--seconds", type=click.IntRange(min=1), default=86_400, show_default=True, help="Until it expires.")
def token(uid: int | None, role: Role, name: str | None, scope: str | None, seconds: int) -> None:
    """A token for UID or a name, signed with CLOCK_JWT_SECRET."""
    from clock.tokens import NAME, Tokens

    sub = uid if name is None else name
    if sub is None or (uid is not None and name is not None):
        raise click.UsageError("one of UID and --name is required")
    if name is not None and (role == "user" or not NAME.fullmatch(name)):
        raise click.UsageError("--name is for a service or an operator: 1 to 64 characters")
    if scope is not None and (role != "operator" or not set(scope.split()) <= set(RIGHTS)):
        raise click.UsageError(f"--scope is for an operator: some of {', '.join(RIGHTS)}")
    click.echo(Tokens(settings_here()).issue(sub, role, seconds, None if scope is None else " ".join(scope.split())))


@cli.command()
def remove_data() -> None:
    """Remove what `clock up` has kept here: every round and every account (embedded servers only)."""
    from clock.runtime import supervise

    asyncio.run(supervise.remove_data(load(os.environ).data_dir))


@cli.command()
@click.option("--users", default=10_000, show_default=True)
def demo(users: int) -> None:
    """Play one whole day with simulated users over real HTTP, and print the books."""
    from clock.dev.demo import play

    sys.exit(uvloop.run(play(load(os.environ), users)))
