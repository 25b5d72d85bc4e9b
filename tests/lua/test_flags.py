"""flags, remind, ack_alert, alert: the switch and the latest result of each user, in the slot of the user's shard."""

from typing import Any

import pytest

from clock.game import keys
from clock.game.events import Acknowledged, Reminded
from tests.lua.stage import EVENING, MAX_UID, Client, Stage


class Users(Stage):
    """The same calls on the keys of users."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.redis, 0, keys.USERS, stage._forgets_scripts)

    async def flags(self, *uids: int) -> list[str]:
        return await self.call("flags", *({"uid": uid} for uid in uids))

    async def remind(self, **switches: int) -> list[Any]:
        """``u7=1``: user 7 on."""
        return await self.call("remind", *({"uid": int(uid[1:]), "on": on} for uid, on in switches.items()))

    async def ack(self, *uids: int) -> list[Any]:
        return await self.call("ack_alert", *({"uid": uid} for uid in uids))

    async def alert(self, day_number: int, *uids: int) -> Any:
        return (await self.call("alert", *({"uid": uid} for uid in uids), day_number=day_number))[0]


@pytest.fixture
async def users(empty_stage: Stage) -> Users:
    users = Users(empty_stage)
    await users.redis.hset(users.key("flags"), "open", 1)
    return users


async def test_the_switch_goes_on_and_off_and_says_so_once(users: Users) -> None:
    assert await users.flags(1, 2) == ["00", "00"]
    assert await users.remind(u1=1, u2=0) == ["switched", "switched"]
    assert await users.flags(2, 1) == ["00", "10"]
    assert await users.new_events() == [Reminded(EVENING, [(1, 1)])]
    async with users.nothing_changes():
        assert await users.remind(u1=1) == ["switched"]
    await users.remind(u1=0)
    assert await users.flags(1) == ["00"]
    assert await users.new_events() == [Reminded(EVENING, [(1, 0)])]


async def test_a_user_twice_in_one_call_ends_as_the_last_one_says(users: Users) -> None:
    assert await users.call("remind", *({"uid": 1, "on": on} for on in (1, 0, 0, 1))) == ["switched"] * 4
    assert await users.flags(1) == ["10"]
    assert await users.events() == [Reminded(EVENING, [(1, 1), (1, 0), (1, 1)])]


async def test_a_result_is_shown_until_it_is_acknowledged_and_the_next_one_again(users: Users) -> None:
    await users.remind(u1=1)
    assert await users.alert(2517, 1, 2) == "alerted"
    await users.drained()
    assert await users.flags(1, 2, 3) == ["112517", "012517", "00"]
    assert await users.ack(1, 1, 3) == ["acknowledged"] * 3
    assert await users.flags(1, 2, 3) == ["10", "012517", "00"]
    assert await users.new_events() == [Acknowledged(EVENING, [(1, 2517)])]
    async with users.nothing_changes():
        await users.ack(1, 3)
        assert await users.alert(2517, 1) == "alerted"  # again, by a tally that was taken up again
        await users.alert(2516, 1)
    await users.alert(2518, 1)
    assert await users.flags(1) == ["112518"]
    await users.remind(u1=0)
    assert await users.flags(1) == ["012518"]


async def test_nothing_is_answered_from_a_hash_that_is_not_whole(empty_stage: Stage) -> None:
    users = Users(empty_stage)
    async with users.nothing_changes():
        assert await users.flags(1) == ["no_flags"]
        assert await users.remind(u1=1) == ["no_flags"]
        assert await users.ack(1) == ["no_flags"]
        assert await users.alert(1, 1) == "no_flags"


async def test_full_vectors_of_the_largest_uids(users: Users) -> None:
    uids = list(range(MAX_UID - 255, MAX_UID + 1))
    await users.remind(**{f"u{uid}": 1 for uid in uids})
    await users.alert(14_000, *uids)
    assert await users.flags(*uids) == ["1114000"] * 256
    await users.drained()
    await users.ack(*uids)
    assert await users.events() == [Acknowledged(EVENING, [(uid, 14_000) for uid in uids])]


async def test_users_and_their_outbox_are_in_one_slot(redis: Client) -> None:
    assert keys.names(keys.USERS, 0, keys.USER_NOUNS) == [
        f"clock:{{{keys.tag(0)}}}:users:{noun}" for noun in ("flags", "outbox", "position", "limits")
    ]


async def test_a_user_costs_less_than_a_hundred_bytes(users: Users) -> None:
    name, uids = users.key("flags"), range(10**10, 10**10 + 2000)
    for start in range(0, len(uids), 500):
        await users.alert(2517, *uids[start : start + 500])
    assert await users.redis.memory_usage(name, samples=0) < 100 * len(uids)
