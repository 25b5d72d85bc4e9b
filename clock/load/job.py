"""What one process is told to send."""

from typing import Literal

import msgspec

from clock.load.curve import Curve

Verb = Literal["guest", "summary", "me", "status", "join", "check-in", "claim", "day"]

MOVES_MONEY = ("join", "check-in", "claim", "day")
"""A check-in decides whose stake is forfeited."""


MOST_PARTS = 64_000


class Users(msgspec.Struct, kw_only=True):
    """Who plays, and how they show who they are: a key of ours, or tokens from a file. Guests are numbered too."""

    first: int = 0
    count: int = 0
    secret: str = ""
    private_key: str = ""
    """PEM."""
    tokens: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(dict(self.tokens)) or self.count


class Job(msgspec.Struct, kw_only=True):
    """``part``: of ``parts``, counted from 0; the instants of the curve are dealt out among them, and so are the users,
    each to one part alone: who is told ``Retry-After`` there waits."""

    url: str
    address: tuple[str, int]
    """Where the host of the URL answered."""
    ca_pem: str = ""
    verb: Verb
    curve: Curve
    users: Users
    part: int = 0
    parts: int = 1
    connections: int
    """At most so many at once."""
    cold: bool = False
    """A new connection for each request."""
    timeout_s: float
    patience_s: float
    """After the last planned instant; then the run ends."""
    retries: int = 0
    double_share: float = 0.0
    pays: bool = False
    """By the sandbox provider."""
    expected: list[str] = []
    """Codes; any other is an error. None: whatever the game says is good."""
    late_bound_us: int = 100_000
    day_zero_ms: int = 0
    """An instant at which a day of the target's calendar began, and the day."""
    day_zero: str = ""
    clock_ahead_s: float = 0.0
    """Of the target's clock before this host's."""
    journal: str = ""
    """A file of this process's own."""


class Told(msgspec.Struct):
    """What a process says while it works. ``state``: ``ready``, then ``at`` each half second, ``done`` or ``failed``,
    with the whole result, or the reason."""

    state: Literal["ready", "at", "done", "failed"]
    planned: int = 0
    answered: int = 0
    errors: int = 0
    p99_us: int = 0
    late_us: int = 0
    result: msgspec.Raw = msgspec.Raw(b"null")
    reason: str = ""
