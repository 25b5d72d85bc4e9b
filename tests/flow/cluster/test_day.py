"""A whole day on a cluster of six, over HTTP, with a worker: what is asked of one server is asked of three."""

import asyncio
from typing import Any

import pytest

from clock import verifier
from clock.game import keys
from tests.cluster import Cluster
from tests.conftest import DAY, Api
from tests.flow.cluster.stage import SECONDS, SHARDS, Crowd, books_agree, it_is, owners
from tests.flow.operators.stage import clock, operate
from tests.flow.stage import ready, working
from tests.flow.switch.stage import seconds_until

pytestmark = pytest.mark.long

MEMBERS = range(1, 65)
EARLY, LATER = range(1, 33), range(33, 49)


async def summary(api: Api, uid: int) -> dict[str, Any]:
    found: dict[str, Any] = (await api.post("/api/summary", uid))["data"]["summary"]
    return found


async def of_users_and_rounds(six: Cluster) -> dict[bytes, int]:
    """Every key with a tag, and the number of the primary that has it."""
    found: dict[bytes, int] = {}
    for number, node in enumerate(await six.primaries()):
        found |= dict.fromkeys(await six.tell(node, "KEYS", "clock:{*"), number)
    return found


async def test_a_whole_day(api: Api, six: Cluster) -> None:
    async with working(api.settings):
        await it_is(api, "2026-11-22T20:00:00")
        crowd = Crowd(api)
        await crowd.all(crowd.become_member, MEMBERS)
        assert (await api.post("/api/remind", 1))["data"] == {"is_remind": 1}
        await every_primary_has_its_part(six)
        await figures_are_sums_over_all_nodes(api)

        await it_is(api, "2026-11-23T05:00:00")
        await crowd.all(crowd.check_in, EARLY)
        await redis_is_lost_and_rebuilt(api, six)
        await crowd.all(crowd.check_in, [*EARLY, *LATER])
        assert (await api.post("/api/check-in", 64))["code"] == "checked_in"
        assert not crowd.unavailable

        await books_agree(api, MEMBERS, [*EARLY, *LATER, 64])
        assert [(await summary(api, uid))["is_alert"] for uid in (1, 60)] == [1, 1]
        assert (await api.post("/api/alert/ack", 1))["data"] == {"is_alert": 0}
        shown = await summary(api, 1)
        assert (shown["is_alert"], shown["is_remind"]) == (0, 1)

        await it_is(api, "2026-11-24T00:00:00")

        async def finished() -> bool:
            return str((await operate(api, "GET", f"/ops/rounds/{DAY}"))[1]["data"]["state"]) == "finished"

        await seconds_until(finished, SECONDS)
        assert await asyncio.to_thread(verifier.main, [DAY.isoformat(), "--from", api.url, "--days", "1"]) == 0


async def every_primary_has_its_part(six: Cluster) -> None:
    shards = await owners(six)
    assert sorted(shards.count(node) for node in await six.primaries()) == [2, 3, 3]
    assert set((await of_users_and_rounds(six)).values()) == {0, 1, 2}


async def figures_are_sums_over_all_nodes(api: Api) -> None:
    async def added_up() -> bool:
        shown = await summary(api, 1)
        return (shown["user_num"], shown["clock_money"]) == (len(MEMBERS), 100 * len(MEMBERS))

    await seconds_until(added_up, SECONDS)

    async def said() -> bool:
        live = (await operate(api, "GET", "/ops/live"))[1]["data"]
        return live["traffic"]["processes"] >= 1 and "join" in live["traffic"]["verbs"]

    await seconds_until(said, SECONDS)
    await seconds_until(lambda: ready(api.session, api.settings), SECONDS)  # the first look opens rounds


async def redis_is_lost_and_rebuilt(api: Api, six: Cluster) -> None:
    """All but the moved clock, of every node."""

    async def drained() -> bool:
        found = (await operate(api, "GET", f"/ops/rounds/{DAY}"))[1]["data"]
        return (found["winners"], found["outbox_depth"]) == (len(EARLY), 0)

    await seconds_until(drained, SECONDS)
    primaries = await six.primaries()
    before = await of_users_and_rounds(six)
    for name, number in before.items():
        await six.tell(primaries[number], "DEL", name)
    assert (await api.send("POST", "/api/check-in", {"uid": 64}, api.token(64)))[0] == 503
    status, said = await clock(api.settings, "rebuild")
    assert status == 0, said
    after = await of_users_and_rounds(six)
    played = {
        keys.name(DAY, shard, noun).encode() for shard in range(SHARDS) for noun in ("round", "members", "totals")
    }
    assert played <= before.keys()
    assert played <= after.keys()
