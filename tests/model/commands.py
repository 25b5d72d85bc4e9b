"""What a game consists of: what users, the provider, the worker and operators do."""

from dataclasses import dataclass
from typing import Literal

Paid = Literal["now", "missing", "unreadable", "future", "in time", "as joining closed", "late"]


@dataclass(frozen=True)
class Join:
    """Everybody of ``uids`` at once; the same user may tap twice."""

    uids: tuple[int, ...]
    account: int = 0
    complete: bool = True


@dataclass(frozen=True)
class Pay:
    """A callback for the user's order of the round that was joined ``back`` days ago, ``copies`` at once."""

    uid: int
    back: int = 0
    transaction: int | None = 1
    right_amount: bool = True
    right_buyer: bool = True
    paid: Paid = "now"
    waited_ms: int = 0
    copies: int = 1


@dataclass(frozen=True)
class PayUnknown:
    """A callback for an order that nobody has: ``tail``: a user's order but for its last character."""

    uid: int
    what: Literal["text", "tail", "user"]


@dataclass(frozen=True)
class CheckIn:
    uids: tuple[int, ...]
    waited_ms: int = 0


@dataclass(frozen=True)
class Claim:
    uids: tuple[int, ...]


@dataclass(frozen=True)
class Look:
    uid: int


@dataclass(frozen=True)
class Operate:
    """What the worker and operators do to the round that was joined ``back`` days ago."""

    verb: Literal["settle", "finish", "void", "drain"]
    back: int = 1


@dataclass(frozen=True)
class Outage:
    """For so long nobody can reach the service; then somebody does the first thing."""

    lost_ms: int
    first: CheckIn | Pay | Look | Operate


@dataclass(frozen=True)
class Jump:
    """Redis' clock is ahead by so much while somebody does something."""

    ahead_ms: int
    during: CheckIn | Claim


Command = Join | Pay | PayUnknown | CheckIn | Claim | Look | Operate | Outage | Jump
