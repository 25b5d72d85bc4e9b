"""Keys that the service signs with. They need no server of ours."""

import sys

import click

from clock.cli.shell import cli
from clock.fair.notes import BadKey, new_key, signers_of


@cli.command(name="statement-key")
@click.argument("name")
def statement_key(name: str) -> None:
    """Make a key for signed statements, for CLOCK_STATEMENT_KEY. NAME says whose: play.example.com/clock.

    The private key stands on standard output, and what everybody may know, the public one, on standard error.
    """
    try:
        key = new_key(name)
    except BadKey as error:
        click.echo(f"clock: {error}", err=True)
        sys.exit(2)
    click.echo(key)
    click.echo(f"public: {signers_of(key)[0].verifier}", err=True)
