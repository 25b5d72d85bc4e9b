"""A round as Postgres has it; the only code that reads its row."""

from datetime import date, datetime
from typing import Any

import msgspec

from clock.books.store import Store
from clock.domain.rounds import UNSEALED_STATES, WAIT_CAP_MS, Rules, State, Windows, extended, windows
from clock.domain.split import Split
from clock.fair.statements import FAILED


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of ``rounds`` that decide anything; ``winners`` and ``pot_fen`` are 0 until the round is sealed.
    ``salt_key``: None for a round that was opened before there were statements. ``draw_ms``: when its beacon's draw is
    out; None: O promises none. ``draw``: what was decided about it, once, as P says it: the signature, ``missing`` or
    ``late``; None: nothing yet."""

    day: date
    rules: Rules
    state: State
    seed: bytes
    seed_hash: bytes
    salt_key: bytes | None
    drawn: bytes | None
    draw_ms: int | None
    draw: str | None
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
    def ends_ms(self) -> int:
        """When there is something to settle. With a beacon the shards are closed as soon as check-in has, so that the
        closed round is stated before its draw is out; without one not before settlement is due."""
        return self.at.settle_ms if self.draw_ms is None else self.at.check_in_closes_ms + WAIT_CAP_MS

    @property
    def is_equal(self) -> bool:
        """Whether it is split equal because the draw that was promised could not be mixed in."""
        return self.draw in FAILED

    def can_be_void(self, now_ms: int) -> bool:
        """Whether calling it off would begin now, or goes on: what the query ``start_voiding`` decides."""
        if self.draw_ms is not None and self.state != "voiding":
            return self.state in ("open", "closed", "sealed") and now_ms < self.draw_ms and self.draw is None
        return self.state in UNSEALED_STATES or (self.state in ("sealed", "split") and self.salt_key is None)

    @property
    def packet_seed(self) -> bytes:
        """What the packets follow from, once they are split: the seed itself in rounds of earlier versions."""
        return self.drawn or self.seed

    @property
    def packet_rules(self) -> Split:
        """The rules of the split: where the draw failed, waiting for a better one has to win nothing."""
        if self.is_equal:
            return Split(mode="equal", packet_cap_fen=self.rules.packet_cap_fen)
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
