"""The result of a benchmark: ratios with their targets, figures, and lines for plots."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Literal

import msgspec
import psutil

from clock.load.plots import Plot


class Spread(msgspec.Struct, frozen=True):
    """Repetitions of one measurement."""

    median: float
    low: float
    high: float
    runs: int


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values), len(values))


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: a ratio measured in one run, and its target."""

    question: str
    against: str
    measured: Spread
    wanted: float
    way: Literal[">=", "<="]
    unit: str = "×"
    met: bool = False


def target(
    question: str, against: str, values: Sequence[float], way: Literal[">=", "<="], wanted: float, unit: str = "×"
) -> Target:
    measured = spread(values)
    met = measured.median >= wanted if way == ">=" else measured.median <= wanted
    return Target(question=question, against=against, measured=measured, wanted=wanted, way=way, unit=unit, met=met)


class Result(msgspec.Struct, kw_only=True):
    name: str
    targets: list[Target] = []
    figures: dict[str, Spread] = {}
    """Absolute by-products; they mean something on this machine only."""
    notes: dict[str, Any] = {}
    plots: list[Plot] = []
    seconds: float = 0.0


class Scale(msgspec.Struct, frozen=True):
    """Sizes of a run: ``quick`` shows that the benchmark works, the full run gives the figures."""

    quick: bool

    def of(self, full: int, quick: int) -> int:
        return quick if self.quick else full


def machine() -> dict[str, Any]:
    """Enough to compare runs, without anything that identifies the host."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.machine()


def versions() -> dict[str, str]:
    names = ("uvicorn", "httptools", "litestar", "msgspec", "redis", "hiredis", "uvloop", "psycopg", "pyjwt")
    return {name: version(name) for name in names}
