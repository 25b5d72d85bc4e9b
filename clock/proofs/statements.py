"""Statements in Postgres: each is written once, in the transaction of the fact that it states, and signed by every key.

C and V are a chain, whatever their rounds: each names the one that was written before it.
"""

from collections.abc import Sequence
from datetime import date

import msgspec

from clock.beacon.rule import Draw
from clock.books.store import STATEMENTS_LOCK, Connection, Store, rows
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import windows
from clock.fair import notes
from clock.fair.statements import (
    NONE,
    Closed,
    Opened,
    Published,
    Statement,
    Tree,
    Void,
    digest,
    kind_of,
    parse,
    promised,
    text_of,
)
from clock.rounds.recorded import Recorded


class Written(msgspec.Struct, frozen=True):
    """A round's statements by kind, as texts and as signed notes."""

    texts: dict[str, str]
    notes: dict[str, str]

    def hash_of(self, kind: str) -> str:
        """By which others name it; ``none`` without one."""
        return digest(self.texts[kind]) if kind in self.texts else NONE

    @property
    def opened(self) -> Opened:
        """O, which there is."""
        statement = parse(self.texts["opened"])
        assert isinstance(statement, Opened)
        return statement

    @property
    def closed(self) -> Closed:
        """C, which there is."""
        statement = parse(self.texts["closed"])
        assert isinstance(statement, Closed)
        return statement

    @property
    def published(self) -> Published:
        """P, which there is."""
        statement = parse(self.texts["published"])
        assert isinstance(statement, Published)
        return statement


class Signing:
    """The keys of this process."""

    def __init__(self, keys: str) -> None:
        """``keys``: private ones, separated by spaces; the first gives statements their origin. Raises
        :class:`~clock.fair.notes.BadKey`."""
        self._signers = notes.signers_of(keys)

    @property
    def origin(self) -> str:
        """Raises :class:`Unavailable` without a key."""
        return self._keys()[0].name

    @property
    def first(self) -> notes.Signer | None:
        """The key that gives statements their origin, and signs receipts."""
        return self._signers[0] if self._signers else None

    async def write(self, connection: Connection, day: date, statement: Statement) -> str:
        """Its text. Raises :class:`Unavailable` without a key."""
        text = text_of(statement)
        note = await self.note(connection, text)
        await rows(connection, "write_statement", day=day, kind=kind_of(statement), text=text, note=note)
        return text

    async def note(self, connection: Connection, text: str) -> str:
        """The text, signed by every key; they are published. Raises :class:`Unavailable` without a key."""
        keys = self._keys()
        await rows(connection, "note_keys", verifiers=[str(signer.verifier) for signer in keys])
        return notes.sign(text, keys)

    def _keys(self) -> Sequence[notes.Signer]:
        if not self._signers:
            raise Unavailable("CLOCK_STATEMENT_KEY is not set: nothing can be signed")
        return self._signers


async def written(connection: Connection, day: date) -> Written:
    found = await rows(connection, "statements_of", day=day)
    return Written({row["kind"]: row["text"] for row in found}, {row["kind"]: row["note"] for row in found})


async def find(store: Store, day: date) -> Written:
    async with store.transaction() as connection:
        return await written(connection, day)


async def keys_of(store: Store, signed: Sequence[str]) -> list[str]:
    """The public keys of this service that have signed one of these notes, oldest first."""
    of_lines = {(line.name, line.id) for note in signed for line in notes.parts(note)[1]}
    known = [notes.verifier_of(row["verifier"]) for row in await store.all("statement_keys")]
    return [str(verifier) for verifier in known if (verifier.name, verifier.id) in of_lines]


async def previous(connection: Connection) -> str:
    """What the next C or V names as the one before it. Nobody else writes one until this transaction ends."""
    await rows(connection, "lock_statements", lock=STATEMENTS_LOCK)
    found = await rows(connection, "last_of_chain")
    return digest(found[0]["text"]) if found else NONE


def opened(round_: Recorded, origin: str, draw: Draw | None) -> Opened:
    """O, of a round that has just been created. ``draw``: of its beacon."""
    return Opened(
        origin=origin,
        round=round_.day.isoformat(),
        seed_hash=round_.seed_hash.hex(),
        rules=msgspec.to_builtins(round_.rules),
        windows=msgspec.to_builtins(windows(round_.day, round_.rules)),
        beacon=promised(draw.chain.name, draw.chain.hash, draw.number) if draw else NONE,
    )


async def write_closed(
    signing: Signing,
    connection: Connection,
    round_: Recorded,
    now_ms: int,
    figures: dict[str, int],
    trees: tuple[Tree, Tree],
    before: str | None,
) -> str:
    """C, with the round's ``figures`` down to the pot, and the ``trees`` of stakes and check-ins; its text. ``before``:
    that of a C that the books have lost. It is written as it is, where it says the same: packets may follow from it."""
    said = await written(connection, round_.day)
    shards = await rows(connection, "closed_shards", day=round_.day)
    longer = {row["shard"]: row["extended_ms"] for row in await rows(connection, "extended_shards", day=round_.day)}
    closes_ms = windows(round_.day, round_.rules).check_in_closes_ms
    statement = Closed(
        origin=signing.origin,
        round=round_.day.isoformat(),
        opened=said.hash_of("opened"),
        previous=await previous(connection),
        closed_ms=now_ms,
        closes_ms=[closes_ms + longer.get(row["shard"], 0) for row in shards],
        shards=[(row["members"], row["winners"]) for row in shards],
        **figures,
        stakes=trees[0],
        checked_in=trees[1],
    )
    if before is not None:
        lost = parse(before)
        assert isinstance(lost, Closed)
        when = {name: getattr(lost, name) for name in ("origin", "previous", "closed_ms")}
        if msgspec.structs.replace(statement, **when) == lost:
            statement = lost
    return await signing.write(connection, round_.day, statement)


async def write_published(
    signing: Signing, connection: Connection, round_: Recorded, drawn: bytes, packets: Tree, left: dict[str, int]
) -> None:
    """P, with what is ``left`` of the pot. Not shown before the round is settled: it has the seed."""
    said = await written(connection, round_.day)
    statement = Published(
        origin=signing.origin,
        round=round_.day.isoformat(),
        closed=said.hash_of("closed"),
        seed=round_.seed.hex(),
        beacon=round_.draw or NONE,
        drawn=drawn.hex(),
        split=round_.packet_rules.mode,
        packets=packets,
        **left,
    )
    await signing.write(connection, round_.day, statement)


async def write_void(signing: Signing, connection: Connection, round_: Recorded, now_ms: int, reason: str) -> None:
    """V."""
    said = await written(connection, round_.day)
    statement = Void(
        origin=signing.origin,
        round=round_.day.isoformat(),
        opened=said.hash_of("opened"),
        closed=said.hash_of("closed"),
        previous=await previous(connection),
        voided_ms=now_ms,
        reason=reason,
    )
    await signing.write(connection, round_.day, statement)
