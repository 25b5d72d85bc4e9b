"""The command line: one command each for what the service runs and what operators do."""

import asyncio
import errno
import os
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, Literal

import click
import msgspec
import uvloop
from redis.exceptions import RedisError

from clock import descriptors, logs
from clock.config import BadSetting, Settings, load, unknown_names
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import parse_day
from clock.hs256 import RIGHTS, Role


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


LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS}
"""Errors of the local host, not of a server."""

MIGRATE_SECONDS = 60.0
"""How long ``clock migrate`` waits for Postgres, which may be starting beside it."""

PAGE, LIMIT, UID = click.IntRange(1, 10_000), click.IntRange(1, 200), click.IntRange(1, 2**53 - 1)


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
            redis_url=settings.redis_url or running["redis_url"],
            database_url=settings.database_url or running["database_url"],
        )
    return with_dev_secrets(settings)


def ready_settings() -> Settings:
    from clock.service import require_secrets

    settings = settings_here()
    require_secrets(settings)
    return settings


def with_service(work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Run ``work`` with an open :class:`~clock.service.Service`."""
    from clock.service import Service

    logs.configure("command", to=logs.STDERR)

    async def run() -> Any:
        service = Service(ready_settings(), answer_seconds=None)
        await service.start()
        try:
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
def sandbox() -> None:
    """Play the payment provider (development)."""
    from clock.dev.sandbox import serve

    uvloop.run(serve(ready_settings()))


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
@click.argument("day", type=Day())
def settle(day: date) -> None:
    """Settle the round of DAY (YYYY-MM-DD), if it is due."""
    from clock.operators import rounds

    show(with_service(lambda service: rounds.settle(service.settling, day)))


@cli.command()
@click.argument("day", type=Day())
@click.option("--reason", required=True, help="Kept with the round.")
def void(day: date, reason: str) -> None:
    """Call off the round of DAY; every stake is owed back."""
    from clock.operators import rounds

    show(with_service(lambda service: rounds.void(service.voiding, day, reason)))


@cli.command()
@click.argument("day", type=Day())
@click.option("--minutes", required=True, type=click.IntRange(1, 60))
@click.option("--reason", required=True, help="Published with the round.")
def extend(day: date, minutes: int, reason: str) -> None:
    """Make the check-in of the round of DAY longer, while it is open. The same again is the same extension."""
    from clock.operators import rounds

    show(with_service(lambda service: rounds.extend(service, day, minutes, reason, "command")))


@cli.command()
@click.argument("day", type=Day(), required=False)
def reconcile(day: date | None) -> None:
    """Compare Redis, books, ledger, manifest and the provider's bill of DAY (default: every live round)."""
    from clock.operators.rounds import reconcile_rounds

    show(with_service(lambda service: reconcile_rounds(service, day)))


@cli.command()
@click.argument("day", type=Day(), required=False)
def rebuild(day: date | None) -> None:
    """Recreate Redis from Postgres after a total loss; verbs answer 503 until their round is back. With DAY: make
    Redis and Postgres agree on that round after either has lost something, while people play."""
    from clock.operators import rounds

    show(with_service(lambda service: rounds.rebuild(service, day)))


@cli.group(invoke_without_command=True)
@click.option("--waiting", is_flag=True, help="Only those that wait for a decision.")
@click.option("--page", type=PAGE, default=1, show_default=True)
@click.option("--limit", type=LIMIT, default=50, show_default=True)
@click.pass_context
def quarantine(context: click.Context, waiting: bool, page: int, limit: int) -> None:
    """Signed callbacks that failed a check, newest first; what is decided about them."""
    from clock.operators.quarantine import quarantined

    if context.invoked_subcommand is None:
        show(with_service(lambda service: quarantined(service.store, page, limit, waiting)))


@quarantine.command()
@click.argument("entry", metavar="ID", type=Entry())
@click.option("--refund", "action", flag_value="refund", help="Owe the payment back to its transaction.")
@click.option("--dismiss", "action", flag_value="dismiss", help="It was answered otherwise.")
@click.option("--reason", required=True, help="Kept with the decision.")
def release(entry: str, action: Literal["refund", "dismiss"] | None, reason: str) -> None:
    """Decide about the callback with this ID, once: --refund or --dismiss."""
    from clock.http.wire import ReleaseRequest
    from clock.operators import quarantine

    if action is None:
        raise click.UsageError("--refund or --dismiss is required")
    try:
        request = msgspec.convert({"action": action, "reason": reason}, ReleaseRequest)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from None
    show(
        with_service(lambda service: quarantine.release(service, entry, request.action, request.reason, "command line"))
    )


@cli.command()
@click.argument("day", type=Day())
@click.option("--page", type=PAGE, default=1, show_default=True)
@click.option("--limit", type=LIMIT, default=50, show_default=True)
def unanswered(day: date, page: int, limit: int) -> None:
    """Unpaid orders of DAY of which the channel has not said whether they are paid."""
    from clock.operators import money

    show(with_service(lambda service: money.unanswered(service.store, day, page, limit)))


@cli.command()
@click.option(
    "--state", type=click.Choice(["failed", "stuck", "owed", "unknown", "processing", "done"]), default="failed"
)
@click.option("--page", type=PAGE, default=1, show_default=True)
@click.option("--limit", type=LIMIT, default=50, show_default=True)
def outgoing(state: str, page: int, limit: int) -> None:
    """Payouts and refunds: how many are in which state, and those in one of them."""
    from clock.operators import money

    show(with_service(lambda service: money.outgoing(service.store, state, page, limit)))


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


def main() -> None:
    from clock.runtime.crew import StartError
    from clock.runtime.directory import DataDirError

    logs.hold_standard_descriptors()
    try:
        cli(prog_name="clock")
    except (BadSetting, DataDirError, descriptors.TooFewDescriptors) as error:
        click.echo(f"clock: {error}", err=True)
        sys.exit(2)
    except StartError as error:
        click.echo(f"clock: {error}", err=True)
        sys.exit(1)
    except (Unavailable, RedisError, OSError) as error:
        click.echo(f"clock: {_why(error)}", err=True)
        sys.exit(1)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in LOCAL:
        return f"{error.strerror}"
    return f"a server does not answer: {error}"
