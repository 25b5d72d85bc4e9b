"""A place in the list is worth nothing, and every order is equally likely."""

from collections import Counter
from statistics import fmean, pstdev

import pytest

from clock.domain.split import Split, split
from tests.unit.split.stage import seed_number


@pytest.mark.parametrize(
    "rules",
    [
        Split(),
        Split(packet_cap_fen=1_300),
        Split(lucky_count=2, lucky_bps=3_000),
        Split(mode="equal", lucky_count=3, lucky_bps=2_000, packet_cap_fen=1_300),
    ],
    ids=["random", "capped", "lucky", "equal"],
)
def test_a_place_in_the_list_is_worth_nothing(rules: Split) -> None:
    """Ten winners, 100 yuan, 10,000 seeds: mean and spread are the same at every place.

    Without the shuffle the spread of ``random`` goes from 5.8 to 7.7 yuan along the list.
    """
    trials, winners = 10_000, 10
    lists = [split(seed_number(i), 10_003, winners, rules).packets_fen for i in range(trials)]
    places = list(zip(*lists, strict=True))
    spread = pstdev(packet for packets in lists for packet in packets)
    for packets in places:
        assert abs(fmean(packets) - 1_000.3) < 4.5 * spread / trials**0.5
        assert abs(pstdev(packets) / spread - 1) < 0.045


def test_every_order_is_equally_likely() -> None:
    """One lucky, one odd fen, two alike: twelve orders."""
    rules = Split(mode="equal", lucky_count=1, lucky_bps=1_000)
    counts = Counter(tuple(split(seed_number(i), 1_005, 4, rules).packets_fen) for i in range(12_000))
    assert len(counts) == 12
    assert set(map(tuple, map(sorted, counts))) == {(226, 226, 227, 326)}
    assert all(abs(count - 1_000) < 5 * 30.3 for count in counts.values())
