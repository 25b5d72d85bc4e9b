"""The statements of a round, as texts: what is promised (O), what is closed (C), what is drawn (P), or that it is void
(V). docs/fair.md has the formats.

A statement has one text: a line for each field, in the order of the struct. A reader takes that text alone, so that
nothing can be said twice, left out, or hidden beside it.
"""

import base64
import hashlib
import json
import re
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

HEAD = "clock.statement.v1/"

MOST_BYTES = 100_000
"""A longer text is refused unread."""

NONE = "none"
FAILED = ("missing", "late")
"""The beacon of P where a draw was promised and not mixed in: the round is split equal."""
NO_DRAW = (NONE, *FAILED)

Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
HashOrNone = Annotated[str, Meta(pattern="^([0-9a-f]{64}|none)$")]
Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Name = Annotated[str, Meta(pattern=r"^[^\s+]+$")]
Promised = Annotated[str, Meta(pattern=r"^(none|[a-z0-9][a-z0-9_-]{0,31} [0-9a-f]{64} [1-9][0-9]{0,18})$")]
"""The beacon of O: ``none``, or the chain's name and hash, and the number of the draw."""
Had = Annotated[str, Meta(pattern=r"^(none|missing|late|[0-9a-f]{96})$")]
"""The beacon of P: ``none`` as in O, the draw's signature, or why the round was split equal without one: it was not had
in time (``missing``), or C was there only when it was out (``late``)."""
Count = Annotated[int, Meta(ge=0)]


class BadStatement(ValueError):
    """A text that is no statement; the message says which line is wrong."""


class Tree(msgspec.Struct, frozen=True):
    """How many leaves, and the root."""

    size: Count
    root: bytes


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """O: written with the round. ``rules`` and ``windows`` as they were taken; ``windows`` in ms since the epoch."""

    origin: Name
    round: Day
    seed_hash: Hash
    rules: dict[str, Any]
    windows: dict[str, int]
    beacon: Promised

    @property
    def draw(self) -> tuple[str, int] | None:
        """The hash of the chain and the number of the draw that is mixed into the seed; None: there is no beacon."""
        if self.beacon == NONE:
            return None
        _, chain_hash, number = self.beacon.split(" ")
        return chain_hash, int(number)


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """C: everybody is in, and nothing is drawn. ``previous``: the C or V before it, of any round. ``shards``: members
    and winners of each."""

    origin: Name
    round: Day
    opened: Hash
    previous: HashOrNone
    closed_ms: Count
    closes_ms: list[Count]
    shards: list[tuple[Count, Count]]
    members: Count
    winners: Count
    late: Count
    pool_fen: Count
    refunded_fen: Count
    forfeited_fen: Count
    fee_fen: Count
    carried_in_fen: Count
    bonus_fen: Count
    pot_fen: Count
    stakes: Tree
    checked_in: Tree


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """P: the packets are final. ``drawn`` is what they follow from."""

    origin: Name
    round: Day
    closed: Hash
    seed: Hash
    beacon: Had
    drawn: Hash
    split: Literal["random", "equal"]
    packets: Tree
    carried_out_fen: Count
    bonus_back_fen: Count


class Void(msgspec.Struct, frozen=True, kw_only=True):
    """V: every stake goes back. ``closed``: its C, if there is one."""

    origin: Name
    round: Day
    opened: Hash
    closed: HashOrNone
    previous: HashOrNone
    voided_ms: Count
    reason: str


Statement = Opened | Closed | Published | Void

KINDS: dict[str, type[Statement]] = {"opened": Opened, "closed": Closed, "published": Published, "void": Void}

_KIND_OF: dict[type[Statement], str] = {of: kind for kind, of in KINDS.items()}
_JSON = {"rules", "windows", "closes_ms", "shards", "reason"}
"""Fields whose line is JSON."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_TREE = re.compile(r"(0|[1-9][0-9]{0,17}) ([0-9A-Za-z+/]{43}=)")


def kind_of(statement: Statement) -> str:
    return _KIND_OF[type(statement)]


def digest(text: str) -> str:
    """By which other statements name this one: SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON in its one spelling: keys sorted, no spaces, nothing escaped that need not be. No floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def text_of(statement: Statement) -> str:
    lines = [HEAD + kind_of(statement)]
    for name in statement.__struct_fields__:
        value = getattr(statement, name)
        if isinstance(value, Tree):
            value = f"{value.size} {base64.b64encode(value.root).decode()}"
        elif name in _JSON:
            value = canonical(value)
        lines.append(f"{name}: {value}")
    return "\n".join(lines) + "\n"


def parse(text: str) -> Statement:
    """Raises :class:`BadStatement` for any text that :func:`text_of` would not write."""
    if len(text) > MOST_BYTES:
        raise BadStatement("too long")
    head, *lines = text.split("\n")
    of = KINDS.get(head.removeprefix(HEAD)) if head.startswith(HEAD) else None
    if of is None:
        raise BadStatement(f"the first line is {head[:80]!r}")
    if not lines or lines.pop():
        raise BadStatement("the last line has no end")
    names = of.__struct_fields__
    if len(lines) != len(names):
        raise BadStatement(f"{len(lines)} lines instead of {len(names)}")
    types = get_type_hints(of)
    values = {name: _value(name, types[name], line) for name, line in zip(names, lines, strict=True)}
    try:
        statement = msgspec.convert(values, of)
    except msgspec.ValidationError as error:
        raise BadStatement(str(error)) from None
    if text_of(statement) != text:
        raise BadStatement("not written as it should be")
    return statement


def _value(name: str, of: Any, line: str) -> Any:
    found, colon, value = line.partition(": ")
    if found != name or not colon:
        raise BadStatement(f"{name} is missing where it should be")
    if name in _JSON:
        try:
            return json.loads(value, parse_float=_no_float, parse_constant=_no_float)
        except (ValueError, RecursionError):
            raise BadStatement(f"{name} is not JSON as it should be") from None
    if of is Tree:
        tree = _TREE.fullmatch(value)
        if not tree:
            raise BadStatement(f"{name} is not a size and a root")
        return Tree(int(tree[1]), base64.b64decode(tree[2]))
    if of is int:
        if not _NUMBER.fullmatch(value):
            raise BadStatement(f"{name} is not a number")
        return int(value)
    return value


def _no_float(text: str) -> Any:
    raise ValueError(f"{text} is not a whole number")


def promised(chain_name: str, chain_hash: str, number: int) -> str:
    """The beacon of O, where there is one."""
    return f"{chain_name} {chain_hash} {number}"


def signature_in(had: str) -> bytes:
    """The signature of a draw, from the beacon of P; empty where there is none."""
    return b"" if had in NO_DRAW else bytes.fromhex(had)


def drawn_from(seed: bytes, beacon_signature: bytes, closed_text: str) -> bytes:
    """What the packets of a round follow from: the seed, the beacon's signature (empty without one), and C, which could
    not be known when the seed was promised."""
    closed = hashlib.sha256(closed_text.encode()).digest()
    return hashlib.sha256(b"clock/seed/v2" + seed + beacon_signature + closed).digest()
