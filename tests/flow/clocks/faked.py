"""Servers whose clock really jumps, by the distribution's libfaketime (Debian: ``apt install faketime``). The embedded
Valkey and Postgres use the system's allocator, and so can be started under it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from clock.runtime import embedded
from clock.runtime.processes import Program

LIBRARY = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)

needs_faketime = pytest.mark.skipif(LIBRARY is None, reason="the system has no libfaketime")


class Clock:
    """A clock that is ahead of the real one by what a file says; the monotonic one goes on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0)

    def jump(self, seconds: float) -> None:
        """At once, for all processes that have it."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds:+.3f}")
        beside.chmod(0o644)
        beside.rename(self._file)

    @property
    def env(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": LIBRARY or "",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@contextmanager
def new_clock() -> Iterator[Clock]:
    """Its file can be read by every account, Postgres' too."""
    folder = Path(tempfile.mkdtemp(prefix="clock-faked-"))
    folder.chmod(0o755)
    try:
        yield Clock(folder / "time")
    finally:
        shutil.rmtree(folder)


class Valkey(embedded.Valkey, frozen=True):
    clock: Clock

    @property
    def program(self) -> Program:
        ours = super().program
        return structs.replace(ours, env={**ours.env, **self.clock.env})


class Postgres(embedded.Postgres, frozen=True):
    clock: Clock

    @property
    def program(self) -> Program:
        ours = super().program
        return structs.replace(ours, env={**(ours.env or dict(os.environ)), **self.clock.env})
