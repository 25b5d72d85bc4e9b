"""A round as Postgres has it; the only code that reads its row."""

from datetime import date, datetime
from typing import Any

import msgspec

from clock.books.store import Store
from clock.domain.rounds import Rules, State, Windows, extended, windows
from clock.domain.split import Split


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of ``rounds`` that decide anything; ``winners`` and ``pot_fen`` are 0 until the round is sealed.
    ``salt_key``: None for a round that was opened before there were statements."""

    day: date
    rules: Rules
    state: State
    seed: bytes
    seed_hash: bytes
    salt_key: bytes | None
    drawn: bytes | None
    winners: int
    pot_fen: int
    swept_at: datetime | None
    reminded_at: datetime | None
    tallied_at: datetime | None
    tallied_uid: int
    credited_at: datetime | None
    credited_uid: int
    finished_at: datetime | None

    extended_ms: int

    @property
    def at(self) -> Windows:
        """With the check-in of the shard that closes last."""
        return extended(windows(self.day, self.rules), self.extended_ms)

    @property
    def packet_seed(self) -> bytes:
        """What the packets follow from, once they are split: the seed itself in rounds of earlier versions."""
        return self.drawn or self.seed

    @property
    def packet_rules(self) -> Split:
        """The rules of the split."""
        return Split(
            mode=self.rules.split,
            lucky_count=self.rules.lucky_count,
            lucky_bps=self.rules.lucky_bps,
            packet_cap_fen=self.rules.packet_cap_fen,
        )

    @property
    def shards(self) -> range:
        return range(self.rules.shards)


def recorded(row: dict[str, Any]) -> Recorded:
    """The round in a row of all columns of ``rounds``."""
    return msgspec.convert(row, Recorded)


async def find(store: Store, day: date) -> Recorded | None:
    """The round of a day. Raises :class:`Unavailable`."""
    row = await store.one("get_round", day=day)
    return recorded(row) if row else None
