"""Each fraud of the table in ``docs/fair.md`` is committed, by an operator who signs whatever helps, and is found by
the check and with the sentence of the table."""

import base64
import re
from pathlib import Path

import pytest

from tests.unit.verifier import frauds_of_draws, frauds_of_rounds
from tests.unit.verifier.forms import sha256
from tests.unit.verifier.stage import Game, verdict

DOC = (Path(__file__).parents[3] / "docs" / "fair.md").read_text("utf-8")
FRAUDS = {**frauds_of_rounds.FRAUDS, **frauds_of_draws.FRAUDS}
UNPROVED = "*not proved*: "
"""So begins a sentence of the table that accuses nobody, since an honest operator may have to hear it."""


def table() -> dict[str, tuple[str, str]]:
    """Of the document: act → check and the sentence with which it begins, or which it has after a file's name."""
    rows = re.findall(r"^\| (.+?) \| `(\w+)` \| (.+?) \|$", DOC.partition("## A table of frauds")[2], re.MULTILINE)
    return {act: (check, sentence) for act, check, sentence in rows}


def test_every_fraud_of_the_table_is_committed() -> None:
    assert [*table()] == [*FRAUDS]


@pytest.mark.parametrize("act", FRAUDS)
def test_a_fraud_is_found(act: str, tmp_path: Path) -> None:
    case = FRAUDS[act]()
    found = verdict(tmp_path, *case.rounds, seen=case.seen, receipts=case.receipts, days=case.days)
    check, sentence = table()[act]
    result, status = ("not proved", 2) if sentence.startswith(UNPROVED) else ("no", 1)
    files = re.compile(rf"{re.escape(str(tmp_path))}/(seen|receipt)0:? ")
    said = [files.sub("", one) for one in found.said(result)]
    sentence = sentence.removeprefix(UNPROVED)
    assert found.status == status
    assert [one for one in said if one.startswith(f"{check}: {sentence.removesuffix('…')}")], said


def test_signing_with_a_small_order_key_is_no_signature(tmp_path: Path) -> None:
    """Its one signature would fit every text: two statements could not be told apart."""
    identity = (1).to_bytes(32, "little")
    name, forged = "play.example.com/clock", identity + bytes(32)
    key_hash = sha256(name.encode(), b"\n\1", identity)[:4]
    today = Game().play()
    line = f"— {name} {base64.b64encode(key_hash + forged).decode()}\n"
    today.proof["statements"] = {kind: f"{text}\n{line}" for kind, text in today.texts.items()} | {"void": None}
    trusted = f"{name}+{key_hash.hex()}+{base64.b64encode(bytes([1]) + identity).decode()}"
    found = verdict(tmp_path, today, keys=[trusted], days=1)
    assert len([one for one in found.wrong if "does not fit the text" in one]) == 3
