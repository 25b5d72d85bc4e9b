"""The data of answers about a round: its figures, its packets, and what proves them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from clock.domain.rounds import Phase
from clock.http.schema.players import RoundRules


class Extension(Struct):
    """Why check-in was longer, and for how many who had not checked in."""

    cause: Literal["outage", "operator"]
    reason: str
    since_ms: Annotated[int, Meta(description="ms since the epoch")]
    by_ms: Annotated[int, Meta(description="How much longer, in ms")]
    shards: Annotated[int, Meta(description="Parts of the round that it concerns")]
    asleep: Annotated[int, Meta(description="Members who had not checked in")]


class PublicRound(Struct):
    """A round's figures in fen; sums are null until they are final."""

    day: str
    state: Phase
    rules: RoundRules
    members: int
    winners: int
    late: Annotated[int, Meta(description="Members who paid after check-in had opened")]
    pool: int
    refunded: int | None
    forfeited: int | None
    fee: int | None
    carried_in: int | None
    bonus: Annotated[int | None, Meta(description="What the house has added")]
    pot: int | None
    carried_out: int | None
    bonus_back: Annotated[int | None, Meta(description="What went back to the house")]
    smallest: Annotated[int | None, Meta(description="The smallest packet")]
    largest: Annotated[int | None, Meta(description="The largest packet")]
    packets: Annotated[int | None, Meta(description="How many packets there are")]
    extensions: list[Extension]
    seed_hash: Annotated[str, Meta(description="SHA-256 of the seed, in hexadecimal: public from the beginning")]
    seed: Annotated[str | None, Meta(description="In hexadecimal; null until the round has ended")]
    drawn: Annotated[
        str | None,
        Meta(
            description="What the packets follow from, in hexadecimal: seed and what was closed, mixed (docs/fair.md)"
        ),
    ]
    archived: Annotated[bool, Meta(description="Its packets are not listed any more; they follow from the seed")]


class Packets(Struct):
    total: Annotated[int, Meta(description="Packets on all pages")]
    items: Annotated[list[int], Meta(description="In fen, in the order of the split")]


class Statements(Struct):
    """Signed notes; null where there is none (yet)."""

    opened: Annotated[str | None, Meta(description="O: rules, windows and the seed's hash, before joining opens")]
    closed: Annotated[str | None, Meta(description="C: the figures, and the roots of stakes and check-ins")]
    published: Annotated[str | None, Meta(description="P: the seed, and the root of packets, once it is settled")]
    void: Annotated[str | None, Meta(description="V: the round is called off")]


class Logged(Struct):
    """Where a statement is in the log, and how it leads to the root of the first checkpoint that has it (RFC 6962)."""

    index: Annotated[int, Meta(description="From 0")]
    size: Annotated[int, Meta(description="Entries of the log then")]
    path: Annotated[list[str], Meta(description="Hashes in hexadecimal, from the statement up")]
    checkpoint: Annotated[str, Meta(description="Signed note with the root, and the lines of witnesses")]


class LoggedStatements(Struct):
    """Null where a statement is not there, or not in the log yet."""

    opened: Logged | None
    closed: Logged | None
    published: Logged | None
    void: Logged | None


class Proof(Struct):
    """What a round's statements prove; docs/fair.md has the formats."""

    round: str
    keys: Annotated[list[str], Meta(description="Public keys of the notes, as `<name>+<id>+<base64>`")]
    statements: Statements
    logged: LoggedStatements
    witnesses: Annotated[list[str], Meta(description="Public keys of witnesses, as `<name>+<id>+<base64>`")]
    missing: Annotated[
        list[Literal["statements", "beacon", "draw", "witnesses"]],
        Meta(
            description="What this round does not prove. `beacon`: it has none; `draw`: it was split equal, since the "
            "draw was not had in time, or the round was closed too late"
        ),
    ]


class LeafProof(Struct):
    """A user's leaf, and how it leads to the root that a statement names (RFC 6962)."""

    leaf: str
    index: Annotated[int, Meta(description="From 0")]
    size: Annotated[int, Meta(description="Leaves of the tree")]
    path: Annotated[list[str], Meta(description="Hashes in hexadecimal, from the leaf up")]
    root: Annotated[str, Meta(description="In base64")]
