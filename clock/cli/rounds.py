"""Commands on one round, or on all that are alive."""

from datetime import date

import click

from clock.cli.shell import Day, cli, show, with_service


@cli.command()
@click.argument("day", type=Day())
def settle(day: date) -> None:
    """Settle the round of DAY (YYYY-MM-DD), if it is due."""
    from clock.operators import acts, verbs
    from clock.operators.work.asking import here

    show(with_service(lambda service: verbs.settle(service, acts.command_line(), day, here), f"settle {day}"))


@cli.command()
@click.argument("day", type=Day())
@click.option("--reason", required=True, help="Published with the round, for ever.")
def void(day: date, reason: str) -> None:
    """Call off the round of DAY; every stake is owed back."""
    from clock.operators import acts, verbs
    from clock.operators.work.asking import here

    show(with_service(lambda service: verbs.void(service, acts.command_line(), day, reason, here), f"void {day}"))


@cli.command()
@click.argument("day", type=Day())
@click.option("--minutes", required=True, type=click.IntRange(1, 60))
@click.option("--reason", required=True, help="Published with the round.")
def extend(day: date, minutes: int, reason: str) -> None:
    """Make the check-in of the round of DAY longer, while it is open. The same again is the same extension."""
    from clock.operators import acts, verbs

    show(with_service(lambda service: verbs.extend(service, acts.command_line(), day, minutes, reason)))


@cli.command()
@click.argument("day", type=Day(), required=False)
def reconcile(day: date | None) -> None:
    """Compare Redis, books, ledger, manifest and the provider's bill of DAY (default: every live round)."""
    from clock.operators import acts, verbs
    from clock.operators.work.asking import here

    show(
        with_service(
            lambda service: verbs.reconcile(service, acts.command_line(), day, here),
            f"reconcile {day or 'every live round'}",
        )
    )


@cli.command()
@click.argument("day", type=Day())
def lost(day: date) -> None:
    """What users did in the round of DAY by the books and Redis has forgotten; what they were told and did not get."""
    from clock.operators import promises

    show(with_service(lambda service: promises.lost(service, day), f"lost {day}"))


@cli.command("make-good")
@click.argument("day", type=Day())
@click.option("--uid", type=click.IntRange(1), help="Somebody who says so; the books do not know it.")
@click.option("--fen", type=click.IntRange(1), help="What the round is worth to that user in all, stake included.")
@click.option("--reason", required=True, help="Kept with the act.")
def make_good(day: date, uid: int | None, fen: int | None, reason: str) -> None:
    """Pay users of the round of DAY what they were told and did not get, out of the house's account."""
    from clock.operators import acts, promises, verbs

    if (uid is None) != (fen is None):
        raise click.UsageError("--uid and --fen belong together")
    said = promises.Said(uid, fen) if uid is not None and fen is not None else None
    show(with_service(lambda service: verbs.make_good(service, acts.command_line(), day, said, reason)))


@cli.command()
@click.argument("day", type=Day(), required=False)
def rebuild(day: date | None) -> None:
    """Recreate Redis from Postgres after a total loss; verbs answer 503 until their round is back. With DAY: make
    Redis and Postgres agree on that round after either has lost something, while people play."""
    from clock.operators import acts, verbs
    from clock.operators.work.asking import here

    show(
        with_service(
            lambda service: verbs.rebuild(service, acts.command_line(), day, here),
            f"rebuild {day or 'what is lost'}",
        )
    )
