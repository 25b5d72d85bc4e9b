"""Any change of one value, line or letter of an honest bundle is found, and nothing that is answered ends in a
traceback."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.verifier.forms import OWN, before
from tests.unit.verifier.stage import DAY, Played, two_days, verdict
from tests.unit.verifier.witnessed import Log

LONGER = {"by_ms": 60_000, "cause": "operator", "reason": "", "since_ms": 1, "shards": 1, "asleep": 2}
HONEST = two_days(longer_ms=(0, 60_000), extensions=[LONGER], beacon=OWN)
Log().publish(*HONEST)

NOT_SIGNED = {"message", "archived", "cause", "reason", "since_ms", "shards", "asleep"}
"""Of the answers: what no statement has."""

Place = tuple[str | int, ...]


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Everything in it, and in its parts."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in items:
        if name not in NOT_SIGNED or at[-1:] == ("rules",):
            yield from places(part, (*at, name))


def of_proof(at: Place) -> bool:
    return "proof" in str(at[0]) and not {"missing", "witnesses"} & {*at}


PLACES = [
    *((0, at) for at in places(HONEST[0].answers)),
    *((1, at) for at in places(HONEST[1].answers) if of_proof(at)),
]
NOTES = [(n, kind) for n, one in enumerate(HONEST) for kind in one.texts]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8) | st.just(10**30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
SLOWLY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)


def node(rounds: tuple[Played, Played], which: int, at: Place) -> Any:
    found: Any = rounds[which].answers
    for name in at[:-1]:
        found = found[name]
    return found


def near(value: Any) -> st.SearchStrategy[Any]:
    """What looks like it."""
    if isinstance(value, bool) or value is None:
        return st.sampled_from([True, False, None, 0, 1])
    if isinstance(value, int):
        return st.sampled_from([value + 1, value - 1, -value, str(value), float(value), bool(value), 0])
    if isinstance(value, str):
        return st.sampled_from([value[1:], value + " ", value.upper(), value + "\n", value[::-1], ""])
    if isinstance(value, list):
        return st.sampled_from([value[1:], value[::-1], [*value, *value], [*value, 0], {}])
    return st.sampled_from([{}, [value], dict(list(value.items())[1:])])


@given(st.data())
@SLOWLY
def test_a_value_that_is_changed_is_found(tmp_path: Path, data: st.DataObject) -> None:
    which, at = data.draw(st.sampled_from(PLACES))
    rounds = copy.deepcopy(HONEST)
    parent = node(rounds, which, at)
    old = parent[at[-1]]
    parent[at[-1]] = data.draw(near(old) | anything)
    new = parent[at[-1]]
    if json.dumps(old) == json.dumps(new) or (at[-1] == "state" and new == "settled"):
        return
    if at[-1] == "missing" and isinstance(new, list) and new == old[::-1]:
        return
    if which and new is None and at[-2] == "logged":  # of an earlier round it is said, and decides nothing
        return
    found = verdict(tmp_path, *rounds, keys=[])
    assert found.status != 0, (which, at)


def test_a_name_that_is_left_out_is_found(tmp_path: Path) -> None:
    for path in (f"/api/rounds/{DAY}", f"/api/rounds/{DAY}/proof"):
        for name in HONEST[0].answers[path]["data"].keys() - NOT_SIGNED - {"logged", "witnesses"}:
            rounds = copy.deepcopy(HONEST)
            del rounds[0].answers[path]["data"][name]
            assert verdict(tmp_path, *rounds, keys=[]).status == 1, name


@pytest.mark.parametrize("name", ["seed", "seed_hash"])
def test_a_hash_that_is_a_number_is_found(name: str, tmp_path: Path) -> None:
    """In a round that is said to be older than statements, where nothing else is read of them."""
    today = copy.deepcopy(HONEST[0])
    today.proof["statements"] = dict.fromkeys(today.proof["statements"])
    today.figures[name] = int("1" * 64)
    assert verdict(tmp_path, today, keys=[], days=1).status == 1


@pytest.mark.parametrize("kind", HONEST[0].texts)
def test_a_line_of_a_statement_that_is_changed_is_found(kind: str, tmp_path: Path) -> None:
    """Dropped, doubled, moved up, and each with a letter more and a letter less."""
    note = HONEST[0].proof["statements"][kind]
    lines = note.split("\n")
    changed = []
    for n, line in enumerate(lines[:-1]):
        changed.append([*lines[:n], *lines[n + 1 :]])
        changed.append([*lines[:n], line, *lines[n:]])
        changed.append([*lines[:n], f"{line} ", *lines[n + 1 :]])
        changed.append([*lines[:n], line[:-1], *lines[n + 1 :]])
        if n:
            changed.append([*lines[: n - 1], line, lines[n - 1], *lines[n + 1 :]])
    for one in changed:
        if one == lines or one[:-2] == lines[:-1]:
            continue
        today = copy.deepcopy(HONEST[0])
        today.proof["statements"][kind] = "\n".join(one)
        found = verdict(tmp_path, today, keys=[], days=1)
        assert found.status == 1, one


@given(st.data())
@SLOWLY
def test_a_letter_of_a_statement_that_is_changed_is_found(tmp_path: Path, data: st.DataObject) -> None:
    which, kind = data.draw(st.sampled_from(NOTES))
    rounds = copy.deepcopy(HONEST)
    notes = rounds[which].proof["statements"]
    place = data.draw(st.integers(0, len(notes[kind]) - 1))
    letter = data.draw(st.characters() | st.sampled_from("0123456789abcdefABC+/=\n :—"))
    if letter != notes[kind][place]:
        notes[kind] = notes[kind][:place] + letter + notes[kind][place + 1 :]
        assert verdict(tmp_path, *rounds, keys=[]).status == 1


@given(anything, st.sampled_from([f"/api/rounds/{day}{more}" for day in (DAY, before(DAY)) for more in ("", "/proof")]))
@settings(parent=SLOWLY, max_examples=30)
def test_an_answer_that_is_anything_is_found(tmp_path: Path, answer: Any, path: str) -> None:
    today, yesterday = copy.deepcopy(HONEST)
    today.answers[path] = answer
    yesterday.answers.pop(path, None)
    assert verdict(tmp_path, today, yesterday).status != 0
