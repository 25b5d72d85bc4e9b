"""mend: a record becomes what the books say, and the totals follow; whoever has moved on since is left alone."""

from typing import Any

import msgspec
import pytest

from clock.audit.contents import packed_rank
from clock.domain import order_no
from tests.conftest import DAY
from tests.lua.stage import Stage, order, tail_of


def record(uid: int, state: str, transaction: str = "T-1") -> bytes:
    """As the prelude describes it."""
    text = state.encode() + b"".join(msgspec.msgpack.encode(part) for part in (tail_of(uid), uid, f"open-{uid}"))
    if state != "O":
        text += msgspec.msgpack.encode(transaction) + packed_rank(uid if state in "CP" else 0)
    return text


async def mend(stage: Stage, uid: int, found: bytes, right: bytes, late: int = 0) -> str:
    row: dict[str, Any] = {"uid": uid, "found": found, "right": right, "late": late, "packet_fen": 7, "found_fen": 7}
    return str((await stage.call("mend", row, last_number=0))[0])


COUNTED: dict[str, dict[str, int]] = {
    "": {},
    "O": {"orders": 1},
    "M": {"orders": 1, "members": 1, "pool_fen": 100},
    "L": {"orders": 1, "members": 1, "pool_fen": 100, "late": 1},
    "C": {"orders": 1, "members": 1, "pool_fen": 100, "winners": 1},
    "P": {"orders": 1, "members": 1, "pool_fen": 100, "winners": 1, "claimed": 1, "claimed_fen": 7},
}


@pytest.mark.parametrize("right", "OMLCP")
@pytest.mark.parametrize("found", ["", *"OMLCP"])
async def test_the_totals_follow_the_record(stage: Stage, found: str, right: str) -> None:
    records = {state: record(1, state) for state in "OMLCP"} | {"": b""}
    assert await mend(stage, 1, b"", records[found] or records["O"]) == "mended"
    if not found:
        await stage.redis.delete(stage.key("members"), stage.key("totals"))
    assert await mend(stage, 1, records[found], records[right]) == "mended"
    assert await stage.redis.hget(stage.key("members"), 1) == records[right]
    assert {name: count for name, count in (await stage.totals()).items() if count} == COUNTED[right]


async def test_that_a_winner_was_late_is_what_the_books_say(stage: Stage) -> None:
    assert await mend(stage, 1, b"", record(1, "C"), late=1) == "mended"
    assert (await stage.totals())["late"] == 1


async def test_who_has_claimed_by_the_books_has_claimed(stage: Stage) -> None:
    await stage.winners(1, 2, 3)
    await stage.settled(5, 7, 9)
    found = await stage.redis.hget(stage.key("members"), 2)
    assert await mend(stage, 2, found, b"P" + found[1:]) == "mended"
    assert await stage.claim(2, 3) == [["already_claimed", 7, 100], ["claimed", 9, 100]]


async def test_who_has_moved_since_is_left_alone(stage: Stage) -> None:
    await stage.members(1)
    found = await stage.redis.hget(stage.key("members"), 1)
    await stage.check_in(1)
    async with stage.nothing_changes():
        assert await mend(stage, 1, found, record(1, "M")) == "moved"
        assert await mend(stage, 1, b"", record(1, "M")) == "moved"


async def test_a_vector_of_users_is_answered_one_by_one(stage: Stage) -> None:
    await stage.join(2)
    row = {"found": b"", "late": 0, "packet_fen": 0, "found_fen": 0}
    rows: list[Any] = [{"uid": uid, "right": record(uid, "M"), **row} for uid in range(1, 501)]
    answers = await stage.call("mend", *rows, last_number=0)
    assert answers == ["mended", "moved", *["mended"] * 498]
    assert (await stage.totals())["members"] == 499


async def test_a_round_that_is_not_there_says_so(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await mend(empty_stage, 1, b"", record(1, "M")) == "no_round"


async def test_the_last_number_is_raised_and_never_lowered(stage: Stage) -> None:
    await stage.join(1, 2, 3)
    assert await stage.call("mend", last_number=2) == []
    assert (await stage.call("join", order(4)))[0][1] == order_no.first_order_id(DAY, 0) + 4
    assert await stage.call("mend", last_number=1_000) == []
    assert (await stage.call("join", order(5)))[0][1] == order_no.first_order_id(DAY, 0) + 1_001 + 65_536
