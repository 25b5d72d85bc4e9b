"""What must not be true of a run: ``p99>500ms``, ``errors>1%``, ``rate<1000``."""

import re
from collections.abc import Callable
from operator import ge, gt, le, lt

import msgspec

from clock.load.result import Result

GRAMMAR = re.compile(
    r"\s*(p\d{1,2}(?:\.\d{1,3})?|max|errors|rate)\s*(<=|>=|<|>)\s*(\d{1,12}(?:\.\d{1,6})?)\s*(us|ms|s|%|/s)?\s*"
)
WAYS: dict[str, Callable[[float, float], bool]] = {"<": lt, ">": gt, "<=": le, ">=": ge}
UNITS = {"us": 1.0, "ms": 1_000.0, "s": 1_000_000.0}
"""In µs."""


class BadThreshold(ValueError):
    """The message says what is wrong, for a person."""


class Threshold(msgspec.Struct, frozen=True):
    """``bound``: µs of a latency, percent of errors, answers a second."""

    text: str
    figure: str
    way: str
    bound: float

    def is_broken_by(self, result: Result) -> bool:
        return WAYS[self.way](self._of(result), self.bound)

    def told(self, result: Result) -> str:
        """The condition, and what was measured."""
        measured = self._of(result)
        if self.figure == "errors":
            return f"{self.text}: {measured:.3g} %"
        return f"{self.text}: {measured:,.0f}/s" if self.figure == "rate" else f"{self.text}: {measured / 1000:,.2f} ms"

    def _of(self, result: Result) -> float:
        if self.figure == "errors":
            return 100 * result.error_share
        if self.figure == "rate":
            return result.per_second
        return result.answers.most_us if self.figure == "max" else result.answers.percentile_us(float(self.figure[1:]))


def parse(text: str) -> Threshold:
    """Raises :class:`BadThreshold`."""
    found = GRAMMAR.fullmatch(text)
    if not found:
        raise BadThreshold(f"{text!r} is not a condition such as p99>500ms, max>2s, errors>1% or rate<1000")
    figure, way, number, unit = found.groups()
    is_latency = figure[0] in "pm"
    fits = unit in UNITS if is_latency else unit == "%" if figure == "errors" else unit in (None, "/s")
    if not fits:
        wanted = "us, ms or s" if is_latency else "%" if figure == "errors" else "none, or /s"
        raise BadThreshold(f"{text!r}: the unit of {figure} is {wanted}")
    return Threshold(text.strip(), figure, way, float(number) * (UNITS[unit] if is_latency else 1))
