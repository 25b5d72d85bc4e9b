"""What the service has signed: receipts, the log, and what witnesses saw of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clock import verifier
from tests.unit.verifier.forms import (
    OWN,
    asked,
    before,
    cosignature_line,
    envelope,
    number_of,
    out_ms,
    signature_line,
    verifier_key,
    written,
)
from tests.unit.verifier.stage import DAY, Game, bundle, two_days, verdict
from tests.unit.verifier.witnessed import WITNESS, Log

HONEST = Game(beacon=OWN)
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
BY = "play.example.com/clock+533928ff"


def said_of_receipts(found: Any, result: str, place: Path) -> list[str]:
    return [one.replace(f"{place}/", "") for one in found.said(result) if one.startswith("receipt: ")]


@pytest.mark.parametrize("kind", ["stake", "checked_in"])
def test_a_receipt_is_for_a_leaf_of_c(kind: str, tmp_path: Path) -> None:
    today = HONEST.play()
    kept = [today.receipt(kind, index) for index in range(len(today.leaves[kind]))]
    found = verdict(tmp_path, today.asked_for(*kept), days=1, receipts=kept)
    assert (found.status, found.wrong) == (0, [])
    says = said_of_receipts(found, "yes", tmp_path)
    tree, gets = ("stakes", "") if kind == "stake" else ("checked_in", f"; its packet has {today.packets[1]} fen")
    assert len(says) == len(kept)
    assert says[1] == f"receipt: receipt1: leaf 1 of {len(kept)} in {tree} of C of {DAY}{gets}"


def test_the_answer_to_a_check_in_has_a_receipt(tmp_path: Path) -> None:
    today = HONEST.play()
    kept = today.receipt("checked_in", 0)
    answer = {"status": 1, "code": "checked_in", "message": "", "data": {"money": 0, "receipt": kept}}
    found = verdict(tmp_path, today.asked_for(kept), days=1, receipts=[answer, envelope(kept)])
    assert (found.status, len(said_of_receipts(found, "yes", tmp_path))) == (0, 2)


def test_the_proof_may_be_in_another_file(tmp_path: Path) -> None:
    today = HONEST.play()
    kept, proof = today.receipt("checked_in", 2), today.proved("checked_in", 2)
    found = verdict(tmp_path, today, days=1, receipts=[kept, proof])
    assert (found.status, len(said_of_receipts(found, "yes", tmp_path))) == (0, 2)
    found = verdict(tmp_path, today, days=1, receipts=[kept])
    assert (found.status, found.wrong) == (2, [])
    [says] = said_of_receipts(found, "not proved", tmp_path)
    assert f"it is signed by {BY}, and whether C has its leaf is not known: the file has no answer" in says


def test_a_void_round_has_its_receipts_for_the_refund(tmp_path: Path) -> None:
    kept = HONEST.play().receipt("stake", 0)
    for closed in (True, False):
        today = replace(HONEST, voided=True, closed=closed).play()
        found = verdict(tmp_path, today, days=1, receipts=[kept])
        assert (found.status, found.wrong) == (0, [])
        says = f"receipt: receipt0 is signed by {BY}; the round is void, and it is a receipt for the refund"
        assert said_of_receipts(found, "yes", tmp_path) == [says]


def test_a_receipt_of_a_round_that_is_not_closed_waits(tmp_path: Path) -> None:
    kept = HONEST.play().receipt("checked_in", 0)
    found = verdict(tmp_path, replace(HONEST, closed=False).play(), days=1, receipts=[kept])
    says = f"receipt: receipt0 is signed by {BY}; whether C has its leaf: C is not there yet"
    assert said_of_receipts(found, "not proved", tmp_path) == [says]


@pytest.mark.parametrize("word", ["archived", "not_settled", "voided", "not_found"])
def test_a_service_that_does_not_say_it_now_is_not_accused(word: str, tmp_path: Path) -> None:
    today = HONEST.play()
    kept = today.receipt("checked_in", 0)
    today.answers[asked(kept["leaf"])] = envelope({}, word)
    found = verdict(tmp_path, today, days=1, receipts=[kept])
    assert (found.status, found.wrong) == (2, [])
    [says] = said_of_receipts(found, "not proved", tmp_path)
    assert says.endswith(f"C of {DAY} may have it or not: the service says {word}")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"index": 0}, "its leaf is not among those that were signed"),
        ({"index": -1}, "it has no leaf, index, size and path"),
        ({"path": []}, "its leaf is not among those that were signed"),
        ({"path": ["00"]}, "is not 32 bytes in hex"),
        ({"leaf": HONEST.play().leaves["checked_in"][0]}, "its leaf is not among those that were signed"),
        ({"leaf": HONEST.play().leaves["stake"][1]}, "its leaf is not among those that were signed"),
        ({"leaf": HONEST.play().leaves["packet"][1]}, "its leaf is not among those that were signed"),
        ({"leaf": 7}, "it has no leaf, index, size and path"),
        ({"note": HONEST.play().proof["statements"]["opened"]}, "is not a kind of statement"),
        ({"note": None}, "it is not a text, an empty line and lines of signatures"),
    ],
)
def test_a_receipt_that_is_damaged_accuses_nobody(changed: dict[str, Any], says: str, tmp_path: Path) -> None:
    kept = HONEST.play().receipt("checked_in", 1)
    today = replace(HONEST, winners=((3, 5), (8, 6))).play().asked_for(kept)
    assert len(verdict(tmp_path, today, days=1, receipts=[kept]).wrong) == 1
    found = verdict(tmp_path, today, days=1, receipts=[{**kept, **changed}])
    assert (found.status, found.wrong) == (2, [])
    assert says in "".join(said_of_receipts(found, "not proved", tmp_path))


@pytest.mark.parametrize("lines", [{"round": before(DAY)}, {"origin": "else.where"}])
def test_a_receipt_of_another_round_or_game_accuses_nobody(lines: dict[str, str], tmp_path: Path) -> None:
    kept = HONEST.play().receipt("checked_in", 1, 2, **lines)
    today = replace(HONEST, winners=((3, 5), (8, 6))).play().asked_for(kept)
    found = verdict(tmp_path, today, days=1, receipts=[kept])
    assert (found.status, found.wrong) == (2, [])


def test_a_receipt_of_the_round_before_is_for_another_day(tmp_path: Path) -> None:
    today, yesterday = two_days()
    kept = yesterday.receipt("stake", 0)
    found = verdict(tmp_path, today, yesterday.asked_for(kept), receipts=[kept])
    assert (found.status, found.wrong) == (2, [])
    says = "receipt: receipt0 is of another round, or not signed by a known key"
    assert said_of_receipts(found, "not proved", tmp_path) == [says]


@pytest.mark.parametrize(("later_ms", "fits"), [(-5_000, True), (-5_001, False)])
def test_clocks_may_differ_by_as_much_as_a_check_in_may_wait(later_ms: int, fits: bool, tmp_path: Path) -> None:
    today = HONEST.play()
    kept = today.receipt("checked_in", 1, later_ms=later_ms)
    found = verdict(tmp_path, today.asked_for(kept), days=1, receipts=[kept])
    assert found.status == (0 if fits else 1)


@pytest.mark.parametrize("changed", [{"leaf": 7}, {"path": "00"}, {"index": None}])
def test_a_service_that_answers_anything_is_found(changed: dict[str, Any], tmp_path: Path) -> None:
    today = HONEST.play()
    kept = today.receipt("checked_in", 0)
    today.asked_for(kept).answers[asked(kept["leaf"])]["data"].update(changed)
    found = verdict(tmp_path, today, days=1, receipts=[kept])
    assert found.wrong == ["answers: An answer is refused: it has no leaf, index, size and path"]


def test_what_was_asked_for_a_receipt_is_saved(tmp_path: Path) -> None:
    today = Game().play()
    kept = today.receipt("checked_in", 1)
    where = written(tmp_path / "bundle.json", bundle(today.asked_for(kept)))
    arguments = ["--days", "1", "--receipt", written(tmp_path / "kept", kept)]
    saved = str(tmp_path / "saved.json")
    assert verifier.main([DAY, "--from", where, "--save", saved, *arguments]) == 0
    assert verifier.main([DAY, "--from", saved, *arguments]) == 0


def test_statements_are_in_the_log_and_witnesses_saw_it(tmp_path: Path) -> None:
    today, yesterday = two_days(beacon=OWN)
    Log().publish(today, yesterday)
    found = verdict(tmp_path, today, yesterday, witnesses=[WITNESS])
    assert (found.status, found.wrong, found.said("not proved")) == (0, [], [])
    assert [one for one in found.said("yes") if one.startswith("logged: ")] == [
        f"logged: Statements of {DAY} are entries of the log play.example.com/clock: 4, 5, 6",
        f"logged: Statements of {before(DAY)} are entries of the log play.example.com/clock: 1, 2, 3",
    ]
    by, out_s = WITNESS.rpartition("+")[0], out_ms(number_of(today.windows)) // 1000
    closed_s = today.windows["check_in_closes_ms"] // 1000 + 6
    assert [one for one in found.said("yes") if one.startswith("witnesses: ")] == [
        f"witnesses: O of {DAY} was seen by {by} 60 s before joining opened",
        f"witnesses: C of {DAY} was seen by {by} {out_s - closed_s} s before its draw was out",
        f"witnesses: P of {DAY} was seen by {by}",
        "witnesses: Only the 1 witnesses that you gave count",
    ]


def test_a_round_that_was_called_off_is_in_the_log(tmp_path: Path) -> None:
    for closed in (True, False):
        today = replace(HONEST, voided=True, closed=closed).play()
        Log().publish(today)
        found = verdict(tmp_path, today, days=1, witnesses=[WITNESS])
        assert (found.status, found.wrong) == (0, [])
        assert [one for one in found.said("yes") if f"V of {DAY} was seen by" in one]


def test_witnesses_that_the_service_names_prove_less(tmp_path: Path) -> None:
    today = HONEST.play()
    Log().publish(today)
    found = verdict(tmp_path, today, days=1)
    assert (found.status, found.wrong) == (0, [])
    says = "witnesses: That the witnesses are not the operator's own: the service names them, you gave none"
    assert says in found.said("not proved")


@pytest.mark.parametrize("named", [[WITNESS], []])
def test_a_witness_that_is_not_known_saw_nothing(named: list[str], tmp_path: Path) -> None:
    today = HONEST.play()
    Log().publish(today)
    today.proof["witnesses"] = named
    trusted = [verifier_key(OTHER, "witness.example.org/w1", 4)] if named else []
    found = verdict(tmp_path, today, days=1, witnesses=trusted)
    assert (found.status, found.wrong) == (2, [])
    says = f"witnesses: When C of {DAY} was made: no witness that counts has seen it"
    assert says in found.said("not proved")


def test_a_log_without_witnesses_and_a_service_without_a_log(tmp_path: Path) -> None:
    limit = "witnesses: That all see the same statements, and when they were made: no witness is asked"
    today = HONEST.play()
    assert limit in verdict(tmp_path, today, days=1).said("not proved")
    found = verdict(tmp_path, today, days=1, witnesses=[WITNESS])
    assert (found.status, found.wrong) == (2, [])
    Log(witness=None).publish(today)
    found = verdict(tmp_path, today, days=1)
    assert (found.status, found.wrong) == (0, [])
    assert limit in found.said("not proved")
    assert f"logged: Statements of {DAY} are entries of the log play.example.com/clock: 1, 2, 3" in found.said("yes")
    for place in filter(None, today.proof["logged"].values()):  # a new key of another name is no witness
        place["checkpoint"] += signature_line(
            place["checkpoint"].partition("\n\n")[0] + "\n", OTHER, "play.example.com/2"
        )
    assert verdict(tmp_path, today, days=1).findings == found.findings


def test_a_log_that_is_late_is_not_proved_and_of_earlier_rounds_that_decides_nothing(tmp_path: Path) -> None:
    today, yesterday = two_days(beacon=OWN)
    Log(witness=None).publish(today, yesterday)
    yesterday.proof["logged"]["opened"] = None
    found = verdict(tmp_path, today, yesterday)
    assert (found.status, found.wrong) == (0, [])
    says = "logged: That O of {} is in the log: no checkpoint is served that has it"
    assert says.format(before(DAY)) in found.said("not proved")
    today.proof["logged"]["opened"] = None
    found = verdict(tmp_path, today, yesterday)
    assert (found.status, found.wrong) == (2, [])
    assert says.format(DAY) in found.said("not proved")


@pytest.mark.parametrize("logged", [None, [], 7, {}, {"opened": None}])
def test_what_does_not_say_where_statements_are_is_refused(logged: Any, tmp_path: Path) -> None:
    today = HONEST.play()
    Log().publish(today)
    today.proof["logged"] = logged
    wrong = verdict(tmp_path, today, days=1).wrong
    says = f"the proof of {DAY} does not say of each statement where it is in the log"
    assert f"answers: An answer is refused: {says}" in wrong


@pytest.mark.parametrize(
    ("early_s", "status"), [(1_740, 0), (1_739, 1)], ids=["a minute of another clock", "more than a minute"]
)
def test_the_half_hour_is_over_when_a_draw_is_missing(early_s: int, status: int, tmp_path: Path) -> None:
    today = replace(HONEST, says="missing").play()
    Log(seen_s={"published": out_ms(number_of(today.windows)) // 1000 + early_s}).publish(today)
    assert verdict(tmp_path, today, days=1, witnesses=[WITNESS]).status == status


def test_one_witness_whose_clock_is_slow_accuses_nobody(tmp_path: Path) -> None:
    today = replace(HONEST, says="missing").play()
    out_s, name = out_ms(number_of(today.windows)) // 1000, "witness.example.net"
    Log(seen_s={"published": out_s + 60}).publish(today)
    text = today.proof["logged"]["published"]["checkpoint"].partition("\n\n")[0] + "\n"
    trusted = [WITNESS, verifier_key(OTHER, name, 4)]
    today.proof["logged"]["published"]["checkpoint"] += cosignature_line(text, out_s + 1_800, OTHER, name)
    assert verdict(tmp_path, today, days=1, witnesses=trusted).status == 0
    assert verdict(tmp_path, today, days=1, witnesses=trusted[:1]).status == 1


def test_the_service_says_which_witness_is_missing(tmp_path: Path) -> None:
    says = "missing: The service does not say that it has no witnesses"
    without = HONEST.play()
    without.proof["missing"] = []
    assert verdict(tmp_path, without, days=1).wrong == [says]
    for kind, wrong in (("void", [says]), ("closed", [])):
        called_off = replace(HONEST, voided=True).play()
        Log(seen_s={kind: None}).publish(called_off)
        called_off.proof["missing"] = []
        assert verdict(tmp_path, called_off, days=1).wrong == wrong


def test_the_program_takes_witnesses_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    today = Game().play()
    Log().publish(today)
    where, keys = written(tmp_path / "bundle.json", bundle(today)), written(tmp_path / "keys", f"# mine\n{WITNESS}\n")
    assert verifier.main([DAY, "--from", where, "--days", "1", "--witness", keys]) == 0
    assert "yes         witnesses   Only the 1 witnesses that you gave count" in capsys.readouterr().out
    assert verifier.main([DAY, "--from", where, "--days", "1", "--witness", verifier_key()]) == 2


@pytest.mark.parametrize(("before_s", "status"), [(1, 0), (0, 2)])
def test_a_witness_saw_c_before_the_draw(before_s: int, status: int, tmp_path: Path) -> None:
    today = HONEST.play()
    Log(seen_s={"closed": out_ms(number_of(today.windows)) // 1000 - before_s}).publish(today)
    assert verdict(tmp_path, today, days=1).status == status


def test_a_witness_saw_v_before_the_draw(tmp_path: Path) -> None:
    today = replace(HONEST, voided=True).play()
    Log(seen_s={"void": out_ms(number_of(today.windows)) // 1000}).publish(today)
    found = verdict(tmp_path, today, days=1)
    assert (found.status, found.wrong) == (2, [])
    assert [one for one in found.said("not proved") if f"V of {DAY} was there before its draw was out" in one]


def test_one_witness_in_time_is_enough(tmp_path: Path) -> None:
    today = HONEST.play()
    Log().publish(today)
    text = today.proof["logged"]["closed"]["checkpoint"].partition("\n\n")[0] + "\n"
    late_s, name = out_ms(number_of(today.windows)) // 1000 + 9, "witness.example.net"
    today.proof["logged"]["closed"]["checkpoint"] += cosignature_line(text, late_s, OTHER, name)
    found = verdict(tmp_path, today, days=1, witnesses=[WITNESS, verifier_key(OTHER, name, 4)])
    assert (found.status, found.wrong) == (0, [])
    assert [one for one in found.said("yes") if f"C of {DAY} was seen by {name}+" in one and " and witness." in one]


def test_where_c_is_late_no_witness_has_to_be_in_time(tmp_path: Path) -> None:
    today = replace(HONEST, longer_ms=(180_000, 0), extensions=({"by_ms": 180_000, "shards": 1},)).play()
    Log().publish(today)
    assert verdict(tmp_path, today, days=1).status == 0


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"index": 1}, "C of 2026-11-26 is not entry 1 of the log"),
        ({"size": 4}, "C of 2026-11-26 is not entry 2 of the log"),
        ({"path": []}, "C of 2026-11-26 is not entry 2 of the log"),
        ({"path": 7}, "The checkpoint of C of 2026-11-26 is refused: it has no leaf, index, size and path"),
        ({"checkpoint": None}, "The checkpoint of C of 2026-11-26 is refused: it is not a text"),
        ({"checkpoint": HONEST.play().proof["statements"]["closed"]}, "refused: a checkpoint has 3 lines, not 20"),
    ],
)
def test_what_is_no_place_in_the_log_is_refused(changed: dict[str, Any], says: str, tmp_path: Path) -> None:
    today = HONEST.play()
    Log().publish(today)
    today.proof["logged"]["closed"].update(changed)
    wrong = verdict(tmp_path, today, days=1).wrong
    assert [one for one in wrong if says in one], wrong


@pytest.mark.parametrize(
    "checkpoint",
    [
        "a b\n2\nAAAA\n",
        "play.example.com/clock\n02\n" + "A" * 43 + "=\n",
        "play.example.com/clock\n2\nAAAA\n",
        "play.example.com/clock\n2 " + "A" * 43 + "=\n\n",
        "play.example.com/clock\n2\n" + "A" * 43 + "=\nmore\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(checkpoint: str) -> None:
    with pytest.raises(verifier.Malformed):
        verifier.checkpoint_of(f"{checkpoint}\n— play.example.com/clock {'A' * 8}\n")


def test_a_checkpoint_that_was_kept_is_the_one_that_is_served_or_cannot_be_compared(tmp_path: Path) -> None:
    today, other = HONEST.play(), HONEST.play()
    Log().publish(today)
    Log(more=("a\n",) * 9).publish(other)
    notes = [one.proof["logged"]["closed"]["checkpoint"] for one in (today, other)]
    found = verdict(tmp_path, today, days=1, seen=[notes[0], today.answers[f"/api/rounds/{DAY}/proof"]])
    assert (found.status, found.wrong) == (0, [])
    assert f"seen: {tmp_path}/seen0: the checkpoint of 3 entries is the one that is served" in found.said("yes")
    found = verdict(tmp_path, today, days=1, seen=[notes[1]])
    assert (found.status, found.wrong) == (2, [])
    says = f"seen: {tmp_path}/seen0: the checkpoint of 11 entries has no other of its size here to be held against"
    assert says in found.said("not proved")
    third = HONEST.play()
    Log(more=("b\n",) * 9).publish(third)
    two = [notes[1], third.proof["logged"]["closed"]["checkpoint"]]
    assert verdict(tmp_path, today, days=1, seen=two).status == 1
    unsigned = Log(key=OTHER).checkpoint(["a", "b", "c"], None)
    found = verdict(tmp_path, today, days=1, seen=[unsigned])
    assert (found.status, found.wrong) == (2, [])
