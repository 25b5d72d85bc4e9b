"""The split: exact, bounded, fair, the same for ever, and the same as ``docs/split.md`` says."""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import clock.domain.split
from clock.domain.split import Packets, Split, _draw, _words, fee, split

DOC = Path(__file__).parents[2] / "docs" / "split.md"

ZERO = bytes(32)
COUNTING = bytes(range(32))
HASHED = hashlib.sha256(b"clock").digest()

Mode = Literal["random", "equal"]
MODES: list[Mode] = ["random", "equal"]
Round = tuple[bytes, int, int, Split]
"""Seed, pot in fen, number of winners, rules."""

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


@st.composite
def rounds(draw: st.DrawFn, mode: Mode | None = None, min_winners: int = 0) -> Round:
    """Rounds of every shape; the cap lies near the mean, where it bites."""
    pot = draw(st.one_of(st.integers(0, 60), st.integers(0, 10**6), st.integers(0, 10**15)))
    winners = draw(
        st.one_of(st.integers(min_winners, 6), st.integers(min_winners, 80), st.integers(min_winners, 3_000))
    )
    mean = pot // max(winners, 1)
    rules = Split(
        mode=draw(st.sampled_from(MODES)) if mode is None else mode,
        lucky_count=draw(st.one_of(st.just(0), st.integers(0, 10), st.integers(0, 4_000))),
        lucky_bps=draw(st.one_of(st.just(0), st.just(10_000), st.integers(0, 10_000))),
        packet_cap_fen=draw(st.one_of(st.just(0), st.integers(1, 3 * mean + 3))),
    )
    return draw(st.binary(min_size=32, max_size=32)), pot, winners, rules


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


# --- fairness


def seed_number(i: int) -> bytes:
    return hashlib.sha256(b"fair %d" % i).digest()


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


# --- the same for ever


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


# --- docs/split.md


def naive(seed: bytes, pot: int, winners: int, rules: Split) -> dict[str, list[int]]:
    """Every step of ``docs/split.md``, written from its sentences, slowly; the names are its table's."""
    random = rules.mode == "random"
    steps: dict[str, list[int]] = {"words": [], "extra drawn": [], "swapped": []}

    def draws() -> Iterator[int]:
        taken = 0
        while True:
            taken += 1
            output = hashlib.shake_256(b"clock/split/v1" + seed).digest(8 * taken)
            yield int.from_bytes(output[-8:], "little")

    stream = draws()

    def draw(below: int) -> int:
        word = next(stream)
        steps["words"].append(word)
        return word * below // 2**64

    lucky = [0] * winners
    count = min(rules.lucky_count, winners)
    for place in range(count):
        lucky[place] = pot * rules.lucky_bps // 10_000 // count
    rest = pot - sum(lucky)
    steps["rest"] = [rest]

    packets: list[int] = []
    if random and rest >= winners > 0:
        extra = rest - winners
        while len(packets) < winners - 1:
            part = draw(2 * extra // (winners - len(packets)) + 1)
            steps["extra drawn"].append(part)
            packets.append(1 + part)
            extra -= part
        packets.append(1 + extra)
    elif winners:
        packets = [rest // winners] * winners
        for place in range(rest % winners):
            packets[winners - 1 - place] += 1
    steps["packets"] = list(packets)

    packets = [packet + part for packet, part in zip(packets, lucky, strict=True)]
    steps["with the lucky"] = list(packets)

    if rules.packet_cap_fen:
        packets = sorted(packets)[::-1]
        cut = [min(packet, rules.packet_cap_fen) for packet in packets]
        excess = sum(packets) - sum(cut)
        packets = []
        for packet in cut:
            more = min(rules.packet_cap_fen - packet, excess // (winners - len(packets)))
            packets.append(packet + more)
            excess -= more
    steps["under the cap"] = list(packets)

    for i in reversed(range(1, winners)):
        j = draw(i + 1)
        steps["swapped"].append(j)
        packets[i], packets[j] = packets[j], packets[i]
    steps["list"] = packets
    steps["carried"] = [pot - sum(packets)]
    return steps


def documented_program() -> Callable[..., tuple[list[int], int]]:
    found = re.search(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(found[1], names)  # the page's own program is what is tested
    program: Callable[..., tuple[list[int], int]] = names["split"]
    return program


program = documented_program()


def as_pair(result: Packets) -> tuple[list[int], int]:
    return list(result.packets_fen), result.carried_fen


@given(rounds())
@settings(deadline=None, max_examples=400)
@example((ZERO, 10**15, 3_000, Split(packet_cap_fen=10**12 // 3)))
def test_the_documented_program_agrees(round_: Round) -> None:
    seed, pot, winners, rules = round_
    documented = program(seed, pot, winners, rules.mode, rules.lucky_count, rules.lucky_bps, rules.packet_cap_fen)
    assert as_pair(split(*round_)) == documented


@given(rounds().filter(lambda round_: round_[2] <= 80))
@settings(deadline=None, max_examples=200)
def test_the_documented_sentences_agree(round_: Round) -> None:
    steps = naive(*round_)
    assert as_pair(split(*round_)) == (steps["list"], steps["carried"][0])


def test_the_documented_example_is_right() -> None:
    text = DOC.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([a-z].*?) \| ([\d, ]+) \|$", text, re.MULTILINE))
    assert len(rows) == 9
    steps = naive(COUNTING, 1_000, 4, Split(mode="random", lucky_count=1, lucky_bps=1_000, packet_cap_fen=400))
    for title, numbers in rows.items():
        name = "swapped" if "swapped" in title else title
        [step] = [step for step in steps if name.startswith(step)]
        assert [int(number) for number in numbers.split(",")] == steps[step], title
    assert "below 449, 560 and 717" in text


# --- the fee, and the module itself


@given(st.integers(0, 10**15), st.integers(0, 10_000))
@settings(deadline=None)
def test_the_fee_is_rounded_down(forfeited: int, bps: int) -> None:
    exact = Fraction(forfeited * bps, 10_000)
    assert 0 <= exact - fee(forfeited, bps) < 1


def test_the_fee_by_example() -> None:
    assert [fee(0, 500), fee(199, 0), fee(199, 100), fee(200, 100), fee(12_345, 10_000)] == [
        0,
        0,
        1,
        2,
        12_345,
    ]


@pytest.mark.parametrize(
    ("seed", "pot", "winners", "rules"),
    [
        (bytes(31), 1, 1, Split()),
        (ZERO, -1, 0, Split()),
        (ZERO, 2**63, 1, Split()),
        (ZERO, 1, -1, Split()),
        (ZERO, 1, 1, Split(mode="even")),  # type: ignore[arg-type]
        (ZERO, 1, 1, Split(lucky_count=-1)),
        (ZERO, 1, 1, Split(lucky_bps=10_001)),
        (ZERO, 1, 0, Split(packet_cap_fen=-1)),
    ],
    ids=["seed", "pot", "large pot", "winners", "mode", "lucky count", "lucky bps", "cap"],
)
def test_arguments_that_make_no_sense_are_refused(seed: bytes, pot: int, winners: int, rules: Split) -> None:
    with pytest.raises(AssertionError):
        split(seed, pot, winners, rules)


def test_no_float_ever_touches_money() -> None:
    source = Path(clock.domain.split.__file__).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, ast.Div)
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        assert not (isinstance(node, ast.Name) and node.id in ("float", "round"))
