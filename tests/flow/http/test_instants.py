"""When a verb opens and closes, to the millisecond; of many requests at one instant, one counts."""

import asyncio

from clock.game import keys
from tests.conftest import DAY, Api, at
from tests.flow.http.stage import ME, OTHER
from tests.raw import Redis


async def test_of_many_simultaneous_check_ins_of_a_user_exactly_one_is_checked_in(api: Api, redis: Redis) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (ME, OTHER):
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    replies = await asyncio.gather(*(api.post("/api/check-in", uid) for uid in [ME, OTHER] * 40))
    for codes in ([reply["code"] for reply in replies[::2]], [reply["code"] for reply in replies[1::2]]):
        assert sorted(codes) == ["already_checked_in"] * 39 + ["checked_in"]
    assert await redis.hget(keys.name(DAY, 0, "totals"), "winners") == b"2"


async def test_check_in_opens_at_five_to_the_millisecond_and_closes_at_eight(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2, 3):
        await api.member(uid)
    for instant, uid, code in (
        (at("00:00", 1), 1, "too_early"),
        (at("05:00", 1, -1), 1, "too_early"),
        (at("05:00", 1), 1, "checked_in"),
        (at("08:00", 1, -1), 2, "checked_in"),
        # The few milliseconds that a request waits in the process are made up for; never more than five seconds.
        (at("08:00", 1, 5_000), 3, "too_late"),
        (at("08:00", 1, 5_000), 4, "too_late"),
        (at("08:00", 1, 5_000), 1, "already_checked_in"),
        (at("23:59", 1), 1, "already_checked_in"),
        (at("00:00", 2, 5_000), 1, "too_early"),
    ):
        api.service.time.stop_at(instant)
        assert (await api.post("/api/check-in", uid))["code"] == code, (instant, uid)


async def test_a_round_is_joined_on_its_day_and_by_yesterdays_members_from_its_settlement_on(api: Api) -> None:
    async def join(uid: int, instant: int) -> tuple[str, str]:
        api.service.time.stop_at(instant)
        reply = await api.join(uid)
        day = (await api.post("/api/summary", uid))["data"]["summary"]["round"]
        return reply["code"], day if reply["status"] else ""

    assert await join(1, at("00:00")) == ("ordered", "2026-11-22")
    assert await join(2, at("00:00", 1, -1)) == ("ordered", "2026-11-22")
    assert await join(3, at("00:00", 1, 5_000)) == ("ordered", "2026-11-23")
    await api.member(4)
    api.service.time.stop_at(at("20:00"))
    await api.member(5)
    assert await join(5, at("00:00", 1, 5_000)) == ("settle_first", "")
    assert await join(5, at("08:05", 1, -1)) == ("settle_first", "")
    assert await join(5, at("08:05", 1)) == ("ordered", "2026-11-23")


async def test_claiming_opens_with_the_settlement_and_closes_with_the_day(api: Api) -> None:
    async def claim(uid: int, instant: int) -> str:
        api.service.time.stop_at(instant)
        return str((await api.post("/api/claim", uid))["code"])

    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2, 3):
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    for uid in (1, 2):
        await api.post("/api/check-in", uid)
    assert await claim(1, at("08:00", 1, -1)) == "too_early"
    assert await claim(1, at("08:00", 1)) == "not_settled"
    api.service.time.stop_at(at("08:05", 1))
    assert await api.service.settling.settle(DAY) == "settled"
    assert await claim(1, at("08:05", 1)) == "claimed"
    assert await claim(3, at("08:05", 1)) == "not_checked_in"
    assert await claim(4, at("08:05", 1)) == "not_joined"
    assert await claim(2, at("00:00", 2, -1)) == "claimed"
    assert await claim(2, at("00:00", 2, 5_000)) == "too_early"  # today's check-in is another round's
