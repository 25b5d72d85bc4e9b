"""Where the command line begins, and how errors end it."""

import errno
import sys

import click
from redis.exceptions import RedisError

from clock import descriptors, logs
from clock.cli import (  # noqa: F401 - they register their commands
    channels,
    events,
    keys,
    load,
    money,
    openapi,
    records,
    rounds,
    rules,
    running,
    verify,
)
from clock.cli.shell import cli
from clock.config import BadSetting
from clock.domain.outcomes import Unavailable

__all__ = ["cli", "main"]

LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS}
"""Errors of the local host, not of a server."""


def main() -> None:
    from clock.runtime.crew import StartError
    from clock.runtime.directory import DataDirError

    logs.hold_standard_descriptors()
    try:
        cli(prog_name="clock")
    except (BadSetting, DataDirError, descriptors.TooFewDescriptors) as error:
        click.echo(f"clock: {error}", err=True)
        sys.exit(2)
    except StartError as error:
        click.echo(f"clock: {error}", err=True)
        sys.exit(1)
    except (Unavailable, RedisError, OSError) as error:
        click.echo(f"clock: {_why(error)}", err=True)
        sys.exit(1)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in LOCAL:
        return f"{error.strerror}"
    return f"a server does not answer: {error}"
