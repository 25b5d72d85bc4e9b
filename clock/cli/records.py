"""Commands that show what was done, and give a round's books as a file."""

import sys
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any

import click
import msgspec

from clock.cli.bar import telling
from clock.cli.shell import LIMIT, PAGE, Day, cli, show, with_service

UID = click.IntRange(1, 2**53 - 1)


class AMonth(click.ParamType[Any]):
    """``YYYY-MM``."""

    name = "month"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        from clock.books.months import Month

        try:
            return value if isinstance(value, Month) else Month.parse(value)
        except ValueError:
            self.fail("must be YYYY-MM", param, ctx)


@cli.command()
@click.option("--day", type=Day(), help="Only acts on the round of this day.")
@click.option("--who", help="Only acts under this name.")
@click.option("--page", type=PAGE, default=1, show_default=True)
@click.option("--limit", type=LIMIT, default=50, show_default=True)
def actions(day: date | None, who: str | None, page: int, limit: int) -> None:
    """What operators did, newest first: who, from where, what, why, and what became of it."""
    from clock.operators import acts

    show(with_service(lambda service: acts.listed(service, page, limit, str(day) if day else None, who)))


@cli.command()
@click.argument("day", type=Day())
@click.option("--what", type=click.Choice(["orders", "payments", "payouts", "refunds", "ledger"]), required=True)
def export(day: date, what: Any) -> None:
    """Write the books of the round of DAY as CSV to standard output."""
    from clock.operators import acts, verbs

    _write(lambda service: verbs.export(service, acts.command_line(), day, what))


@cli.command("audit-bundle")
@click.argument("day", type=Day())
@click.option("--to", type=click.Path(path_type=Path), help="A folder that is not there yet; audit-DAY if not given.")
def audit_bundle(day: date, to: Path | None) -> None:
    """Write what an auditor takes home of the round of DAY into a folder: its statements, the leaves of its trees, its
    ledger, and each stake beside its line of the provider's bill."""
    from clock.operators import acts
    from clock.operators.records.bundle import audit_bundle

    folder = (to or Path(f"audit-{day}")).absolute()
    if folder.exists():
        raise click.UsageError(f"--to: {folder} is there already")
    if not folder.parent.is_dir():
        raise click.UsageError(f"--to: {folder.parent} is no folder")
    show(
        with_service(
            lambda service: audit_bundle(service, acts.command_line(), day, folder),
            f"audit-bundle {day}",
        )
    )


def _write(made: Callable[[Any], Awaitable[Any]]) -> None:
    """Write a file that comes in pieces to standard output, or show the answer where there is none."""

    async def write(service: Any) -> Any:
        answer, file = await made(service)
        if file is not None:
            async for piece in file:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return answer if file is None else None

    refused = with_service(write)
    if refused is not None:
        show(refused)


@cli.command()
@click.argument("month", type=AMonth(), required=False)
@click.option("--restore", is_flag=True, help="Take MONTH back into the database.")
def archive(month: Any, restore: bool) -> None:
    """Let MONTH (YYYY-MM) leave the database for files; without it every month that is due. Nothing leaves before it is
    on disk, was read back and is what the tables have; the same command goes on after a kill."""
    from clock.operators import acts
    from clock.operators.records import archive

    if restore and month is None:
        raise click.UsageError("--restore needs a MONTH")
    by = acts.command_line()

    async def work(service: Any) -> Any:
        with telling("archive"):
            if restore:
                return await archive.restore(service, by, month)
            return await (archive.archive(service, by, month) if month else archive.archive_due(service, by))

    show(with_service(work))


@cli.command()
@click.argument("uid", type=UID)
@click.option("--reason", required=True, help="Kept with the act.")
def forget(uid: int, reason: str) -> None:
    """Empty the nickname, mobile and openId of user UID wherever no money needs them, and say what is kept, why and
    until when. Run it again when the user's rounds have ended."""
    from clock.http.wire import ReasonRequest
    from clock.operators import acts
    from clock.operators.records.forget import forget

    try:
        request = msgspec.convert({"reason": reason}, ReasonRequest)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"--reason: {error}") from None
    show(with_service(lambda service: forget(service, acts.command_line(), uid, request.reason)))


@cli.command()
@click.argument("uid", type=UID)
def export_user(uid: int) -> None:
    """Write everything that is kept about user UID as one JSON document to standard output."""
    from clock.operators import acts
    from clock.operators.records.own import export_user

    _write(lambda service: export_user(service, acts.command_line(), uid))
