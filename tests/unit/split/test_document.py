"""The split is what ``docs/split.md`` says: its program, its sentences, its example."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings

from clock.domain.split import Packets, Split, split
from tests.unit.split.stage import COUNTING, ZERO, Round, rounds

DOC = Path(__file__).parents[3] / "docs" / "split.md"


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
