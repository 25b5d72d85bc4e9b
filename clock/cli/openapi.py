"""The OpenAPI document, without a server."""

import click

from clock.cli.shell import cli
from clock.config import Settings


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document of all paths, those of development included, as docs/openapi.json has it."""
    from clock.dev.app import create_app
    from clock.http.openapi import describe, text_of

    nowhere = Settings(env="dev", redis_url="redis://127.0.0.1", database_url="postgresql://")
    app = create_app(nowhere)
    describe(app)
    click.echo(text_of(app), nl=False)
