"""With ``CLOCK_DURABILITY=fsync`` a replica that had fallen behind is promoted in the middle of the claims: over HTTP,
with a worker, at real servers. What it lost is found and named, and two commands end it for everybody concerned."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock.game import keys
from clock.operators import acts, promises, verbs
from clock.runtime import embedded
from clock.runtime.processes import stop
from tests.conftest import DAY, Api
from tests.flow.operators.stage import clock, operate
from tests.flow.pair import Address, Pair
from tests.flow.stage import People, working
from tests.flow.switch.stage import books_have, says, seconds_until

pytestmark = pytest.mark.long

SECONDS = 30.0
AWAKE, AWAKE_LATER, ASLEEP = range(1, 5), range(5, 9), range(9, 13)
"""The replica has seen the check-ins of the first alone."""
UNDRAINED = (4, 8)
"""Their claims are in no books when the primary dies."""
LATE = (9, 10)
"""They tap when the promoted server believes that check-in is open."""

MINUTES_MS = 7 * 60_000


async def it_is(api: Api, instant: str) -> None:
    assert (await api.send("PUT", "/dev/time", {"now": f"{instant}+08:00"}))[0] == 200


async def alarms(api: Api) -> list[str]:
    return [alarm["code"] for alarm in (await operate(api, "GET", "/ops/live"))[1]["data"].get("alarms", [])]


async def said(api: Api, *arguments: str) -> dict[str, Any]:
    """What a command prints."""
    _, printed = await clock(api.settings, *arguments)
    return dict(msgspec.json.decode(printed[printed.index("{") :]))


async def claimed(api: Api, uid: int) -> int:
    reply = await api.post("/api/claim", uid)
    assert reply["code"] in ("claimed", "already_claimed"), reply
    return int(reply["data"]["assign"]["money"])


async def all_claimed(api: Api, uids: list[int]) -> dict[int, int]:
    return dict(zip(uids, await asyncio.gather(*(claimed(api, uid) for uid in uids)), strict=True))


async def up_to_the_claims(api: Api, two: Pair) -> None:
    """The replica is cut off at six."""
    await it_is(api, "2026-11-22T20:00:00")
    for uid in (*AWAKE, *AWAKE_LATER, *ASLEEP):
        await api.member(uid)
    await it_is(api, "2026-11-23T06:00:00")
    for uid in AWAKE:
        assert await says(api, "/api/check-in", uid) == "checked_in"
    await two.follow()
    await two.lose()
    for uid in AWAKE_LATER:
        assert await says(api, "/api/check-in", uid) == "checked_in"
    await it_is(api, "2026-11-23T08:05:10")

    async def settled() -> bool:
        return str((await operate(api, "GET", f"/ops/rounds/{DAY}"))[1]["data"]["state"]) == "settled"

    await seconds_until(settled, SECONDS)


async def promoted(two: Pair, address: Address) -> None:
    """The primary dies. What the replica had is minutes old."""
    await stop(two.first, signal.SIGKILL)
    two.process = await embedded.start(two.replica)
    await two.copy.execute_command("REPLICAOF", "NO", "ONE")
    touched_ms = int(time.time() * 1000) - MINUTES_MS
    await two.copy.hset(keys.name(DAY, 0, "round"), "touched_ms", touched_ms)
    address.to_port = two.replica.port


async def test_a_herd_of_claims_that_a_failover_forgets_ends_well_for_everybody(
    api: Api, two: Pair, address: Address, tmp_path: Path
) -> None:
    people = People(api.service)
    api.service.time.setting = ""
    log = tmp_path / "worker.log"
    async with working(api.settings, log) as worker:
        await up_to_the_claims(api, two)
        told = await all_claimed(api, [uid for uid in (*AWAKE, *AWAKE_LATER) if uid not in UNDRAINED])
        for uid in told:
            await seconds_until(lambda uid=uid: books_have(api.settings, "claims", uid), SECONDS)  # type: ignore[misc]
        worker.send_signal(signal.SIGSTOP)
        try:
            told |= await all_claimed(api, [*UNDRAINED])
            await promoted(two, address)

            async def answers() -> bool:
                return (await api.send("PUT", "/dev/time", {"now": "2026-11-23T08:05:10+08:00"}))[0] == 200

            await seconds_until(answers, SECONDS)
            for uid in LATE:
                assert await says(api, "/api/check-in", uid) == "checked_in"
        finally:
            worker.send_signal(signal.SIGCONT)

        async def rings() -> bool:
            return {"redis_behind", "promises"} <= set(await alarms(api))

        print("rings after", round(await seconds_until(rings, SECONDS), 1), "s")
        assert await says(api, "/api/check-in", ASLEEP[-1]) == "too_late"

        async def in_the_log() -> bool:
            text = log.read_text()
            return all(event in text for event in ('"server_changed"', '"shard_closed_again"'))

        await seconds_until(in_the_log, SECONDS)
        lost = await said(api, "lost", str(DAY))
        assert lost["code"] == "books_differ"
        claims = {one["uid"]: one["fen"] for one in lost["lost"] if one["verb"] == "claim"}
        assert claims == {uid: 100 + fen for uid, fen in told.items() if uid not in UNDRAINED}
        assert {one["uid"] for one in lost["lost"] if one["verb"] == "check_in"} == {*AWAKE_LATER}
        assert {one["uid"]: one["due_fen"] for one in lost["promises"]} == dict.fromkeys(LATE, 100)

        assert (await clock(api.settings, "rebuild", str(DAY)))[0] == 0
        assert await all_claimed(api, [*AWAKE, *AWAKE_LATER]) == told
        paid = await said(api, "make-good", str(DAY), "--reason", "a replica that lagged was promoted")
        assert (paid["code"], paid["paid"]) == ("made_good", [{"uid": uid, "fen": 100} for uid in LATE])
        again = await verbs.make_good(api.service, acts.command_line(), DAY, None, "again")
        assert again.data["paid"] == []
        assert (await promises.lost(api.service, DAY)).word == "books_agree"
        assert "promises" not in await alarms(api)
        reports = (await operate(api, "POST", f"/ops/reconcile/{DAY}"))[1]["data"]["reports"]
        found = [one for report in reports for one in report["differences"] if one["what"] != "bill_missing"]
        assert found == []
        assert sum((await people.balances()).values()) == 0
        assert await people.balance("made_good") == -100 * len(LATE)
        assert await people.balance(f"pool:{DAY}") == 0
        owed = {
            row["uid"]: row["fen"]
            for row in await people.rows("SELECT uid, sum(amount_fen)::bigint AS fen FROM outgoing GROUP BY uid")
        }
        assert owed == {uid: 100 + fen for uid, fen in told.items()} | dict.fromkeys(LATE, 100)
