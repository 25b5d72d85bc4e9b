"""Kinds of arguments of ``clock load``."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from clock.load import thresholds

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class Refused(click.ClickException):
    """The target, a file or a key does not do; the message says why."""

    exit_code = 2


class Load(click.Group):
    """Its first argument is a command's name, or the address of the service that is to be tested."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *self.get_help_option_names(ctx)):
            args.insert(0, "run")
        return super().parse_args(ctx, args)


class Span(click.ParamType[tuple[int, int]]):
    """``A-B``, both included: first and count."""

    name = "first-last"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        found = re.fullmatch("([0-9]{1,16})-([0-9]{1,16})", str(value))
        first, last = map(int, found.groups()) if found else (0, 0)
        if not 0 < first <= last < 1 << 53:
            self.fail("must be FIRST-LAST, as 1000001-1010000", param, ctx)
        return first, last - first + 1


class Part(click.ParamType[tuple[int, int]]):
    """``K/N``, counted from 1."""

    name = "k/n"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        found = re.fullmatch("([0-9]{1,3})/([0-9]{1,3})", str(value))
        one, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= one <= of:
            self.fail("must be K/N, as 2/3", param, ctx)
        return one - 1, of


class Condition(click.ParamType[thresholds.Threshold]):
    name = "condition"

    def convert(self, value: Any, param: Any, ctx: Any) -> thresholds.Threshold:
        try:
            return thresholds.parse(str(value))
        except thresholds.BadThreshold as error:
            self.fail(str(error), param, ctx)


class Instant(click.ParamType[float]):
    """RFC 3339; seconds since the epoch."""

    name = "instant"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            at = datetime.fromisoformat(str(value))
        except ValueError:
            at = datetime.min  # noqa: DTZ901 - has no zone, and so is refused
        if at.tzinfo is None:
            self.fail("must be an instant with its zone, as 2026-11-28T05:00:00+08:00", param, ctx)
        return at.timestamp()
