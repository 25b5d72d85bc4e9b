"""What a run has measured. Results of several processes or hosts join into one."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from clock.load.histogram import Histogram

MOST_STEPS = 86_400
"""So many steps of time are told apart; later ones count as the last."""

SHORT_SECONDS = 10.0
"""A plan that is not longer, as that of a herd, is told in tenths of a second, others in seconds."""

MOST_CODES = 100
OTHER = "other"


class Unfit(ValueError):
    """Results, or a file, that cannot be joined; the message says why."""


class Step(msgspec.Struct, array_like=True):
    """One step of time, counted from the planned start of the run."""

    planned: int = 0
    sent: int = 0
    answered: int = 0
    most_us: int = 0
    """The longest latency of what was answered in it."""


class Result(msgspec.Struct, kw_only=True):
    url: str = ""
    verb: str = ""
    started_s: float = 0.0
    """Seconds since the epoch."""
    planned_s: float = 0.0
    """How long the plan was; 0: all at once."""
    seconds: float = 0.0
    """Until the last answer."""
    processes: int = 1
    planned: int = 0
    """By the curve; doubles, repetitions and what follows from an answer are not."""
    unsent: int = 0
    """Planned, or to be sent again, and not sent before the end."""
    doubled: int = 0
    repeated: int = 0
    held_back: int = 0
    """Not sent when they were due, because the user had been told ``Retry-After``."""
    errors: int = 0
    """Answers that no player should get, timeouts, broken connections."""
    codes: dict[str, int] = {}
    """By ``<HTTP status> <code>``; ``0 timeout`` and ``0 broken`` had no answer."""
    answers: Histogram = msgspec.field(default_factory=Histogram)
    """Of each request, from the instant for which it was planned."""
    operations: Histogram = msgspec.field(default_factory=Histogram)
    """From the first try's planned instant to the last one's answer: what a user waits."""
    by_code: dict[str, Histogram] = {}
    late: Histogram = msgspec.field(default_factory=Histogram)
    """By how much the generator itself was late, sending or reading."""
    late_bound_us: int = 0
    is_whole: bool = True
    """False: it was interrupted."""
    line: list[Step] = []
    """Over time, step by step."""

    @property
    def step_s(self) -> float:
        return 0.1 if self.planned_s <= SHORT_SECONDS else 1.0

    @property
    def per_second(self) -> float:
        """Answers."""
        return self.answers.count / self.seconds if self.seconds else 0.0

    @property
    def error_share(self) -> float:
        total = self.answers.count + self.unsent
        return (self.errors + self.unsent) / total if total else 0.0

    @property
    def late_us(self) -> int:
        return self.late.percentile_us(99)

    @property
    def was_late(self) -> bool:
        return self.late_us > self.late_bound_us

    def step(self, seconds: float) -> Step:
        """The one in which an instant after the start is."""
        number = min(max(int(seconds / self.step_s), 0), MOST_STEPS - 1)
        while len(self.line) <= number:
            self.line.append(Step())
        return self.line[number]

    def answered(self, code: str, us: int, is_error: bool) -> None:
        if code not in self.codes and len(self.codes) >= MOST_CODES:
            code = OTHER
        self.codes[code] = self.codes.get(code, 0) + 1
        if code not in self.by_code:
            self.by_code[code] = Histogram()
        self.by_code[code].add(us)
        self.answers.add(us)
        self.errors += is_error


def joined(results: Sequence[Result]) -> Result:
    """One result of several; raises :class:`Unfit`. Their times are laid over each other from each one's start."""
    first = results[0]
    for other in results[1:]:
        for name in ("url", "verb", "planned_s"):
            one, another = getattr(first, name), getattr(other, name)
            if one != another:
                raise Unfit(f"results of different runs: {name} {one} and {another}")
    whole = Result(
        url=first.url,
        verb=first.verb,
        started_s=min(one.started_s for one in results),
        planned_s=first.planned_s,
        seconds=max(one.seconds for one in results),
        processes=0,
        late_bound_us=min(one.late_bound_us for one in results),
        is_whole=all(one.is_whole for one in results),
    )
    for one in results:
        for name in ("processes", "planned", "unsent", "doubled", "repeated", "held_back", "errors"):
            setattr(whole, name, getattr(whole, name) + getattr(one, name))
        for name in ("answers", "operations", "late"):
            getattr(whole, name).join(getattr(one, name))
        for code, count in one.codes.items():
            whole.codes[code] = whole.codes.get(code, 0) + count
        for code, histogram in one.by_code.items():
            whole.by_code.setdefault(code, Histogram()).join(histogram)
        _lay_over(whole, one.line)
    return whole


def _lay_over(whole: Result, line: list[Step]) -> None:
    whole.line += [Step() for _ in range(len(line) - len(whole.line))]
    for into, step in zip(whole.line, line, strict=False):
        into.planned += step.planned
        into.sent += step.sent
        into.answered += step.answered
        into.most_us = max(into.most_us, step.most_us)


def read(path: Path) -> Result:
    """Raises :class:`Unfit`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except msgspec.DecodeError as error:
        raise Unfit(f"{path} is not a result of clock load: {error}") from None
