"""Every test has a time limit. A test that hangs fails, and says where each thread and each task stands.

The limit is ``timeout`` in pyproject.toml, or :data:`LONG_S` for a test marked ``long``. pytest-timeout raises the
failure in the main thread. A main thread that no signal reaches, or that swallows the failure, is ended by
``faulthandler_timeout``, together with its process.
"""

import asyncio
import faulthandler
import gc
import signal
import sys
from collections.abc import Generator
from types import FrameType
from typing import Any

import pytest

LONG_S = 300


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_S))
    if hasattr(config, "workerinput"):  # in parallel: what takes longest begins first
        items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Generator[None, Any, Any]:
    """Let pytest-timeout set its alarm; print all stacks before it fails the test."""
    done = yield
    fail = signal.getsignal(signal.SIGALRM)
    assert callable(fail)

    def ring(number: int, frame: FrameType | None) -> None:
        print_stacks()
        fail(number, frame)

    signal.signal(signal.SIGALRM, ring)
    return done


def print_stacks() -> None:
    """All threads and all tasks that have not ended, on standard error, which pytest shows with the failure."""
    print("== threads ==", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    print("== tasks ==", file=sys.stderr)
    for task in gc.get_objects():  # asyncio.all_tasks() knows those of one loop only
        if isinstance(task, asyncio.Task) and not task.done():
            print(file=sys.stderr)
            task.print_stack(file=sys.stderr)
