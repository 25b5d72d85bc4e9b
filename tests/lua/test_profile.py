"""profile: passes on what users say of themselves."""

from clock.game.events import Profiled
from clock.game.scripts import Value
from tests.lua.stage import EVENING, MAX_UID, Stage


def row(uid: int, nickname: str = "晨") -> dict[str, Value]:
    return {"uid": uid, "open_id": f"open-{uid}", "mobile": "13800000000", "nickname": nickname}


async def test_what_users_say_is_passed_on_in_their_order(stage: Stage) -> None:
    before = await stage.totals()
    assert await stage.call("profile", row(2), row(1, "")) == ["noted", "noted"]
    assert await stage.new_events() == [
        Profiled(EVENING, [(2, "open-2", "13800000000", "晨"), (1, "open-1", "13800000000", "")])
    ]
    assert await stage.totals() == before
    assert await stage.status(1, 2) == "--"


async def test_a_user_twice_in_one_call_is_passed_on_in_order_so_that_the_last_word_counts(stage: Stage) -> None:
    await stage.call("profile", row(1, "first"), row(1, "last"))
    event = (await stage.events())[0]
    assert isinstance(event, Profiled)
    assert [said[3] for said in event.rows] == ["first", "last"]


async def test_texts_that_look_like_numbers_stay_texts(stage: Stage) -> None:
    await stage.call("profile", {"uid": 1, "open_id": "007", "mobile": "1e5", "nickname": "0x10"})
    assert await stage.events() == [Profiled(EVENING, [(1, "007", "1e5", "0x10")])]


async def test_a_full_vector_of_256_users(stage: Stage) -> None:
    uids = list(range(MAX_UID - 255, MAX_UID + 1))
    assert await stage.call("profile", *(row(uid) for uid in uids)) == ["noted"] * 256
    event = (await stage.events())[0]
    assert isinstance(event, Profiled)
    assert [said[0] for said in event.rows] == uids
