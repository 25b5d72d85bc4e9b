"""An honest operator: nothing is wrong, and what is not proved is said."""

from pathlib import Path

import pytest

from tests.unit.verifier.forms import OWN, RULES, before, verifier_key
from tests.unit.verifier.stage import DAY, Game, two_days, verdict

LIMITS = ["beacon", "witnesses"]


def checks_of(sentences: list[str]) -> list[str]:
    return [sentence.partition(":")[0] for sentence in sentences]


def test_a_round_with_the_one_before_it_receipts_and_what_was_seen(tmp_path: Path) -> None:
    today, yesterday = two_days()
    receipts = [today.proved(kind, index) for kind in today.leaves for index in range(len(today.leaves[kind]))]
    seen = [today.proof["statements"]["opened"], today.answers[f"/api/rounds/{DAY}/proof"]]
    found = verdict(tmp_path, today, yesterday, seen=seen, receipts=receipts)
    assert (found.status, found.wrong) == (0, [])
    assert checks_of(found.said("not proved")) == LIMITS
    expected = {"signed", "statements", "linked", "chain", "windows", "closing", "members", "carried", "money", "seed"}
    expected |= {"drawn", "packets", "figures", "list", "seen", "receipt", "keys"}
    assert {*checks_of(found.said("yes"))} == expected
    assert len([one for one in found.said("yes") if one.startswith("receipt")]) == len(receipts) == 9 + 5 + 5
    assert f"; its packet has {today.packets[1]} fen" in "".join(found.said("yes"))


def test_without_keys_and_the_day_before_that_is_said(tmp_path: Path) -> None:
    game = Game(previous="11" * 32)
    found = verdict(tmp_path, game.play(), keys=[], days=1)
    assert (found.status, found.wrong) == (0, [])
    assert checks_of(found.said("not proved")) == ["chain", "carried", *LIMITS, "keys"]


@pytest.mark.parametrize(
    "game",
    [
        Game(winners=((), ())),
        Game(winners=((), ()), rules={**RULES, "nobody": "carry"}),
        Game(members=((), ()), winners=((), ()), late=()),
        Game(members=((1,), ()), winners=((1,), ()), late=()),
        Game(rules={**RULES, "split": "equal", "lucky_count": 0}),
        Game(rules={**RULES, "packet_cap_fen": 30, "fee_bps": 0, "bonus_fen": 0, "campaign": None}),
        Game(rules={**RULES, "stake_fen": 0, "bonus_fen": 0}),
        Game(rules={**RULES, "campaign": {"zh": "\x7f\x85\u2028", "en": '"\\'}}),
        Game(rules={**RULES, "timezone": "Europe/Berlin"}, day="2026-03-28"),
        Game(rules={**RULES, "shards": 1}, members=((1, 2),), winners=((2,),), late=(), longer_ms=(0,)),
        Game(longer_ms=(0, 120_000), extensions=({"by_ms": 120_000, "shards": 1},)),
        Game(
            longer_ms=(180_000, 120_000), extensions=({"by_ms": 120_000, "shards": 2}, {"by_ms": 60_000, "shards": 1})
        ),
        Game(voided=True),
        Game(voided=True, closed=False),
    ],
)
def test_every_kind_of_round(game: Game, tmp_path: Path) -> None:
    found = verdict(tmp_path, game.play(), days=1)
    assert (found.status, found.wrong) == (0, [])


def test_a_round_that_has_not_ended_is_not_proved_yet(tmp_path: Path) -> None:
    found = verdict(tmp_path, Game(closed=False).play(), days=1)
    assert (found.status, found.wrong) == (2, [])
    assert f"statements: What follows from the end of {DAY}: it is checking_in" in found.said("not proved")
    assert {"signed", "windows", "figures"} <= {*checks_of(found.said("yes"))}


def test_a_round_older_than_statements_follows_from_its_seed(tmp_path: Path) -> None:
    old = Game(split_with=lambda drawn: Game.seed).play()
    old.proof["statements"] = dict.fromkeys(old.proof["statements"])
    found = verdict(tmp_path, old, days=1)
    assert (found.status, found.wrong) == (2, [])
    says = f"statements: That {DAY} is a round without statements: they are withheld, or it is older than they are"
    assert says in found.said("not proved")
    assert {"money", "seed", "packets", "list"} <= {*checks_of(found.said("yes"))}
    old.answers[f"/api/rounds/{DAY}/proof"] = {"status": 0, "code": "not_found", "message": "", "data": {}}
    assert verdict(tmp_path, old, days=1).status == 2


def test_an_archived_list_follows_from_the_seed(tmp_path: Path) -> None:
    today = Game().play()
    today.answers[f"/api/rounds/{DAY}/packets?page=1&limit=10000"] = {"status": 0, "code": "archived", "data": {}}
    found = verdict(tmp_path, today, days=1)
    assert (found.status, found.wrong) == (0, [])
    assert "list: The list of packets: it is archived" in found.said("not proved")


def test_what_a_void_round_carried_in_goes_to_the_next(tmp_path: Path) -> None:
    first = Game(day=before(DAY, 2), rules={**RULES, "packet_cap_fen": 60}).play()
    called_off = Game(day=before(DAY), previous=first.last_hash, voided=True, beacon=OWN).play()
    today = Game(previous=called_off.last_hash, carried_in_fen=first.carried_out_fen).play()
    found = verdict(tmp_path, today, called_off, first, days=3)
    assert (found.status, found.wrong) == (0, [])
    assert f"carried: {first.carried_out_fen} fen were carried in, as {first.day} carried out" in found.said("yes")
    assert "chain: C and V are one chain of 4: each has the hash of the one before it" in found.said("yes")


def test_a_key_that_is_not_trusted_signs_nothing(tmp_path: Path) -> None:
    other = verifier_key(name="play.example.com/other")
    found = verdict(tmp_path, Game().play(), keys=[other], days=1)
    assert found.status == 1
    assert f"signed: O of {DAY} is not signed by a known key of its origin" in found.wrong


def test_a_chain_with_a_gap_is_not_proved(tmp_path: Path) -> None:
    today, yesterday = two_days(previous="11" * 32)
    found = verdict(tmp_path, today, yesterday)
    assert (found.status, found.wrong) == (2, [])
    says = f"chain: C of {DAY} follows a statement that is none of those given: give more days"
    assert says in found.said("not proved")
    yesterday.proof["statements"] = dict.fromkeys(yesterday.proof["statements"])
    found = verdict(tmp_path, today, yesterday)
    assert (found.status, found.wrong) == (2, [])
    assert f"chain: What C of {DAY} follows is not among what is given" in found.said("not proved")
