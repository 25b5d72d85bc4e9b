"""Too many, too busy: who is refused is told when to come back, and others are served."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from clock.game import keys
from clock.http import lane
from tests.conftest import DAY, Api, at
from tests.flow.http.stage import EXTRA, ME, OTHER, Reply, ask, held, json, kept, until
from tests.raw import Redis

MOST_ASKED = 30
"""Three of each second are served, and the machine may be busy."""


@pytest.mark.parametrize("changes", [{"user_rate": 3}])
async def test_a_user_who_asks_too_often_is_slowed_down_and_others_are_not(api: Api, redis: Redis) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.post("/api/summary", OTHER)
    mine: list[Reply] = []
    slowed: list[Reply] = []
    while len(slowed) < 5 and len(mine) < MOST_ASKED:
        mine.append(await ask(api, "POST", "/api/summary", json({"uid": ME}), **api.token(ME)))
        slowed += [mine[-1]] if mine[-1].code == "slow_down" else []
    assert {reply.code for reply in mine[:3]} == {"ok"}
    assert len(slowed) == 5
    assert {(reply.status, reply.headers["retry-after"]) for reply in slowed} == {(429, "1")}
    before = await kept(redis)
    join = await ask(api, "POST", "/api/join", json({"uid": ME, "extra": EXTRA}), **api.token(ME))
    if join.code == "slow_down":
        assert await kept(redis) == before
    assert (await api.post("/api/summary", OTHER))["code"] == "ok"
    await asyncio.sleep(1.01)
    assert (await api.post("/api/summary", ME))["code"] == "ok"


@pytest.mark.parametrize("changes", [{"user_rate": 3}])
@pytest.mark.parametrize("path", ["/api/me", "/api/me/history", "/api/me/yesterday"])
async def test_reads_of_a_user_are_counted_like_the_verbs(api: Api, path: str) -> None:
    replies = [await ask(api, "GET", path, **api.token(ME)) for _ in range(3)]
    assert {reply.code for reply in replies} == {"ok"}
    while replies[-1].code == "ok" and len(replies) < MOST_ASKED:
        replies.append(await ask(api, "GET", path, **api.token(ME)))
    assert (replies[-1].code, replies[-1].status, replies[-1].headers["retry-after"]) == ("slow_down", 429, "1")
    assert (await ask(api, "GET", path, **api.token(OTHER))).code == "ok"


async def test_when_the_queue_is_full_the_rest_are_told_to_come_back_and_nothing_is_done_for_them(
    api: Api, redis: Redis
) -> None:
    api.service.time.stop_at(at("20:00"))
    people = range(1, 41)
    for uid in people:
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    api.service.asking.batcher._max_waiting = 5

    async def check_in(uid: int) -> Reply:
        return await ask(api, "POST", "/api/check-in", json({"uid": uid}), **api.token(uid))

    await check_in(people[-1] + 1)  # a stranger, so that the round is known
    async with held(redis):
        asking = [asyncio.create_task(check_in(uid)) for uid in people]
        await until(lambda: sum(one.done() for one in asking) == len(people) - 5)
    replies = dict(zip(people, await asyncio.gather(*asking), strict=True))
    refused = [uid for uid, reply in replies.items() if reply.code == "busy"]
    done = [uid for uid, reply in replies.items() if reply.code == "checked_in"]
    assert len(refused) + len(done) == len(people)
    assert len(done) == 5
    assert all(replies[uid].status == 503 and replies[uid].headers["retry-after"] == "1" for uid in refused)
    assert int(await redis.hget(keys.name(DAY, 0, "totals"), "winners") or 0) == len(done)
    assert [(await check_in(uid)).code for uid in refused] == ["checked_in"] * len(refused)


async def test_beyond_its_bound_a_process_refuses_at_once_and_lets_in_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(ME)
    monkeypatch.setattr(lane.inside, "most", 0)
    for body, headers in ((b"not JSON", {}), (json({"uid": ME}), api.token(ME))):
        refused = await ask(api, "POST", "/api/summary", body, **headers)
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "busy", "1")
    assert (await api.send("GET", "/healthz"))[0] == 200
    monkeypatch.setattr(lane.inside, "most", 1)
    for _ in range(3):
        assert (await api.post("/api/summary", ME))["code"] == "ok"
    assert lane.inside.count == 0


async def test_a_body_that_never_ends_does_not_block_others(api: Api) -> None:
    ended = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"uid": '
        await ended.wait()
        yield b"7}"

    async with aiohttp.ClientSession() as other:
        body = slowly()
        slow = asyncio.create_task(
            other.post(f"{api.url}/api/check-in/status", data=body, headers=api.token(ME)).__aenter__()
        )
        await asyncio.sleep(0.05)
        assert (await api.post("/api/check-in/status", OTHER))["code"] == "ok"
        ended.set()
        assert (await slow).status == 200
