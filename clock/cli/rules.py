"""The command for the book of rules."""

from datetime import date
from pathlib import Path
from typing import Any

import click
import msgspec

from clock.cli.shell import LIMIT, PAGE, Day, cli, show, with_service

NAMED = "NAME=VALUE"


@cli.command()
@click.option("--plan", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A change, as JSON.")
@click.option("--first-day", type=Day(), help="Plan a change from this day on, or to --last-day.")
@click.option("--last-day", type=Day())
@click.option("--set", "terms", multiple=True, metavar=NAMED, help="A rule that is other, as stake_fen=200.")
@click.option("--campaign", nargs=2, metavar="ZH EN", help="What these days are called, in Chinese and English.")
@click.option("--bonus-fen", type=int, help="What the house adds to the pot of each day.")
@click.option("--preview", is_flag=True, help="Only say what the days would be like.")
@click.option("--take-back", "number", type=click.IntRange(min=1), metavar="ID", help="Take a change back.")
@click.option("--reason", default="", help="Kept with what was planned or taken back.")
@click.option("--from", "first", type=Day(), help="The first day shown; else today.")
@click.option("--days", type=click.IntRange(1, 62), default=31, show_default=True)
@click.option("--page", type=PAGE, default=1, show_default=True)
@click.option("--limit", type=LIMIT, default=50, show_default=True)
def rules(**given: Any) -> None:
    """The book of rules: what holds, what was planned, what the next days are like. With --plan or --first-day: plan
    other rules for days whose round does not exist yet. With --take-back: take such a change back."""
    from clock.operators import acts, rulebook

    reason, number = given["reason"], given["number"]
    if number is not None:
        _require(reason)
        show(with_service(lambda service: rulebook.take_back(service, acts.command_line(), number, reason)))
    elif given["file"] or given["first_day"]:
        plan = _plan(given)
        show(with_service(lambda service: rulebook.plan(service, acts.command_line(), plan)))
    else:
        seen = given["first"], given["days"], given["page"], given["limit"]
        show(with_service(lambda service: rulebook.shown(service, *seen)))


def _plan(given: dict[str, Any]) -> Any:
    """What is to be planned, from the file or the options."""
    from clock.operators.rulebook import Plan

    try:
        told = msgspec.json.decode(given["file"].read_bytes()) if given["file"] else _of_options(given)
        whole = {**told, "preview": given["preview"]} | ({"reason": given["reason"]} if given["reason"] else {})
        plan = msgspec.convert(whole, Plan, strict=bool(given["file"]))
    except (msgspec.DecodeError, msgspec.ValidationError, TypeError, OSError) as error:
        raise click.UsageError(str(error)) from None
    if not plan.preview:
        _require(plan.reason)
    return plan


def _of_options(given: dict[str, Any]) -> dict[str, Any]:
    first_day: date = given["first_day"]
    told: dict[str, Any] = {"first_day": first_day, "last_day": given["last_day"], "bonus_fen": given["bonus_fen"]}
    if given["campaign"]:
        told["campaign"] = dict(zip(("zh", "en"), given["campaign"], strict=True))
    pairs = [term.partition("=") for term in given["terms"]]
    if any(not equals for _, equals, _ in pairs):
        raise click.UsageError(f"--set takes {NAMED}")
    return {**told, "changes": {name: value for name, _, value in pairs}}


def _require(reason: str) -> None:
    if not reason:
        raise click.UsageError("--reason is required")
