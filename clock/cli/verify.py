"""The command that verifies a published round: the program of one file, under this command line."""

import sys

import click

from clock import verifier
from clock.cli.shell import cli


@cli.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def verify(arguments: tuple[str, ...]) -> None:
    """Verify the round of DAY from what is public; needs no server of its own. As clock/verifier.py does by itself."""
    sys.exit(verifier.main(list(arguments), "clock verify"))
