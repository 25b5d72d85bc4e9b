"""Commands about payment channels. They need no server of ours, so that keys can be tried before there is one."""

import sys

import click
import msgspec
import uvloop

from clock import logs
from clock.channels import Channel, Silent
from clock.cli.shell import cli, settings_here
from clock.config import BadSetting, Settings


@cli.group()
def channel() -> None:
    """Payment channels: which there are, and whether their providers accept our keys."""


@channel.command(name="list")
def list_() -> None:
    """The channels of these settings: how money leaves by each, and where users can pay."""

    async def listed(settings: Settings) -> list[dict[str, object]]:
        from clock.runtime.channel_check import channels_here

        async with channels_here(settings) as channels:
            return [_line(one, settings.channel) for one in channels.values()]

    found = uvloop.run(listed(settings_here()))
    click.echo(msgspec.json.format(msgspec.json.encode({"channels": found})).decode())


def _line(channel: Channel, default: str) -> dict[str, object]:
    return {
        "name": channel.name,
        "default": channel.name == default,
        "way": "pull" if channel.pulls else "push",
        "least_transfer_fen": channel.least_transfer_fen,
        "most_transfer_fen": channel.most_transfer_fen,
        "hows": channel.hows,
        "ready": channel.ready,
    }


@channel.command()
@click.argument("name")
def check(name: str) -> None:
    """Ask the provider of channel NAME one signed question, which moves nothing; say what works."""
    from clock.runtime.channel_check import check_channel

    logs.configure("command", to=logs.STDERR)
    try:
        for sentence in uvloop.run(check_channel(settings_here(), name)):
            click.echo(sentence)
    except (BadSetting, Silent) as error:
        click.echo(f"clock: {name}: {error}", err=True)
        sys.exit(1)
