"""The command about events for hosts."""

from datetime import date

import click
import msgspec

from clock.cli.shell import LIMIT, PAGE, Day, cli, show, with_service


@cli.command()
@click.option("--state", type=click.Choice(["due", "sent", "given_up"]), help="Only those in this state.")
@click.option("--day", type=Day(), help="Only those of this round.")
@click.option("--page", type=PAGE, default=1, show_default=True)
@click.option("--limit", type=LIMIT, default=50, show_default=True)
@click.option("--again", "event", metavar="ID", help="Send this event again, under the same id.")
@click.option("--reason", default="", help="Why it is sent again.")
def events(state: str | None, day: date | None, page: int, limit: int, event: str | None, reason: str) -> None:
    """Events for hosts, newest first; or send one of them again."""
    from clock.http.wire import ReasonRequest
    from clock.operators import acts, verbs
    from clock.operators.events import events

    if event is None:
        show(with_service(lambda service: events(service.store, state, day, page, limit)))
        return
    try:
        request = msgspec.convert({"reason": reason}, ReasonRequest)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"--reason: {error}") from None
    show(with_service(lambda service: verbs.event_again(service, acts.command_line(), event, request.reason)))
