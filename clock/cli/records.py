"""Commands that show what was done, and give a round's books as a file."""

import sys
from datetime import date
from typing import Any

import click

from clock.cli.shell import LIMIT, PAGE, Day, cli, show, with_service


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

    async def write(service: Any) -> Any:
        answer, file = await verbs.export(service, acts.command_line(), day, what)
        if file is not None:
            async for piece in file:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return answer if file is None else None

    refused = with_service(write)
    if refused is not None:
        show(refused)
