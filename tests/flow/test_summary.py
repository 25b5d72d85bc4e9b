"""The home page: every field of the summary, for everybody who can look at it, through a day."""

import asyncio
from datetime import date, timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from clock.books import outbox
from clock.game import asking, keys
from clock.game.profiles import MOST_CHANGES
from tests.conftest import DAY, Api, at

FIELDS = {
    "is_remind",
    "clock_status",
    "user_num",
    "clock_user_num",
    "clock_money",
    "clock_time",
    "red_time",
    "zero_time",
    "is_start",
    "is_alert",
    "yest_money",
    "round",
    "server_time",
}
GUEST = 0
HOUR = 3600


async def summary(api: Api, uid: int = GUEST, **body: Any) -> dict[str, Any]:
    """The home page now: what is remembered of the totals for a moment is forgotten first."""
    api.service.asking.totals._known.clear()
    if uid:
        reply = await api.post("/api/summary", uid, **body)
    else:
        status, reply = await api.send("GET", "/api/summary")
        assert status == 200
    assert (reply["status"], reply["code"], set(reply["data"])) == (1, "ok", {"summary"})
    shown: dict[str, Any] = reply["data"]["summary"]
    assert shown["server_time"] == api.service.time.now_ms()
    return shown


def assert_shows(shown: dict[str, Any], **expected: Any) -> None:
    assert {name: shown[name] for name in expected} == expected


async def test_the_summary_has_exactly_these_fields_of_exactly_these_types(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (GUEST, 7):
        shown = await summary(api, uid)
        assert set(shown) >= FIELDS
        assert isinstance(shown.pop("round"), str)
        assert all(type(value) is int for name, value in shown.items() if name in FIELDS)


async def test_the_evening_before_everybody_sees_todays_round_and_may_join_it(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.join(2)
    await api.member(1)
    for uid, status in ((GUEST, 0), (1, 1), (2, 0), (3, 0)):
        assert_shows(
            await summary(api, uid),
            clock_status=status,
            user_num=1,
            clock_user_num=0,
            clock_money=100,
            clock_time=9 * HOUR,  # to 05:00
            red_time=0,
            zero_time=4 * HOUR,  # to midnight
            is_start=1,
            is_alert=0,
            yest_money=0,
            round="2026-11-22",
        )


async def test_until_settlement_yesterdays_members_and_guests_see_yesterday_and_everybody_else_today(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2, 3):
        await api.member(uid)
    api.service.time.stop_at(at("04:00", 1))
    await api.member(9)
    yesterday = {"user_num": 3, "clock_money": 300, "round": "2026-11-22", "is_start": 0, "zero_time": 0}
    assert_shows(await summary(api, 1), **yesterday, clock_status=1, clock_time=HOUR, red_time=4 * HOUR + 300)
    assert_shows(await summary(api), **yesterday, clock_status=0, clock_time=HOUR, red_time=0)
    today = {"user_num": 1, "clock_money": 100, "round": "2026-11-23", "is_start": 1, "zero_time": 20 * HOUR}
    assert_shows(await summary(api, 9), **today, clock_status=1, clock_time=25 * HOUR, red_time=0, yest_money=300)
    assert_shows(await summary(api, 8), **today, clock_status=0, clock_time=25 * HOUR, red_time=0, yest_money=300)

    api.service.time.stop_at(at("05:00", 1))
    await api.post("/api/check-in", 1)
    assert_shows(await summary(api, 1), clock_status=2, clock_user_num=1, clock_time=0, red_time=3 * HOUR + 300)
    assert_shows(await summary(api, 2), clock_status=1, clock_user_num=1, clock_time=0, red_time=3 * HOUR + 300)
    assert_shows(await summary(api), clock_status=0, clock_user_num=1, clock_time=0, yest_money=300)

    api.service.time.stop_at(at("08:05", 1, -1))
    assert_shows(await summary(api, 1), round="2026-11-22", red_time=1, yest_money=300)
    assert_shows(await summary(api), round="2026-11-22")

    api.service.time.stop_at(at("08:05", 1))
    for uid in (GUEST, 1, 2, 8):
        assert_shows(await summary(api, uid), **{**today, "zero_time": 16 * HOUR - 300}, clock_status=0, yest_money=300)
        assert_shows(await summary(api, uid), red_time=0, clock_user_num=0, clock_time=21 * HOUR - 300)
    assert_shows(await summary(api, 9), round="2026-11-23", clock_status=1)


async def test_a_guest_sees_today_when_nobody_joined_yesterday(api: Api) -> None:
    api.service.time.stop_at(at("06:00"))
    assert_shows(await summary(api), round="2026-11-22", is_start=1, yest_money=0, clock_time=23 * HOUR)


async def test_seconds_are_rounded_up_so_that_zero_means_now(api: Api) -> None:
    api.service.time.stop_at(at("23:59", 0, 59_999))
    assert_shows(await summary(api), zero_time=1)
    api.service.time.stop_at(at("05:00", 1, -1))
    await api.member(9)
    assert_shows(await summary(api, 9), clock_time=24 * HOUR + 1)


async def test_the_figures_of_the_home_page_are_at_most_a_quarter_of_a_second_old(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await summary(api)
    await api.member(1)
    await asyncio.sleep(0.26)
    _, reply = await api.send("GET", "/api/summary")
    assert reply["data"]["summary"]["user_num"] == 1


async def test_a_guest_gets_no_personal_field_by_naming_somebody(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(1)
    for path in ("/api/summary?uid=1", "/api/summary"):
        _, reply = await api.send("GET", path, headers=api.token(1))
        assert reply["data"]["summary"]["clock_status"] == 0


async def profile(api: Api, uid: int) -> tuple[str, str, str] | None:
    """What Postgres keeps of a user, once the outbox is in it: openId, mobile, nickname."""
    await outbox.drain(api.service.store, api.service.redis, DAY, 0)
    async with await psycopg.AsyncConnection.connect(api.settings.database_url) as connection:
        query = "SELECT open_id, mobile, nickname FROM profiles WHERE uid = %s"
        row: tuple[str, str, str] | None = await (await connection.execute(query, (uid,))).fetchone()
        return row


async def test_what_users_say_of_themselves_is_kept_and_a_part_of_it_erases_nothing(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await summary(api, 7)
    assert await profile(api, 7) is None
    await summary(api, 7, extra={"mobile": "13800000007", "nickname": "seven", "openId": "open-7"})
    assert await profile(api, 7) == ("open-7", "13800000007", "seven")
    await summary(api, 7, extra={"nickname": "七"})
    assert await profile(api, 7) == ("open-7", "13800000007", "七")
    await summary(api, 7, extra={"mobile": "13900000007"})
    assert await profile(api, 7) == ("open-7", "13900000007", "七")
    await summary(api, 7, extra={"openId": "open-77", "mobile": "", "nickname": ""})
    assert await profile(api, 7) == ("open-77", "13900000007", "七")
    for extra in ({}, {"mobile": ""}, {"mobile": None, "nickname": None, "openId": None}, None):
        await summary(api, 7, extra=extra)
    assert await profile(api, 7) == ("open-77", "13900000007", "七")


async def test_the_last_word_of_a_profile_counts_even_when_it_was_said_before(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for milliseconds, name in enumerate(("Lin", "Chen", "Lin")):
        api.service.time.stop_at(at("20:00", 0, milliseconds))
        await summary(api, 7, extra={"mobile": "13800000007", "nickname": name, "openId": "open-7"})
        assert await profile(api, 7) == ("open-7", "13800000007", name)
    await api.join(7)  # says "user 7"
    api.service.time.stop_at(at("20:01"))
    await summary(api, 7, extra={"mobile": "13800000007", "nickname": "Lin", "openId": "open-7"})
    assert await profile(api, 7) == ("open-7", "13800000007", "Lin")


async def test_a_profile_that_says_nothing_new_costs_no_outbox_entry(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    extra = {"mobile": "13800000007", "nickname": "seven", "openId": "open-7"}
    for _ in range(5):
        await summary(api, 7, extra=extra)
    entries = await api.service.redis.xrange(keys.name(DAY, 0, "outbox"))
    assert len(entries) == 1
    assert msgspec.msgpack.decode(entries[0][1][b"e"])[0] == "profiled"


async def test_one_user_changes_a_profile_only_so_often(api: Api) -> None:
    """Each change takes a kilobyte of Redis' file."""
    api.service.time.stop_at(at("20:00"))
    found = []
    for number in range(2 * MOST_CHANGES + 1):
        body = {"uid": 7, "extra": {"nickname": f"name {number}"}}
        found.append((await api.send("POST", "/api/summary", body, api.token(7)))[0])
    assert found.count(429) >= 1
    assert found.count(200) <= 2 * MOST_CHANGES  # a minute may have ended meanwhile
    same = {"uid": 7, "extra": {"nickname": f"name {found.index(429) - 1}"}}
    assert (await api.send("POST", "/api/summary", same, api.token(7)))[0] == 200
    assert (await api.send("POST", "/api/summary", {"uid": 8, "extra": {"nickname": "x"}}, api.token(8)))[0] == 200


async def test_tomorrows_round_is_told_from_the_moment_that_it_exists_and_looked_for_once_a_second(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (GUEST, 7):
        assert (await summary(api, uid))["next"] is None
    await api.service.opener.open_round(DAY + timedelta(1))
    assert (await summary(api))["next"] is None  # remembered: a home page costs no question to Redis
    monkeypatch.setattr(asking, "MISSED_SECONDS", 0.0)
    api.service.asking._missed = date.min, 0.0
    for uid in (GUEST, 7):
        shown = await summary(api, uid)
        told = shown["next"]
        assert (told["round"], told["campaign"]) == (str(DAY + timedelta(1)), None)
        assert told["rules"].keys() == shown["rules"].keys()
        assert told["rules"]["check_in_opens_ms"] == at("05:00", 2)
        assert (shown["rules"]["bonus_fen"], shown["rules"]["campaign"]) == (0, None)
    api.service.time.stop_at(at("06:00", 1))  # yesterday's round is shown to its members; tomorrow is tomorrow
    assert (await summary(api, 7))["next"] is None
