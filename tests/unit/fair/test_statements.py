"""Texts of statements: one for each statement, and no other is read."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.fair.statements import (
    BadStatement,
    Closed,
    Opened,
    Published,
    Statement,
    Tree,
    Void,
    digest,
    drawn_from,
    parse,
    text_of,
)
from clock.fair.trees import EMPTY

HASH = "ab" * 32

OPENED = Opened(
    origin="play.example.com/clock",
    round="2026-11-26",
    seed_hash=HASH,
    rules={"timezone": "Asia/Shanghai", "stake_fen": 100, "campaign": {"zh": "节", "en": "feast"}},
    windows={"join_opens_ms": 1, "check_in_opens_ms": 2},
    beacon="none",
)
CLOSED = Closed(
    origin="play.example.com/clock",
    round="2026-11-26",
    opened=HASH,
    previous="none",
    closed_ms=1_795_738_000_000,
    closes_ms=[5, 65],
    shards=[(3, 2), (0, 0)],
    members=3,
    winners=2,
    late=1,
    pool_fen=300,
    refunded_fen=0,
    forfeited_fen=100,
    fee_fen=10,
    carried_in_fen=0,
    bonus_fen=0,
    pot_fen=90,
    stakes=Tree(3, bytes(32)),
    checked_in=Tree(0, EMPTY),
)
PUBLISHED = Published(
    origin="play.example.com/clock",
    round="2026-11-26",
    closed=HASH,
    seed=HASH,
    beacon="none",
    drawn=HASH,
    split="random",
    packets=Tree(2, bytes(32)),
    carried_out_fen=0,
    bonus_back_fen=0,
)
VOID = Void(
    origin="play.example.com/clock",
    round="2026-11-26",
    opened=HASH,
    closed="none",
    previous=HASH,
    voided_ms=7,
    reason="a storm\nand “rain”: 雨",
)

TEXT = """\
clock.statement.v1/closed
origin: play.example.com/clock
round: 2026-11-26
opened: abababababababababababababababababababababababababababababababab
previous: none
closed_ms: 1795738000000
closes_ms: [5,65]
shards: [[3,2],[0,0]]
members: 3
winners: 2
late: 1
pool_fen: 300
refunded_fen: 0
forfeited_fen: 100
fee_fen: 10
carried_in_fen: 0
bonus_fen: 0
pot_fen: 90
stakes: 3 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
checked_in: 0 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
"""


def test_a_statement_is_a_line_a_field() -> None:
    assert text_of(CLOSED) == TEXT
    rules = '{"campaign":{"en":"feast","zh":"节"},"stake_fen":100,"timezone":"Asia/Shanghai"}'
    assert text_of(OPENED).split("\n")[4:6] == [
        f"rules: {rules}",
        'windows: {"check_in_opens_ms":2,"join_opens_ms":1}',
    ]
    assert text_of(VOID).split("\n")[-2] == 'reason: "a storm\\nand “rain”: 雨"'


@pytest.mark.parametrize("statement", [OPENED, CLOSED, PUBLISHED, VOID])
def test_what_is_written_is_read(statement: Statement) -> None:
    assert parse(text_of(statement)) == statement


LINES = TEXT.split("\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "clock.statement.v1/closed\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "more: 1\n",
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("v1", "v2"),
        TEXT.replace("/closed", "/open"),
        TEXT.replace("/closed", "/void"),
        TEXT.replace("late: 1\n", ""),
        TEXT.replace("late: 1\n", "late: 1\nlate: 1\n"),
        TEXT.replace("late: 1\n", "winners: 2\n"),
        "\n".join([*LINES[:8], LINES[9], LINES[8], *LINES[10:]]),
        TEXT.replace("late: 1", "late: 01"),
        TEXT.replace("late: 1", "late: +1"),
        TEXT.replace("late: 1", "late: -1"),
        TEXT.replace("late: 1", "late: 1 "),
        TEXT.replace("late: 1", "late:  1"),
        TEXT.replace("late: 1", "late: 1.0"),
        TEXT.replace("late: 1", "late: \uff11"),
        TEXT.replace("late: 1", "late: " + "9" * 5_000),
        TEXT.replace("[5,65]", "[5, 65]"),
        TEXT.replace("[5,65]", "[5,65.0]"),
        TEXT.replace("[5,65]", "[5,NaN]"),
        TEXT.replace("[5,65]", '{"a":1}'),
        TEXT.replace("[5,65]", "[" * 50_000),
        TEXT.replace("[[3,2],", "[[3,2,1],"),
        TEXT.replace("3 AAAA", "3  AAAA"),
        TEXT.replace("3 AAAA", "03 AAAA"),
        TEXT.replace("AAA=", "AAB="),
        TEXT.replace("previous: none", "previous: None"),
        TEXT.replace("abab", "ABAB"),
        TEXT.replace("2026-11-26", "26-11-2026"),
        TEXT.replace("play.example.com/clock", "play example"),
        TEXT + "x" * 100_000,
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadStatement):
        parse(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.integers(0, 10**15))
def test_no_reason_breaks_a_statement(reason: str, at_ms: int) -> None:
    given: dict[str, Any] = {name: getattr(VOID, name) for name in VOID.__struct_fields__}
    statement = Void(**{**given, "reason": reason, "voided_ms": at_ms})
    text = text_of(statement)
    assert text.count("\n") == len(VOID.__struct_fields__) + 1
    assert parse(text) == statement


def test_the_draw_needs_the_seed_the_beacon_and_what_was_closed() -> None:
    seed = bytes(range(32))
    expected = hashlib.sha256(b"clock/seed/v2" + seed + b"" + bytes.fromhex(digest(TEXT))).digest()
    assert drawn_from(seed, b"", TEXT) == expected
    others = {drawn_from(bytes(32), b"", TEXT), drawn_from(seed, b"\x01", TEXT), drawn_from(seed, b"", TEXT + "\n")}
    assert len(others | {expected}) == 4
