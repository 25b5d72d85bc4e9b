"""Every script does what its header says, the loader sees it when not, and none divides or draws lots."""

import re
from pathlib import Path
from typing import get_args

import pytest

from clock.domain.outcomes import OUTCOMES
from clock.files import folder
from clock.game import events, keys
from clock.game.scripts import BadScript, load, parse

LUA = folder("lua")
PRELUDE = (LUA / "prelude.lua").read_text("utf-8")
VERBS = sorted(path.stem for path in LUA.glob("*.lua") if path.stem != "prelude")

USER_VERBS = ("join", "pay", "check_in", "claim")
INTERNAL = {"no_round", "wrong_round", "clock_moved"}
"""Words after which the process asks again; nobody outside hears them."""

ROUND_FIELDS = {
    *("state", "stake_fen", "first_order_id", "day_starts_ms", "morning_starts_ms", "morning_ends_ms"),
    *("join_opens_ms", "join_closes_ms", "check_in_opens_ms", "check_in_closes_ms", "last_number", "server"),
    *("settle_ms", "claim_closes_ms", "touched_ms", "granted_ms", "extended_ms", "by_hand"),
}
TOTALS = {
    *("orders", "members", "winners", "late", "pool_fen", "published", "published_fen"),
    *("claimed", "claimed_fen", "refused_payments", "quarantined"),
}
STATES = {"open", "closed", "settled", "finished", "void"}
OUTCOMES_OF_PAYMENTS = set(get_args(events.PaymentOutcome))
ARGUMENTS = {"check", "user", "settle", "void", "operator"}
"""What ``by``, ``why`` and ``how`` may say."""


def body_of(verb: str) -> str:
    return (LUA / f"{verb}.lua").read_text("utf-8")


def code_of(verb: str) -> str:
    """Without comments and without what is in quotes."""
    return re.sub(r"'[^']*'", "''", re.sub(r"--.*", "", body_of(verb)))


def literals_of(verb: str) -> set[str]:
    return set(re.findall(r"'([^']*)'", re.sub(r"--.*", "", body_of(verb))))


def changed(verb: str, old: str, new: str) -> str:
    body = body_of(verb)
    assert old in body, f"{verb}.lua has no {old!r} any more: change this test"
    return body.replace(old, new, 1)


def header_line(verb: str, label: str) -> str:
    return next(line for line in body_of(verb).splitlines(True) if line.startswith(f"-- {label} "))


def test_every_verb_of_design_has_its_script() -> None:
    assert {"join", "pay", "check_in", "claim", "open", "close", "publish", "settle", "finish"} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_script_keeps_its_contract(verb: str) -> None:
    script = load(verb)
    assert script.verb == verb
    assert script.fixed[:1] == ("clock",), "time can be moved for every script"
    assert len(script.sha) == 40 and script.source.startswith("#!lua"), "the shebang makes clusters check keys"


@pytest.mark.parametrize("label", ["KEYS", "ARGV", "RETURNS", "WORDS"])
@pytest.mark.parametrize("verb", ["join", "status", "close"])
def test_a_header_without_one_of_its_lines_is_refused(verb: str, label: str) -> None:
    with pytest.raises(BadScript, match=f"lua/{verb}.lua: its header has no {label}"):
        parse(verb, changed(verb, header_line(verb, label), ""), PRELUDE)


@pytest.mark.parametrize(
    "verb, old, new, complaint",
    [
        ("join", "-- join: ", "-- joins: ", "must start with"),
        ("join", "-- join: ", "join: ", "must start with"),
        ("join", "-- KEYS    round", "-- KEYS    rounds", "no such key: rounds"),
        ("join", "totals outbox\n", "totals\n", "uses KEYS"),
        ("join", "members totals outbox", "members totals outbox packets", "does not use"),
        ("close", "-- KEYS    round totals outbox", "-- KEYS    round totals outbox members", "does not use"),
        ("join", "order_pending ordered\n", "order_pending ordered refused\n", "never answers 'refused'"),
        ("close", "already_closed closed\n", "already_closed closed too_late\n", "never answers 'too_late'"),
        ("check_in", header_line("check_in", "ENTRY"), "", "without saying so in ENTRY"),
        ("status", "-- FLAGS", "-- ENTRY   closed\n-- FLAGS", "the other way round"),
        ("check_in", "-- ENTRY   checked_in", "-- ENTRY   came", "is not an event"),
        ("check_in", "at_ms first_rank uids", "at_ms uids first_rank", "is not an event"),
        ("check_in", "at_ms first_rank uids", "at_ms first_rank", "is not an event"),
        ("check_in", "at_ms first_rank uids", "at_ms first_rank uids more", "is not an event"),
        ("claim", "-- ENTRY   claimed", "-- ENTRY   checked_in", "is not an event"),
        ("claim", "by rows |", "by |", "rows without ROW"),
        ("claim", "by rows |", "rows by |", "rows without ROW"),
        ("claim", header_line("claim", "ROW"), "", "rows without ROW"),
    ],
)
def test_a_header_that_says_something_else_than_the_script_is_refused(
    verb: str, old: str, new: str, complaint: str
) -> None:
    with pytest.raises(BadScript, match=complaint):
        parse(verb, changed(verb, old, new), PRELUDE)


@pytest.mark.parametrize("body", ["", "\n", "return 1\n", "-- other: no\nreturn 1\n", "--\n-- join: late\n"])
def test_a_script_without_a_header_is_refused(body: str) -> None:
    with pytest.raises(BadScript, match="must start with"):
        parse("join", body, PRELUDE)


def test_a_verb_without_a_file_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        load("no_such_verb")


def test_another_text_has_another_digest() -> None:
    body = body_of("close")
    assert parse("close", body, PRELUDE).sha == load("close").sha
    assert parse("close", body + "\n", PRELUDE).sha != load("close").sha
    assert parse("close", body, PRELUDE + "\n").sha != load("close").sha


@pytest.mark.parametrize("verb", VERBS)
def test_every_text_in_a_script_is_a_word_of_its_header_or_a_name_of_the_data(verb: str) -> None:
    """So no script answers a word that its header does not name."""
    script, header = load(verb), body_of(verb)
    tag = re.search(r"^-- ENTRY +(\w+)", header, re.MULTILINE)
    names = script.words | ROUND_FIELDS | TOTALS | STATES | OUTCOMES_OF_PAYMENTS | ARGUMENTS | {tag[1] if tag else ""}
    unknown = {text for text in literals_of(verb) if re.fullmatch(r"[a-z_]+", text)} - names
    assert not unknown


@pytest.mark.parametrize("verb", VERBS)
def test_every_answer_is_written_where_its_header_names_it(verb: str) -> None:
    """Answers, as far as their form shows them: ``word = '…'``, ``replies[…] = '…'``, ``{now, '…'}``, ``all(…)``."""
    forms = [r"(?:word|reply|replies\[[^\]]+\]) = \{?'(\w+)'", r"\{now, '(\w+)'", r"all\(now, count, '(\w+)'\)"]
    answers = {word for form in forms for word in re.findall(form, body_of(verb))}
    assert answers
    assert answers <= load(verb).words


@pytest.mark.parametrize("verb", USER_VERBS)
def test_every_word_that_a_user_can_hear_has_its_message(verb: str) -> None:
    heard = load(verb).words - INTERNAL
    assert heard <= set(OUTCOMES)


def test_the_letters_of_status_are_those_of_the_prelude() -> None:
    letters = {chr(int(code)) for code in re.search(r"= ([\d, ]+) --", PRELUDE)[1].split(",")}  # type: ignore[index]
    assert load("status").words == letters | {"-", "V", "no_round"}


@pytest.mark.parametrize("verb", [*VERBS, "prelude"])
def test_a_script_never_makes_random_choices(verb: str) -> None:
    code = code_of(verb)
    assert "random" not in code
    for command in ("SRANDMEMBER", "HRANDFIELD", "SPOP", "RANDOMKEY", "ZRANDMEMBER"):
        assert command not in body_of(verb)


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_never_divides_money(verb: str) -> None:
    """The only thing divided is the number of arguments, into users."""
    code = re.sub(r"\(#ARGV - \d\) / \d\b", "", code_of(verb))
    assert "/" not in code
    assert "%" not in code
    assert "math." not in code


def test_the_prelude_divides_only_times_and_ranks() -> None:
    code = code_of("prelude")
    for known in ("time[2] / 1000", "(rank - 1) / PIECE", "(now - since) / MINUTE_MS"):
        code = code.replace(known, "")
    assert code.count("/") == 0


def test_the_entry_that_the_prelude_appends_is_an_event() -> None:
    named = re.search(r"^-- ENTRY +(\w+) (.*)$", PRELUDE, re.MULTILINE)
    assert named and tuple(named[2].split()) == events.BY_TAG[named[1]].__struct_fields__
    appended = re.search(rf"append\(outbox, \{{'{named[1]}', (.*)\}}\)", PRELUDE)
    assert appended and len(appended[1].split(", ")) == len(named[2].split())


def test_a_piece_of_packets_is_as_long_as_its_readers_think() -> None:
    assert f"local PIECE = {keys.PIECE}\n" in PRELUDE


@pytest.mark.parametrize("verb", VERBS)
def test_the_rows_of_a_vector_are_as_wide_as_the_header_says(verb: str) -> None:
    script, body = load(verb), body_of(verb)
    counted = re.search(r"count = .*#ARGV - (\d)(?:\) / (\d))?\n", body)
    if counted:
        assert (int(counted[1]), int(counted[2] or 1)) == (len(script.fixed), len(script.per_user))


@pytest.mark.parametrize("verb", [verb for verb in VERBS if load(verb).row])
def test_the_rows_of_an_argument_are_as_wide_as_the_header_says(verb: str) -> None:
    script, body = load(verb), body_of(verb)
    assert f"cmsgpack.unpack(ARGV[{len(script.fixed)}])" in body
    if script.row != ("waited_ms",):
        assert f"local WIDTH = {len(script.row)}\n" in body
        used = {int(at) for at in re.findall(r"said\[at \+ (\d+)\]", body)}
        assert used == set(range(1, 1 + len(script.row)))


@pytest.mark.parametrize("verb", VERBS)
def test_keys_of_one_shard_are_all_that_a_script_touches(verb: str) -> None:
    """A key is always ``KEYS[n]``, never put together."""
    for command in re.findall(r"redis\.call\('(\w+)', ([^,)]+)", body_of(verb)):
        assert command[1].startswith("KEYS["), command


def test_scripts_are_found_beside_the_package_in_a_checkout() -> None:
    assert folder("lua") == Path(__file__).parents[2] / "lua"
