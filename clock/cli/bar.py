"""How far a command's work is: a bar in a terminal, elsewhere a line now and then. On standard error: standard output
has the answer."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from clock.domain import progress

LINE_SECONDS = 3.0
"""At most so often a line, where no terminal shows a bar."""


@contextmanager
def telling(title: str) -> Iterator[None]:
    """Tell what the body says of its progress."""
    with _bar(title) if sys.stderr.isatty() else _lines(title):
        yield


@contextmanager
def _bar(title: str) -> Iterator[None]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeElapsedColumn())
    shown: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def listen(step: str, done: int, total: int | None) -> None:
            if step not in shown:
                shown[step] = bars.add_task(f"{title}: {step}", total=None, count="")
            bars.update(shown[step], completed=done, total=total, count=_count(done, total))

        with progress.heard(listen):
            yield


@contextmanager
def _lines(title: str) -> Iterator[None]:
    last = -LINE_SECONDS

    def listen(step: str, done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            click.echo(f"{title}: {step} {_count(done, total)}", err=True)

    with progress.heard(listen):
        yield


def _count(done: int, total: int | None) -> str:
    return f"{done:,}" if total is None else f"{done:,} / {total:,}"
