"""A journal held against the service, over HTTP with an operator's token: what was acknowledged is in the books."""

import random
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from clock.load.journal import entries
from clock.load.target import BadTarget, Target

POLL_SECONDS = 0.5
MOST_NAMED = 100
MOST_PAGES = 13
"""Of a user's story: more than a year of rounds."""


class Told(msgspec.Struct):
    """What users of one round were told, by uid. ``twice``: contradictions within the journal itself."""

    members: set[int] = msgspec.field(default_factory=set)
    winners: set[int] = msgspec.field(default_factory=set)
    claimed: dict[int, int] = msgspec.field(default_factory=dict)
    """Stake and packet, in fen."""
    firsts: set[tuple[int, str]] = msgspec.field(default_factory=set)
    twice: list[str] = msgspec.field(default_factory=list)


def gathered(path: Path) -> dict[date, Told]:
    """By round. Raises :class:`~clock.load.journal.BadJournal`."""
    rounds: dict[date, Told] = {}
    for entry in entries(path):
        told = rounds.setdefault(entry.round, Told())
        if entry.code in ("checked_in", "claimed"):
            if (entry.uid, entry.code) in told.firsts:
                told.twice.append(f"{entry.round}: user {entry.uid} was told {entry.code} twice")
            told.firsts.add((entry.uid, entry.code))
        if entry.verb == "pay" or entry.code == "already_joined":
            told.members.add(entry.uid)
        elif entry.verb == "check-in":
            told.winners.add(entry.uid)
        elif entry.verb == "claim":
            before = told.claimed.setdefault(entry.uid, entry.money_fen)
            if before != entry.money_fen:
                told.twice.append(f"{entry.round}: user {entry.uid} was told {before} fen, then {entry.money_fen} fen")
    return rounds


class Books:
    """Asks the service. ``patience_s``: how long to wait until what was told has reached Postgres."""

    def __init__(self, target: Target, token: str, sample: int, patience_s: float) -> None:
        self._target = target
        self._token = token
        self._sample = sample
        self._patience_s = patience_s

    def differences(self, rounds: dict[date, Told]) -> Iterator[str]:
        for day, told in sorted(rounds.items()):
            yield from told.twice
            figures = self._figures(day)
            if figures is None:
                yield f"{day}: the service knows no such round"
                continue
            for what, known, least in (
                ("members", figures["members"], told.members | told.winners | told.claimed.keys()),
                ("winners", figures["winners"], told.winners | told.claimed.keys()),
                ("packets_claimed", figures["packets_claimed"], told.claimed.keys()),
            ):
                if known < len(least):
                    yield f"{day}: {what} {known}, and {len(least)} users were told that they are among them"
            yield from self._of_people(day, told)
            yield from self._reconciled(day)

    def _figures(self, day: date) -> dict[str, Any] | None:
        """A round's, once its outbox is empty. Raises :class:`BadTarget`."""
        until = time.monotonic() + self._patience_s
        while True:
            figures = self._asked(f"/ops/rounds/{day}", "ok", "round_not_found")
            if not figures:
                return None
            if figures["archived"]:
                raise BadTarget(f"{day} has left the books for the archive: nothing can be compared")
            if not figures["outbox_depth"]:
                return figures
            if time.monotonic() > until:
                raise BadTarget(
                    f"{day}: {figures['outbox_depth']} events have not reached Postgres after {self._patience_s:.0f} s"
                )
            time.sleep(POLL_SECONDS)

    def _of_people(self, day: date, told: Told) -> Iterator[str]:
        """Of some users, everything that they were told."""
        uids = sorted(told.members | told.winners | told.claimed.keys())
        for uid in sorted(random.sample(uids, min(self._sample, len(uids)))):
            row = self._row(uid, day)
            if row.get("member_ms") is None:
                yield f"{day}: user {uid} was told to be a member, and the books have no payment"
            if uid in told.winners | told.claimed.keys() and row.get("checked_in_ms") is None:
                yield f"{day}: user {uid} was told to have checked in, and the books have no check-in"
            if uid in told.claimed:
                total = None if row.get("packet_fen") is None else row["packet_fen"] + row["stake_fen"]
                if total != told.claimed[uid]:
                    yield f"{day}: user {uid} was told {told.claimed[uid]} fen, and the books have {total}"

    def _row(self, uid: int, day: date) -> dict[str, Any]:
        """What the books have of a user in a round; ``{}``: nothing."""
        for page in range(1, MOST_PAGES + 1):
            story = self._asked(f"/ops/people/{uid}?page={page}", "ok", "person_not_found")
            for row in story.get("rounds", []):
                if row["day"] == str(day):
                    return dict(row)
            if not story.get("more"):
                break
        return {}

    def _reconciled(self, day: date) -> Iterator[str]:
        """What the service's own last comparison has found."""
        asked = self._asked(f"/ops/reconcile/{day}", "ok", "books_agree", "books_differ")
        for one in (one for report in asked.get("reports", []) for one in report["differences"]):
            sides = f"{one['what']} {one['subject']}: {one['one']}, {one['other']}"
            yield f"{day}: by the service's own comparison, {sides}"

    def _asked(self, path: str, *expected: str) -> dict[str, Any]:
        """The data of an answer; ``{}`` for a word that is not the first. Raises :class:`BadTarget`."""
        status, reply = self._target.ask("GET", path, self._token)
        if reply.code not in expected:
            raise BadTarget(f"{self._target.url}{path} was answered {status} {reply.code}")
        return reply.data if reply.code != "round_not_found" and reply.code != "person_not_found" else {}
