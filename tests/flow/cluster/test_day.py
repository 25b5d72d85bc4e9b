"""A whole day on a cluster of six, over HTTP, with a worker: what is asked of one server is asked of three. It has a
beacon, a witness and receipts, and a primary ends between C and the draw."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock import verifier
from clock.config import Settings
from clock.game import keys
from tests.cluster import Cluster
from tests.conftest import Api, Servers, settings_over
from tests.flow.cluster.stage import SECONDS, SHARDS, Crowd, books_agree, drawn_after, it_is, owners, rows
from tests.flow.operators.stage import clock, operate
from tests.flow.settlement.drawn import relay
from tests.flow.stage import ready, working
from tests.flow.switch.stage import seconds_until
from tests.flow.tlog.stage import LOG_KEY, witness

pytestmark = pytest.mark.long

DAY = date(2059, 11, 22)
"""A witness signs by the real clock, and has to sign before the draw."""
MORNING = DAY + timedelta(1)

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


@pytest.fixture
async def settings(six: Cluster, servers: Servers, database_url: str, tmp_path: Path) -> AsyncIterator[Settings]:
    async with relay() as beacon, witness(tmp_path / "w") as seer:
        plain = settings_over(six.url, database_url, tmp_path, queue_url=servers.redis_url, shards=SHARDS)
        yield msgspec.structs.replace(plain, witnesses=seer.setting, **beacon.settings)


async def test_a_whole_day(api: Api, six: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with working(api.settings):
        await it_is(api, f"{DAY}T20:00:00")
        crowd = Crowd(api)
        await crowd.all(crowd.become_member, MEMBERS)
        assert (await api.post("/api/remind", 1))["data"] == {"is_remind": 1}
        await every_primary_has_its_part(six)
        await figures_are_sums_over_all_nodes(api)

        await it_is(api, f"{MORNING}T05:00:00")
        await crowd.all(crowd.check_in, EARLY)
        await redis_is_lost_and_rebuilt(api, six)
        await crowd.all(crowd.check_in, [*EARLY, *LATER])
        assert (await api.post("/api/check-in", 64))["code"] == "checked_in"
        assert not crowd.unavailable and len(crowd.receipts) == len(EARLY) + len(LATER)

        await a_primary_ends_between_c_and_the_draw(api, six)
        await books_agree(api, MEMBERS, [*EARLY, *LATER, 64], DAY)
        assert [(await summary(api, uid))["is_alert"] for uid in (1, 60)] == [1, 1]
        assert (await api.post("/api/alert/ack", 1))["data"] == {"is_alert": 0}
        shown = await summary(api, 1)
        assert (shown["is_alert"], shown["is_remind"]) == (0, 1)

        await it_is(api, f"{MORNING + timedelta(1)}T00:00:00")

        async def finished() -> bool:
            return str((await operate(api, "GET", f"/ops/rounds/{DAY}"))[1]["data"]["state"]) == "finished"

        await seconds_until(finished, SECONDS)
        await a_witness_has_seen(api, "published")
        receipts = crowd.receipts[::4]
        assert await verified(api, tmp_path, receipts) == 0, capsys.readouterr().out
        said = capsys.readouterr().out
        assert "; P has it, and C was made before it was out" in said
        assert "no          " not in said and said.count("yes         receipt") == len(receipts) == 12


async def a_primary_ends_between_c_and_the_draw(api: Api, six: Cluster) -> None:
    """Nobody brings it back."""

    async def ends() -> None:
        await a_witness_has_seen(api, "closed")
        ended = (await owners(six, DAY))[0]
        await six.kill(ended)
        await six.promoted(ended)

    await drawn_after(api, DAY, ends)


async def a_witness_has_seen(api: Api, kind: str) -> None:
    asked = "SELECT FROM log_entries JOIN log_cosignatures ON size = checkpoint"

    async def seen() -> list[Any]:
        return await rows(api.settings, f"{asked} WHERE day = '{DAY}' AND kind = '{kind}'")

    await seconds_until(seen, SECONDS)


async def verified(api: Api, place: Path, receipts: list[dict[str, Any]]) -> int:
    """By a reader who trusts none of the service's keys."""
    chain = place / "chain.json"
    chain.write_text(api.settings.beacon)
    trust = ["--keys", LOG_KEY, "--witness", api.settings.witnesses.split()[0], "--chain", str(chain)]
    for number, receipt in enumerate(receipts):
        kept = place / f"receipt-{number}.json"
        kept.write_bytes(msgspec.json.encode(receipt))
        trust += ["--receipt", str(kept)]
    return await asyncio.to_thread(verifier.main, [str(DAY), "--from", api.url, "--days", "1", *trust])


async def every_primary_has_its_part(six: Cluster) -> None:
    shards = await owners(six, DAY)
    assert sorted(shards.count(node) for node in await six.primaries()) == [2, 3, 3]
    assert set((await of_users_and_rounds(six)).values()) == {0, 1, 2}


async def figures_are_sums_over_all_nodes(api: Api) -> None:
    async def added_up() -> bool:
        shown = await summary(api, 1)
        return (shown["user_num"], shown["clock_money"]) == (len(MEMBERS), 100 * len(MEMBERS))

    await seconds_until(added_up, SECONDS)

    async def said() -> bool:
        await api.join(1)  # what was asked two seconds ago is not said any more
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
