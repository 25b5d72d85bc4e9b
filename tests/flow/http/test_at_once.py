"""Verbs that are one question are answered without a task: as the others are, and one that breaks harms nobody else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import Calendar, day_number
from clock.game import keys
from clock.game.batch import Half
from clock.game.totals import FRESH_SECONDS
from clock.http import lane, server
from tests.conftest import DAY, Api, at
from tests.flow.http.stage import Phone, ask, held, json, request, until
from tests.raw import Redis

AT_ONCE = ["/api/check-in", "/api/claim", "/api/summary"]
MEMBERS, ORDERED, STRANGERS = (11, 12), (21, 22), (31, 32)


async def said(api: Api, path: str, uid: int, *, chunked: bool, **headers: str) -> dict[str, Any]:
    """The answer to a plain request, or to one that goes through ASGI because its length is not told."""

    async def pieces() -> AsyncIterator[bytes]:
        yield json({"uid": uid})

    reply = await ask(api, "POST", path, pieces() if chunked else json({"uid": uid}), **api.token(uid), **headers)
    return reply.body


async def same(api: Api, instant: int, *words: str) -> None:
    """Of each pair one asks plainly and one by ASGI, all paths twice, and hears the same. ``words``: of check-in."""
    api.service.time.stop_at(instant)
    await api.service.opener.open_around(api.service.asking.calendar.day_at(instant))
    heard = []
    for pair in (MEMBERS, ORDERED, STRANGERS):
        for path in (*AT_ONCE, *AT_ONCE):
            plain, other = [await said(api, path, uid, chunked=uid == pair[1]) for uid in pair]
            for answer in (plain, other):
                order = answer["data"].get("summary", {}).get("order")
                if order:
                    del order["order_no"]
                if "summary" in answer["data"]:
                    del answer["data"]["summary"]["clock_user_num"]
            assert plain == other
            if path == "/api/check-in":
                heard.append(plain["code"])
    assert heard[::2] == list(words)


async def test_the_answers_of_a_day_are_the_same_without_a_task(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {path.encode() for path in AT_ONCE} == {
        path for path, lean in api.lean.items() if "POST" in lean.endpoints and lean.endpoints["POST"].at_once
    }
    api.service.time.stop_at(at("20:00"))
    for uid in MEMBERS:
        await api.member(uid)
    for uid in ORDERED:
        await api.join(uid)
    asked: list[Any] = []
    ask_two = api.service.home.summary_at_once

    def noted(*args: Any) -> Any:
        asked.append(ask_two(*args))
        return asked[-1]

    monkeypatch.setattr(api.service.home, "summary_at_once", noted)
    await same(api, at("24:00") - 1, "too_late", "too_late", "too_late")
    await same(api, at("00:00", 1), "too_early", "too_early", "too_early")
    await same(api, at("05:00", 1) - 1, "too_early", "too_early", "too_early")
    await same(api, at("05:00", 1), "checked_in", "not_joined", "not_joined")
    await same(api, at("08:00", 1) - 1, "already_checked_in", "not_joined", "not_joined")
    waited_ms = 5_000  # at most, by which a request counts as earlier
    await same(api, at("08:00", 1) + waited_ms, "already_checked_in", "too_late", "too_late")
    await same(api, at("00:00", 2), "too_early", "too_early", "too_early")
    assert any(asked) or api.settings.protocol == "ordinary", "at least one of them was two questions at once"


async def summary(api: Api, uid: int) -> dict[str, Any]:
    """What both ways say."""
    heard = []
    for language in ("zh", "en"):
        for chunked in (True, False):
            await api.service.asking.totals.get(DAY, 1)
            heard.append(await said(api, "/api/summary", uid, chunked=chunked, **{"accept-language": language}))
    assert heard[0] == heard[1] and heard[2] == heard[3]
    return dict(heard[0]["data"]["summary"])


async def test_the_home_page_is_the_same_in_every_state(api: Api, redis: Redis) -> None:
    flags, member = keys.name(keys.USERS, keys.user_shard(11), "flags"), keys.name(DAY, 0, "members")
    api.service.time.stop_at(at("20:00"))
    await api.member(11)
    api.service.time.stop_at(at("05:30", 1))
    await api.service.opener.open_around(api.service.asking.calendar.day_at(at("05:30", 1)))
    assert (await summary(api, 11))["clock_status"] == 1
    await api.post("/api/remind", 11, on=True)
    assert (await summary(api, 11))["is_remind"] == 1
    paid = await redis.hget(member, "11") or b""
    for letter in (b"L", b"C", b"P"):
        await redis.hset(member, "11", letter + paid[1:])
        assert (await summary(api, 11))["clock_status"] == (1 if letter == b"L" else 2)
    await redis.hset(member, "11", paid)
    api.service.asking.closes(DAY, [at("08:30", 1)])
    assert (await summary(api, 11))["rules"]["extended_s"] == 1_800
    api.service.time.stop_at(at("08:35", 1) - 1)
    assert (await summary(api, 11))["red_time"] == 1
    await redis.hset(flags, "11", f"11{day_number(DAY)}")
    assert (await summary(api, 11))["is_alert"] == 1
    await redis.hset(keys.name(DAY, 0, "round"), "state", "void")
    await asyncio.sleep(FRESH_SECONDS)
    assert (await summary(api, 11))["yesterday"]["state"] == "void"


async def test_a_morning_that_has_not_begun_where_the_round_is_played(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(11)
    api.service.time.stop_at(at("23:30"))
    api.service.asking.calendar = Calendar("Asia/Tokyo")
    await api.service.opener.open_around(api.service.asking.calendar.day_at(at("23:30")))
    assert (await summary(api, 11))["clock_status"] == 0


async def test_a_round_that_redis_has_lost_is_opened(api: Api, redis: Redis) -> None:
    """Nobody had joined it, so that nothing is lost with it."""
    api.service.time.stop_at(at("05:00", 1))
    for path, word in zip(AT_ONCE, ("not_joined", "too_early", "ok"), strict=True):
        assert (await said(api, path, STRANGERS[0], chunked=False))["code"] == word
        await said(api, "/api/summary", STRANGERS[0], chunked=False)  # which has the figures read
        await redis.delete(keys.name(DAY, 0, "round"))
        assert (await said(api, path, STRANGERS[0], chunked=False))["code"] == word


async def test_a_round_that_a_process_does_not_know_yet_is_read(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(MEMBERS[0])
    api.service.time.stop_at(at("05:00", 1))
    for forget in (api.service.asking.rounds.clear, api.service.asking.totals._known.clear):
        for path, words in zip(AT_ONCE, ({"checked_in", "already_checked_in"}, {"too_early"}, {"ok"}), strict=True):
            forget()
            assert (await said(api, path, MEMBERS[0], chunked=False))["code"] in words
            assert lane.inside.count == 0


@pytest.mark.parametrize("breaks", [lambda *_: 1 / 0, lambda *_: Answer("of no meaning")])
async def test_one_answer_that_breaks_is_one_that_is_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch, breaks: Any
) -> None:
    """All are in one call of the script, so whoever tells them their results must come to the last."""
    api.service.time.stop_at(at("20:00"))
    for uid in range(1, 6):
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    await said(api, "/api/check-in", 1, chunked=False)
    finish = api.service.verbs.check_in_at_once

    def broken(waiter: Any, uid: int, arrived: float) -> Any:
        finished = finish(waiter, uid, arrived)
        return breaks if uid == 3 and finished else finished

    endpoint = api.lean[b"/api/check-in"].endpoints["POST"]
    at_once = lambda waiter, asked, arrived: broken(waiter, asked.uid, arrived)  # noqa: E731
    monkeypatch.setitem(
        api.lean[b"/api/check-in"].endpoints, "POST", msgspec.structs.replace(endpoint, at_once=at_once)
    )
    with capture_logs() as logs:
        replies = await asyncio.gather(*(said(api, "/api/check-in", uid, chunked=False) for uid in range(2, 6)))
    plain = api.settings.protocol == "lean"
    assert [reply["code"] for reply in replies] == [
        "checked_in",
        "internal" if plain else "checked_in",
        "checked_in",
        "checked_in",
    ]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["request_broke"] * plain
    assert lane.inside.count == 0


async def test_an_answer_that_cannot_be_written_harms_nobody_else(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    if api.settings.protocol == "ordinary":
        return
    api.service.time.stop_at(at("05:00", 1))
    await said(api, "/api/check-in", 1, chunked=False)
    say = server.LeanProtocol.say

    def broken(self: Any, word: str, body: bytes, *more: Any) -> None:
        if word == "not_joined" and not broken_once:
            broken_once.append(self)
            raise ZeroDivisionError
        say(self, word, body, *more)

    broken_once: list[Any] = []
    monkeypatch.setattr(server.LeanProtocol, "say", broken)
    with capture_logs() as logs:
        asked = (said(api, "/api/check-in", uid, chunked=False) for uid in range(2, 6))
        replies = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(reply, Exception) for reply in replies) == 1
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["answer_broke"]
    assert lane.inside.count == 0


async def test_a_client_that_leaves_is_not_waited_for(api: Api, phone: Phone, redis: Redis) -> None:
    api.service.time.stop_at(at("05:00", 1))
    await api.post("/api/check-in", 2)
    async with held(redis):
        await phone.say(request(api, "/api/check-in"))
        await until(lambda: lane.inside.count == 1)
        phone.writer.transport.abort()
        other = asyncio.create_task(api.post("/api/check-in", 3))
        await until(lambda: lane.inside.count == 2)
    assert (await other)["code"] == "not_joined"
    await until(lambda: lane.inside.count == 0)


class Told:
    def __init__(self) -> None:
        self.results: list[Any] = []

    def done(self) -> bool:
        return bool(self.results)

    def set_result(self, result: Any) -> None:
        self.results.append(result)

    def set_exception(self, error: Exception) -> None:
        self.results.append(error)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_halves_are_told_once_in_whichever_order_they_come(order: tuple[int, int]) -> None:
    told = Told()
    first = Half(told)
    halves = [(first, (5, "flags")), (Half(told, first), (6, "state"))]
    for place in order:
        half, result = halves[place]
        assert not half.done()
        half.set_result(result)
    assert told.results == [(halves[order[1]][1][0], ("flags", "state"))]


def test_a_half_that_fails_is_the_end_of_both() -> None:
    told, error = Told(), Unavailable("gone")
    first = Half(told)
    second = Half(told, first)
    second.set_exception(error)
    assert first.done(), "so that its result is not told"
    assert told.results == [error]
