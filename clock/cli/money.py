"""Commands about money that waits: quarantined callbacks, orders without an answer, payouts and refunds."""

from datetime import date
from typing import Any, Literal

import click
import msgspec

from clock.cli.records import UID
from clock.cli.shell import LIMIT, PAGE, Day, Entry, cli, show, with_service

ALL = click.Choice(["payout", "refund"])


@cli.group(invoke_without_command=True)
@click.option("--waiting", is_flag=True, help="Only those that wait for a decision.")
@click.option("--page", type=PAGE, default=1, show_default=True)
@click.option("--limit", type=LIMIT, default=50, show_default=True)
@click.pass_context
def quarantine(context: click.Context, waiting: bool, page: int, limit: int) -> None:
    """Signed callbacks that failed a check, newest first; what is decided about them."""
    from clock.operators.quarantine import quarantined

    if context.invoked_subcommand is None:
        show(with_service(lambda service: quarantined(service.store, service.channels, page, limit, waiting)))


@quarantine.command()
@click.argument("entry", metavar="ID", type=Entry())
@click.option("--refund", "action", flag_value="refund", help="Owe the payment back to its transaction.")
@click.option("--dismiss", "action", flag_value="dismiss", help="It was answered otherwise.")
@click.option("--reason", required=True, help="Kept with the decision.")
def release(entry: str, action: Literal["refund", "dismiss"] | None, reason: str) -> None:
    """Decide about the callback with this ID, once: --refund or --dismiss."""
    from clock.http.wire import ReleaseRequest
    from clock.operators import acts, verbs

    if action is None:
        raise click.UsageError("--refund or --dismiss is required")
    try:
        request = msgspec.convert({"action": action, "reason": reason}, ReleaseRequest)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from None
    by = acts.command_line()
    show(with_service(lambda service: verbs.release(service, by, entry, request.action, request.reason)))


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
@click.option("--all", "handled", is_flag=True, help="Failed ones that were seen to as well.")
@click.option("--page", type=PAGE, default=1, show_default=True)
@click.option("--limit", type=LIMIT, default=50, show_default=True)
def outgoing(state: str, handled: bool, page: int, limit: int) -> None:
    """Payouts and refunds: how many are in which state, and those in one of them."""
    from clock.operators import money

    show(with_service(lambda service: money.outgoing(service.store, state, page, limit, handled=handled)))


@cli.command()
@click.argument("no", required=False)
@click.option("--all", "kind", type=ALL, help="Everything of this kind that nobody has seen to.")
@click.option("--reason", required=True, help="Kept with the act.")
def again(no: str | None, kind: Any, reason: str) -> None:
    """Send the failed refund or payout NO again: a refund under its number, a payout under a new one. Or --all."""
    from clock.operators import verbs
    from clock.operators.work.asking import here

    by = _one_or_all(no, kind)
    if no:
        show(with_service(lambda service: verbs.again(service, by, no, reason)))
    else:
        show(with_service(lambda service: verbs.all_again(service, by, kind, reason, here), f"every {kind}"))


@cli.command()
@click.argument("no", required=False)
@click.option("--all", "kind", type=ALL, help="Everything of this kind that nobody has seen to.")
@click.option("--reason", required=True, help="Kept with the act.")
def acknowledge(no: str | None, kind: Any, reason: str) -> None:
    """Say that the failed refund or payout NO was seen to: it rings no longer. Or --all."""
    from clock.operators import verbs
    from clock.operators.work.asking import here

    by = _one_or_all(no, kind)
    if no:
        show(with_service(lambda service: verbs.acknowledge(service, by, no, reason)))
    else:
        show(with_service(lambda service: verbs.all_acknowledged(service, by, kind, reason, here), f"every {kind}"))


@cli.command()
@click.argument("uid", type=UID)
@click.option("--reason", required=True, help="Kept with the act.")
def withdraw(uid: int, reason: str) -> None:
    """Send the whole balance of the user UID, as the user could."""
    from clock.operators import acts, verbs

    show(with_service(lambda service: verbs.withdraw(service, acts.command_line(), uid, reason)))


def _one_or_all(no: str | None, kind: str | None) -> Any:
    """In whose name it is done; exactly one of both is given."""
    from clock.operators import acts

    if (no is None) == (kind is None):
        raise click.UsageError("NO or --all is required, and not both")
    return acts.command_line()
