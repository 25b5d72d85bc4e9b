"""The same for ever: rounds that were published stay verifiable."""

import hashlib

import pytest

from clock.domain.split import Split, split
from tests.unit.split.stage import COUNTING, HASHED, ZERO

FROZEN: list[tuple[bytes, int, int, Split, list[int], int]] = [
    (ZERO, 10_000, 10, Split(), [1153, 861, 1645, 254, 936, 698, 1382, 420, 1645, 1006], 0),
    (COUNTING, 10_000, 10, Split(), [1514, 1837, 477, 256, 179, 52, 2118, 706, 1790, 1071], 0),
    (HASHED, 10**15, 3, Split(), [200227172323880, 306780906899337, 492991920776783], 0),
    (HASHED, 12, 10, Split(), [1, 2, 1, 2, 1, 1, 1, 1, 1, 1], 0),
    (COUNTING, 7, 10, Split(), [0, 1, 1, 1, 0, 1, 1, 1, 1, 0], 0),
    (HASHED, 1_000, 1, Split(), [1000], 0),
    (ZERO, 0, 3, Split(), [0, 0, 0], 0),
    (ZERO, 77, 0, Split(), [], 77),
    (ZERO, 1_003, 7, Split(mode="equal"), [143, 144, 143, 143, 144, 143, 143], 0),
    (HASHED, 1_003, 7, Split(lucky_count=2, lucky_bps=1_001), [319, 186, 53, 4, 56, 241, 144], 0),
    (
        HASHED,
        1_003,
        7,
        Split(mode="equal", lucky_count=3, lucky_bps=2_500),
        [108, 108, 108, 190, 190, 191, 108],
        0,
    ),
    (COUNTING, 5_000, 8, Split(packet_cap_fen=700), [700, 453, 461, 700, 700, 586, 700, 700], 0),
    (ZERO, 5_000, 8, Split(packet_cap_fen=600), [600] * 8, 200),
    (
        HASHED,
        5_003,
        8,
        Split(lucky_count=2, lucky_bps=3_000, packet_cap_fen=900),
        [402, 222, 900, 900, 375, 561, 743, 900],
        0,
    ),
    (
        HASHED,
        5_003,
        8,
        Split(mode="equal", lucky_count=2, lucky_bps=3_000, packet_cap_fen=900),
        [534, 534, 534, 534, 900, 900, 533, 534],
        0,
    ),
]

FROZEN_HASHES = [
    (Split(), "63d17de23ba188eadbb586d065ee6857c551d956179bd4cee3360d30b1d18538"),
    (Split(mode="equal"), "0992f7485aab15e2cef81e844571cae3338ddc5c498a4bd7f2328360c2e89cc2"),
    (
        Split(lucky_count=100, lucky_bps=500, packet_cap_fen=1_500),
        "4d7b067943a308196ace2123636830f6f580e80c008880a10941260b2bb211b1",
    ),
]
"""SHA-256 of the packets joined by commas; 50,000,003 fen, 50,000 winners, the seed HASHED."""


@pytest.mark.parametrize(("seed", "pot", "winners", "rules", "packets", "carried"), FROZEN, ids=range(len(FROZEN)))
def test_published_rounds_stay_verifiable(
    seed: bytes, pot: int, winners: int, rules: Split, packets: list[int], carried: int
) -> None:
    result = split(seed, pot, winners, rules)
    assert (list(result.packets_fen), result.carried_fen) == (packets, carried)


@pytest.mark.parametrize(("rules", "digest"), FROZEN_HASHES, ids=["random", "equal", "all"])
def test_published_large_rounds_stay_verifiable(rules: Split, digest: str) -> None:
    packets = split(HASHED, 50_000_003, 50_000, rules).packets_fen
    assert hashlib.sha256(",".join(map(str, packets)).encode()).hexdigest() == digest
