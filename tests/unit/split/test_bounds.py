"""What must hold for every round: exact and bounded."""

from collections import Counter
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from clock.domain.split import Split, _draw, _words, split
from tests.unit.split.stage import MODES, Mode, Round, rounds, seed_number


def plain(seed: bytes, pot: int, winners: int) -> list[int]:
    return list(split(seed, pot, winners, Split()).packets_fen)


# --- what must hold for every round


@given(rounds())
@settings(deadline=None, max_examples=400)
def test_packets_and_carried_add_up_to_the_pot_within_bounds(round_: Round) -> None:
    seed, pot, winners, rules = round_
    result = split(seed, pot, winners, rules)
    cap = rules.packet_cap_fen
    assert len(result.packets_fen) == winners
    assert sum(result.packets_fen) + result.carried_fen == pot
    assert all(0 <= packet <= (cap or pot) for packet in result.packets_fen)


@given(rounds(min_winners=1))
@settings(deadline=None)
def test_fen_are_carried_only_when_every_packet_is_at_the_cap(round_: Round) -> None:
    _, pot, winners, rules = round_
    result = split(*round_)
    cap = rules.packet_cap_fen
    assert result.carried_fen == (max(0, pot - cap * winners) if cap else 0)


@given(rounds())
@settings(deadline=None)
def test_the_same_arguments_give_the_same_packets(round_: Round) -> None:
    assert split(*round_) == split(*round_)


def test_another_seed_gives_other_packets() -> None:
    assert len({tuple(plain(seed_number(i), 10**6, 20)) for i in range(100)}) == 100


@given(rounds(mode="random", min_winners=1))
@settings(deadline=None)
def test_random_gives_everybody_a_fen_while_the_pot_allows_it(round_: Round) -> None:
    seed, pot, winners, rules = round_
    packets = split(seed, pot, winners, Split(packet_cap_fen=rules.packet_cap_fen)).packets_fen
    if pot >= winners:
        assert min(packets) >= 1
    else:
        assert sorted(packets) == [0] * (winners - pot) + [1] * pot


@given(st.binary(min_size=32, max_size=32), st.integers(0, 10**15), st.integers(1, 3_000))
@settings(deadline=None)
def test_equal_packets_differ_by_at_most_a_fen(seed: bytes, pot: int, winners: int) -> None:
    packets = split(seed, pot, winners, Split(mode="equal")).packets_fen
    mean, odd = divmod(pot, winners)
    assert Counter(packets) == +Counter({mean: winners - odd, mean + 1: odd})


@given(st.binary(min_size=32, max_size=32), st.integers(0, 10**15), st.sampled_from(MODES))
@settings(deadline=None)
def test_one_winner_takes_the_pot(seed: bytes, pot: int, mode: Mode) -> None:
    assert list(split(seed, pot, 1, Split(mode=mode)).packets_fen) == [pot]
    lucky = Split(mode=mode, lucky_count=3, lucky_bps=777)
    assert list(split(seed, pot, 1, lucky).packets_fen) == [pot]


@given(rounds())
@settings(deadline=None)
def test_without_winners_everything_is_carried(round_: Round) -> None:
    seed, pot, _, rules = round_
    result = split(seed, pot, 0, rules)
    assert (list(result.packets_fen), result.carried_fen) == ([], pot)


@given(rounds(min_winners=1))
@settings(deadline=None)
def test_an_empty_pot_gives_empty_packets(round_: Round) -> None:
    seed, _, winners, rules = round_
    result = split(seed, 0, winners, rules)
    assert (list(result.packets_fen), result.carried_fen) == ([0] * winners, 0)


@given(rounds(mode="equal", min_winners=1))
@settings(deadline=None)
def test_lucky_winners_get_their_part_on_top(round_: Round) -> None:
    seed, pot, winners, rules = round_
    result = split(seed, pot, winners, Split(mode="equal", lucky_count=2, lucky_bps=rules.lucky_bps))
    lucky = min(2, winners)
    part = pot * rules.lucky_bps // 10_000 // lucky
    mean, odd = divmod(pot - lucky * part, winners)
    expected = [mean + (place >= winners - odd) + part * (place < lucky) for place in range(winners)]
    assert sorted(result.packets_fen) == sorted(expected)


@given(rounds(min_winners=1))
@settings(deadline=None)
def test_a_cap_lowers_nobody_below_it_and_gives_all_others_the_same_or_their_headroom(round_: Round) -> None:
    seed, pot, winners, rules = round_
    cap = rules.packet_cap_fen
    uncapped = Split(mode=rules.mode, lucky_count=rules.lucky_count, lucky_bps=rules.lucky_bps)
    before = sorted(split(seed, pot, winners, uncapped).packets_fen, reverse=True)
    after = sorted(split(seed, pot, winners, rules).packets_fen, reverse=True)
    if not cap:
        assert after == before
        return
    gains = [new - old for old, new in zip(before, after, strict=True) if old < cap and new < cap]
    assert all(new >= min(old, cap) for old, new in zip(before, after, strict=True))
    assert not gains or max(gains) - min(gains) <= 1


# --- the double mean


@given(st.binary(min_size=32, max_size=32), st.integers(2, 400), st.integers(0, 10**15))
@settings(deadline=None)
def test_each_packet_is_drawn_below_twice_the_mean_of_what_is_left(seed: bytes, winners: int, more: int) -> None:
    pot_left = winners + more
    drawn = _draw(pot_left, winners, iter(_words(seed, winners - 1)))
    for left, packet in zip(range(winners, 1, -1), drawn, strict=False):
        assert packet < 2 * Fraction(pot_left, left)
        pot_left -= packet
    assert drawn[-1] == pot_left


def test_a_packet_reaches_both_ends_of_its_range() -> None:
    """Two winners and 5 fen: an extra of 0, 1, 2 or 3 for the first, so 1 to 4 fen for either."""
    counts = Counter(plain(seed_number(i), 5, 2)[0] for i in range(2_000))
    assert set(counts) == {1, 2, 3, 4}
    assert all(abs(count - 500) < 5 * 20 for count in counts.values())
