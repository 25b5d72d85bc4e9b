"""Two versions share a stream while one replaces the other: each reads what the other has appended."""

from typing import Any

import msgspec
import pytest

from clock.game import events

AS_RELEASED: list[tuple[list[Any], dict[str, Any]]] = [
    (
        ["ordered", 1, [[7, "N7", 1007, 100, "open-7", "13800000007", "seven"]]],
        {"at_ms": 1, "rows": [(7, "N7", 1007, 100, "open-7", "13800000007", "seven")]},
    ),
    (
        ["payment", 2, [[7, "N7", "T7", 100, 1, "paid", "platform", "{}"]]],
        {"at_ms": 2, "rows": [(7, "N7", "T7", 100, 1, "paid", "platform", "{}")]},
    ),
    (
        ["quarantined", 3, [["platform", "buyer_mismatch", "N7", "e30="]]],
        {"at_ms": 3, "rows": [("platform", "buyer_mismatch", "N7", "e30=")]},
    ),
    (["checked_in", 4, 1, [7, 8]], {"at_ms": 4, "first_rank": 1, "uids": [7, 8]}),
    (
        ["claimed", 5, "user", 100, 0, [7, 8], [30, 40]],
        {"at_ms": 5, "by": "user", "stake_fen": 100, "indexes": 0, "uids": [7, 8], "packets_fen": [30, 40]},
    ),
    (
        ["claimed", 6, "system", 100, [3, 1], [7, 8], [30, 40]],
        {"at_ms": 6, "by": "system", "stake_fen": 100, "indexes": [3, 1], "uids": [7, 8], "packets_fen": [30, 40]},
    ),
    (["profiled", 7, [[7, "", "13800000007", ""]]], {"at_ms": 7, "rows": [(7, "", "13800000007", "")]}),
    (
        ["closed", 8, "settle", 9, 4, 2, 900],
        {"at_ms": 8, "why": "settle", "members": 9, "winners": 4, "late": 2, "pool_fen": 900},
    ),
    (
        ["extended", 9, "operator", 1, 60_000, 70_000, 5, "rain", "anna"],
        {
            "at_ms": 9,
            "cause": "operator",
            "since_ms": 1,
            "by_ms": 60_000,
            "closes_ms": 70_000,
            "asleep": 5,
            "reason": "rain",
            "by_whom": "anna",
        },
    ),
    (["reminded", 10, [[7, 1], [8, 0]]], {"at_ms": 10, "rows": [(7, 1), (8, 0)]}),
    (["acknowledged", 11, [[7, 1000]]], {"at_ms": 11, "rows": [(7, 1000)]}),
]
"""An entry of each form that a released version has appended, and what it means. Lines are added, never changed."""


def meaning(entry: list[Any]) -> dict[str, Any]:
    return msgspec.structs.asdict(events.decode(msgspec.msgpack.encode(entry)))


@pytest.mark.parametrize("entry, expected", AS_RELEASED, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_an_entry_of_an_earlier_version_means_what_it_meant(entry: list[Any], expected: dict[str, Any]) -> None:
    found = meaning(entry)
    assert {name: found[name] for name in expected} == expected, "a field that came later is one more"


@pytest.mark.parametrize("entry", [entry for entry, _ in AS_RELEASED], ids=lambda entry: entry[0])
def test_a_field_of_a_later_version_is_passed_over(entry: list[Any]) -> None:
    whole = [*entry, *list(meaning(entry).values())[len(entry) - 1 :]]
    assert meaning([*whole, {"more": [1, "two"]}, None]) == meaning(entry)


def test_every_event_has_a_line_with_all_its_fields() -> None:
    lines: dict[str, int] = {}
    for entry, _ in AS_RELEASED:
        lines[entry[0]] = max(lines.get(entry[0], 0), len(entry) - 1)
    assert lines == {tag: len(kind.__struct_fields__) for tag, kind in events.BY_TAG.items()}


def test_what_a_later_version_alone_knows_cannot_be_read() -> None:
    """So it stays in the stream, for a worker of that version."""
    for entry in (
        ["invented", 1, []],
        ["payment", 1, [[7, "N7", "T7", 100, 1, "of a later version", "platform", "{}"]]],
        ["profiled", 1, [[7, "", "13800000007", "", "a value more in a row"]]],
    ):
        with pytest.raises(msgspec.ValidationError):
            meaning(entry)
