"""What was acknowledged, one line an operation: written by the generator, read when it is compared with the books."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TextIO

import msgspec

HEADER = "uid,verb,code,money_fen,round"
DAY_MS = 86_400_000

ACKNOWLEDGED = {
    "join": {"ordered", "order_pending", "already_joined"},
    "pay": {"paid", "already_paid"},
    "check-in": {"checked_in", "already_checked_in"},
    "claim": {"claimed", "already_claimed"},
}
"""What the service must remember from then on."""

MORNING = {"check-in", "claim"}
"""Verbs of the round before today's."""


class Entry(msgspec.Struct, frozen=True):
    """``money_fen``: of an order its price, of a claim stake and packet together; otherwise 0."""

    uid: int
    verb: str
    code: str
    money_fen: int
    round: date


class BadJournal(ValueError):
    """The message says what is wrong, for a person."""


class Writer:
    """``day_zero`` began at ``day_zero_ms`` in the target's calendar."""

    def __init__(self, path: Path, day_zero: date, day_zero_ms: int) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8", buffering=1)  # whole lines, however the process ends
        self._day_zero, self._day_zero_ms = day_zero, day_zero_ms

    def write(self, uid: int, verb: str, code: str, money_fen: int, now_ms: int) -> None:
        days = (now_ms - self._day_zero_ms) // DAY_MS - (verb in MORNING)
        self._file.write(f"{uid},{verb},{code},{money_fen},{self._day_zero + timedelta(days=days)}\n")

    def close(self) -> None:
        self._file.close()


def gather(parts: list[Path], into: Path) -> None:
    """One journal of several, which are removed."""
    with into.open("w", encoding="utf-8") as file:
        file.write(HEADER + "\n")
        for part in parts:
            if part.exists():
                with part.open(encoding="utf-8") as lines:
                    file.writelines(lines)
                part.unlink()


def entries(path: Path) -> Iterator[Entry]:
    """Raises :class:`BadJournal`."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.rstrip("\n") == HEADER:
                continue
            try:
                uid, verb, code, money, day = line.rstrip("\n").split(",")
                entry = Entry(int(uid), verb, code, int(money), date.fromisoformat(day))
            except ValueError:
                raise BadJournal(f"{path}, line {number}: must be {HEADER}") from None
            if entry.verb not in ACKNOWLEDGED:
                raise BadJournal(f"{path}, line {number}: {verb!r} is not a verb of a journal")
            yield entry
