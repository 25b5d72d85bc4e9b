"""Which draw a round has, and until when it counts, to the millisecond."""

import msgspec
import pytest

from clock.beacon.chain import QUICKNET
from clock.beacon.rule import EQUAL, Draw, Standing, draw_of, standing

SETTLE_MS = 1_764_201_900_000
"""2025-11-27, 08:05 in Shanghai."""


def test_a_rounds_draw_is_the_first_one_from_two_minutes_before_its_settlement() -> None:
    draw = draw_of(QUICKNET, SETTLE_MS)
    assert draw == Draw(QUICKNET, 23_799_472)
    assert draw.instant_ms == SETTLE_MS - 120_000
    assert draw.deadline_ms == SETTLE_MS - 120_000 + 30 * 60_000


@pytest.mark.parametrize(
    "later_ms, further", [(-3_000, -1), (-2_999, 0), (-1, 0), (0, 0), (1, 1), (3_000, 1), (3_001, 2)]
)
def test_it_is_never_earlier_than_that(later_ms: int, further: int) -> None:
    draw = draw_of(QUICKNET, SETTLE_MS + later_ms)
    assert draw.number == draw_of(QUICKNET, SETTLE_MS).number + further
    assert 0 <= draw.instant_ms - (SETTLE_MS + later_ms - 120_000) < 3_000


def test_a_chain_with_slow_draws_has_one_after_the_settlement() -> None:
    slow = msgspec.structs.replace(QUICKNET, period_s=600)
    draw = draw_of(slow, SETTLE_MS)
    assert SETTLE_MS - 120_000 <= draw.instant_ms < SETTLE_MS + 480_000


DRAW = draw_of(QUICKNET, SETTLE_MS)
OUT_MS, OVER_MS = DRAW.instant_ms, DRAW.instant_ms + 1_800_000


@pytest.mark.parametrize(
    "closed_ms, now_ms, expected",
    [
        (None, OUT_MS - 1, "awaited"),
        (None, OUT_MS, "closed_late"),
        (None, OVER_MS, "closed_late"),
        (OUT_MS - 1, OUT_MS - 1, "awaited"),
        (OUT_MS - 1, OUT_MS, "out"),
        (OUT_MS - 1, OVER_MS - 1, "out"),
        (OUT_MS - 1, OVER_MS, "missing"),
        (OUT_MS - 1, OVER_MS + 86_400_000, "missing"),
        (OUT_MS, OUT_MS, "closed_late"),
        (OUT_MS, OVER_MS, "closed_late"),
    ],
)
def test_a_round_stands_with_its_draw(closed_ms: int | None, now_ms: int, expected: Standing) -> None:
    found = standing(DRAW.instant_ms, closed_ms, now_ms)
    assert found == expected
    assert (found in EQUAL) == (expected in ("closed_late", "missing"))
