"""Each rule by itself: an operator breaks one, signs the rest for it, and its sentence is there."""

import re
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from clock import verifier
from clock.verifier import is_first_at
from tests.unit.verifier.forms import RULES, note_of, tree_of, verifier_key
from tests.unit.verifier.stage import DAY, Game, verdict

OPENED = Game().play().texts["opened"]
WINDOWS = OPENED.partition("windows: ")[2].partition("\n")[0]
[CLOSES] = map(int, re.findall(r'"check_in_closes_ms":(\d+)', WINDOWS))
EMPTY = Game(members=((), ()), winners=((), ()), late=())


def closed(**lines: str) -> Game:
    return Game(changes={"closed": lines})


def other_window(name: str, ms: int) -> Game:
    return Game(changes={"opened": {"windows": re.sub(rf'"{name}":\d+', f'"{name}":{ms}', WINDOWS)}})


BROKEN: list[tuple[Game, str]] = [
    (other_window("settle_ms", CLOSES), "windows: O has settle_ms not after check_in_closes_ms"),
    (other_window("join_closes_ms", 5), "windows: O has join_closes_ms not after join_opens_ms"),
    (other_window("claim_closes_ms", 2**59), "windows: O has claim_closes_ms at another instant"),
    (
        Game(longer_ms=(0, 30_000), extensions=({"by_ms": 30_000, "shards": 1},)),
        "closing: Check-in was not longer by whole minutes, 60 at most",
    ),
    (
        Game(longer_ms=(0, 3_660_000), extensions=({"by_ms": 3_660_000, "shards": 1},)),
        "closing: Check-in was not longer by whole minutes, 60 at most",
    ),
    (closed(closes_ms=f"[{CLOSES}]"), "closing: C does not say for each shard when check-in closed"),
    (
        Game(longer_ms=(60_000, 60_000), extensions=({"by_ms": 60_000, "shards": 1},)),
        "closing: Check-in was longer by something else than the extensions that are public",
    ),
    (
        Game(longer_ms=(60_000, 0), extensions=({"by_ms": 60_000, "shards": 1},) * 2),
        "closing: Check-in was longer by something else than the extensions that are public",
    ),
    (closed(shards="[[9,5]]"), "members: The shards of C are not as many as the rules have"),
    (closed(shards="[[2,3],[7,2]]"), "members: The shards of C are not as many as the rules have, or one has more"),
    (closed(shards="[[5,3],[5,2]]"), "members: C has 9 members, and not as many in its shards or leaves"),
    (closed(shards="[[5,3],[4,1]]"), "members: C has 5 winners, and not as many in its shards or leaves"),
    (closed(stakes=tree_of(["a"] * 8)), "members: C has 9 members, and not as many in its shards or leaves"),
    (
        Game(**{**vars(EMPTY), "changes": {"closed": {"stakes": f"0 {'A' * 43}="}}}),
        "members: The tree stakes of C has no leaves, and a root",
    ),
    (closed(late="10", winners="5"), "money: There are more winners or late members than members"),
    (closed(pool_fen="901"), "money: pool is 901 fen, by the rules 900"),
    (closed(bonus_fen="0"), "money: bonus is 0 fen, by the rules 50"),
    (closed(refunded_fen="150", forfeited_fen="250"), "money: refunded is 150 fen, by the rules the stakes of 0 to 2"),
    (
        Game(winners=((), ()), changes={"closed": {"refunded_fen": "800", "forfeited_fen": "100"}}),
        "money: refunded is 800 fen, by the rules the stakes of 9 to 9 members",
    ),
    (
        Game(winners=((), ()), changes={"published": {"bonus_back_fen": "0", "carried_out_fen": "50"}}),
        "packets: P has bonus_back 0 fen, and 50 follow",
    ),
]


@pytest.mark.parametrize(("game", "says"), BROKEN, ids=[says for _, says in BROKEN])
def test_a_rule_that_is_broken_has_its_sentence(game: Game, says: str, tmp_path: Path) -> None:
    wrong = verdict(tmp_path, game.play(), days=1).wrong
    assert [one for one in wrong if one.startswith(says)], wrong


@pytest.mark.parametrize("name", ["seed", "drawn", "seed_hash", "pot", "carried_out", "smallest", "largest", "packets"])
def test_each_public_figure_is_that_of_the_statements(name: str, tmp_path: Path) -> None:
    today = Game().play()
    today.figures["drawn"] = today.texts["published"].partition("drawn: ")[2][:64]
    assert verdict(tmp_path, today, days=1).wrong == []
    value = today.figures[name]
    today.figures[name] = value + 1 if isinstance(value, int) else f"{int(value[0], 16) ^ 1:x}{value[1:]}"
    assert [one for one in verdict(tmp_path, today, days=1).wrong if f"The public {name} " in one]


def test_how_many_packets_there_are_is_in_the_list_too(tmp_path: Path) -> None:
    today = Game().play()
    today.listed["total"] += 1
    assert [one for one in verdict(tmp_path, today, days=1).wrong if one.startswith("list: ")]


def with_check_in_at(at_ms: int) -> tuple[Any, dict[str, Any]]:
    game = Game()
    leaves = game.check_in_leaves(at_ms - 1000)
    today = Game(changes={"closed": {"checked_in": tree_of(leaves)}}).play()
    today.leaves["checked_in"] = leaves
    return today, today.proved("checked_in", 0)


@pytest.mark.parametrize(
    ("at_ms", "fits"),
    [
        (CLOSES - 10_800_000 - 1, False),
        (CLOSES - 10_800_000, True),
        (CLOSES + 4_999, True),
        (CLOSES + 5_000, False),
    ],
)
def test_a_check_in_counts_from_when_it_arrived(at_ms: int, fits: bool, tmp_path: Path) -> None:
    today, held = with_check_in_at(at_ms)
    found = verdict(tmp_path, today, days=1, receipts=[held])
    assert ([one for one in found.wrong if "outside the window" in one] == []) is fits


def test_the_stake_of_a_leaf_is_that_of_the_rules(tmp_path: Path) -> None:
    leaves = [leaf.replace("\n100\n", "\n90\n") for leaf in Game().stake_leaves()]
    today = Game(changes={"closed": {"stakes": tree_of(leaves)}}).play()
    today.leaves["stake"] = leaves
    wrong = verdict(tmp_path, today, days=1, receipts=[today.proved("stake", 0)]).wrong
    assert [one for one in wrong if one.endswith("90 fen is not the stake of the rules")] == wrong != []


def test_a_leaf_of_another_shard_has_another_place(tmp_path: Path) -> None:
    today = Game(changes={"closed": {"shards": "[[4,3],[5,2]]"}}).play()
    wrong = verdict(tmp_path, today, days=1, receipts=[today.proved("stake", 4)]).wrong
    assert [one for one in wrong if "is not at the place of its shard and rank" in one]


def test_a_key_signs_for_its_own_name_alone(tmp_path: Path) -> None:
    """A note by the key of another game of the same house."""
    today, name = Game().play(), "play.example.com/other"
    today.proof["statements"]["opened"] = note_of(today.texts["opened"], name=name)
    keys = [verifier_key(), verifier_key(name=name)]
    wrong = verdict(tmp_path, today, days=1, keys=keys).wrong
    assert wrong == [f"signed: O of {DAY} is not signed by a known key of its origin"]


def test_one_of_several_keys_is_enough_and_each_that_is_known_must_fit(tmp_path: Path) -> None:
    today = Game().play()
    note = today.proof["statements"]["opened"]
    other = note_of(today.texts["closed"], name="a.witness").splitlines(keepends=True)[-1]
    today.proof["statements"]["opened"] = note + other
    assert verdict(tmp_path, today, days=1).wrong == []
    wrong = verdict(tmp_path, today, days=1, keys=[verifier_key(name="a.witness")]).wrong
    assert f"signed: O of {DAY} is not signed by a known key of its origin" in wrong
    doubled = note_of(today.texts["closed"]).splitlines(keepends=True)[-1]
    today.proof["statements"]["opened"] = note + doubled
    assert "does not fit the text" in verdict(tmp_path, today, days=1).wrong[0]


def test_base64_has_one_spelling(tmp_path: Path) -> None:
    """The last letter has bits that say nothing."""
    today = Game().play()
    note = today.proof["statements"]["opened"]
    assert note.endswith("=\n")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(note[-3]) | 1]
    assert other != note[-3]
    today.proof["statements"]["opened"] = f"{note[:-3]}{other}=\n"
    assert "is not base64 in its canonical form" in verdict(tmp_path, today, days=1).wrong[0]


@pytest.mark.parametrize("letter", ["\0", "\t", "\r", "\x1b", "\x1f"])
def test_a_note_has_no_control_characters(letter: str, tmp_path: Path) -> None:
    game = Game(voided=True, changes={"void": {"reason": f'"{letter}"'}})
    wrong = verdict(tmp_path, game.play(), days=1).wrong
    says = f"signed: V of {DAY} is refused: it is not a text, an empty line and lines of signatures"
    assert says in wrong


@pytest.mark.parametrize(
    "text", ["", "1.0", "NaN", "01", '{"a":1,"a":1}', "[1, 2]", '"\\u4e00"', "[" * 9999, "9" * 9999]
)
def test_what_is_no_canonical_json_is_refused(text: str, tmp_path: Path) -> None:
    game = Game(voided=True, changes={"void": {"reason": text}})
    assert [one for one in verdict(tmp_path, game.play(), days=1).wrong if "in its canonical form" in one]


def test_more_winners_than_can_be_computed_are_not_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "MOST_WINNERS", 4)
    found = verdict(tmp_path, Game().play(), days=1)
    assert (found.status, found.wrong) == (2, [])
    assert "packets: 5 packets are more than this program computes" in found.said("not proved")


def test_a_zone_that_is_not_known_is_not_proved(tmp_path: Path) -> None:
    rules = {**RULES, "timezone": "Asia/Shanghai"}
    opened = OPENED.replace('"timezone":"Asia/Shanghai"', '"timezone":"Mars/Olympus"')
    game = Game(rules=rules, changes={"opened": {"rules": opened.partition("rules: ")[2].partition("\n")[0]}})
    found = verdict(tmp_path, game.play(), days=1)
    assert "windows: The times of day: this computer has no time zone Mars/Olympus" in found.said("not proved")


@pytest.mark.parametrize(
    ("at_ms", "day", "time", "first"),
    [
        (1_792_888_200_000, "2026-10-25", "02:30", True),  # the clock shows it twice
        (1_792_891_800_000, "2026-10-25", "02:30", False),
        (1_774_746_000_000, "2026-03-29", "02:30", True),  # the clock leaps from 2 to 3
        (1_774_746_000_001, "2026-03-29", "02:30", False),
        (1_774_745_999_999, "2026-03-29", "02:30", False),
        (1_774_738_800_000, "2026-03-28", "24:00", True),
        (1_774_738_800_000, "2026-03-29", "00:00", True),
    ],
)
def test_an_instant_is_the_first_at_which_the_clock_shows_the_time(
    at_ms: int, day: str, time: str, first: bool
) -> None:
    assert is_first_at(at_ms, date.fromisoformat(day), time, ZoneInfo("Europe/Berlin")) is first


@pytest.mark.parametrize(
    "more", ["remark", "\n", f"— a.witness {'A' * 8}\n" * 100, "— a.witness AAAA\n", "- a.b AAAAAAAA\n"]
)
def test_nothing_but_signatures_follows_the_text(more: str, tmp_path: Path) -> None:
    today = Game().play()
    today.proof["statements"]["opened"] += more
    [wrong] = [one for one in verdict(tmp_path, today, days=1).wrong if one.startswith("signed: ")]
    assert f"O of {DAY} is refused" in wrong
