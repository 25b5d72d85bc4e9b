"""The rule of the draw (RULES.md, *A draw that nobody can steer*): which draw a round has, and until when it counts.

All times are in ms of the game's clock. Windows are half open: their first millisecond is in, their last is out.
"""

from typing import Literal

import msgspec

from clock.beacon.chain import Chain

LEAD_MS = 120_000
"""A round's draw is the first one from so long before its settlement is due."""

PATIENCE_MS = 1_800_000
"""So long from its instant on the draw is waited for."""

Standing = Literal["awaited", "out", "closed_late", "missing"]
"""``awaited``: not out yet. ``out``: relays are asked for it. ``closed_late``: the statement of the closed round was
not there before the draw was out. ``missing``: it could not be had in time."""

EQUAL: frozenset[Standing] = frozenset({"closed_late", "missing"})
"""The round is split ``equal``, and says so: waiting can win nothing."""


class Draw(msgspec.Struct, frozen=True):
    """A draw, out or not."""

    chain: Chain
    number: int

    @property
    def instant_ms(self) -> int:
        """When it is out. From here on nobody may close or void its round."""
        return self.chain.instant_ms(self.number)

    @property
    def deadline_ms(self) -> int:
        """The first millisecond at which it is missing."""
        return self.instant_ms + PATIENCE_MS


def draw_of(chain: Chain, settle_ms: int) -> Draw:
    """The draw of a round whose settlement is due at this instant."""
    return Draw(chain, chain.first(settle_ms - LEAD_MS))


def standing(instant_ms: int, closed_ms: int | None, now_ms: int) -> Standing:
    """How a round stands with a draw of this instant, which it does not have yet. ``closed_ms``: when the statement of
    the closed round was published; None: it was not."""
    if (now_ms if closed_ms is None else closed_ms) >= instant_ms:
        return "closed_late"
    if now_ms < instant_ms:
        return "awaited"
    return "out" if now_ms < instant_ms + PATIENCE_MS else "missing"
