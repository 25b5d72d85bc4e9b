"""A replica that had fallen behind becomes the primary: over HTTP, with a worker, at real servers."""

import signal

import pytest

from clock.runtime import embedded
from clock.runtime.processes import stop
from tests.conftest import DAY, Api
from tests.flow.operators.stage import clock, operate
from tests.flow.pair import Address, Pair
from tests.flow.stage import working
from tests.flow.switch.stage import books_have, says, seconds_until

pytestmark = pytest.mark.long

SECONDS = 20.0
MEMBERS, FORGOTTEN = range(1, 4), range(4, 8)


async def it_is(api: Api, instant: str) -> None:
    assert (await api.send("PUT", "/dev/time", {"now": f"{instant}+08:00"}))[0] == 200


async def alarms(api: Api) -> list[str]:
    return [alarm["code"] for alarm in (await operate(api, "GET", "/ops/live"))[1]["data"].get("alarms", [])]


async def promoted(two: Pair, address: Address) -> None:
    """The primary dies; the replica comes back with what it had, and the address means it."""
    await stop(two.first, signal.SIGKILL)
    two.process = await embedded.start(two.replica)
    await two.copy.execute_command("REPLICAOF", "NO", "ONE")
    address.to_port = two.replica.port


async def test_whom_redis_forgot_is_found_and_brought_back_while_people_play(
    api: Api, two: Pair, address: Address
) -> None:
    async with working(api.settings):
        await it_is(api, "2026-11-22T20:00:00")
        for uid in MEMBERS:
            await api.member(uid)
        await two.follow()
        await two.lose()
        orders = {uid: (await api.join(uid))["data"] for uid in FORGOTTEN}
        for uid, order in orders.items():
            assert (await api.pay(order["order_no"], uid))[1]["code"] == "paid"
        await seconds_until(lambda: books_have(api.settings, "members", FORGOTTEN[-1]), SECONDS)
        await promoted(two, address)

        async def rings() -> bool:
            return "redis_behind" in await alarms(api)

        print("rings after", round(await seconds_until(rings, SECONDS), 1), "s")
        again = (await api.join(8))["data"]
        assert again["order_id"] not in {order["order_id"] for order in orders.values()}
        await it_is(api, "2026-11-23T05:00:00")
        assert await says(api, "/api/check-in", FORGOTTEN[0]) == "not_joined"
        status, said = await clock(api.settings, "rebuild", str(DAY))
        assert (status, f'"users": {len(FORGOTTEN)}' in said) == (0, True), said
        for uid in (*MEMBERS, *FORGOTTEN[1:]):
            assert await says(api, "/api/check-in", uid) == "checked_in"

        await it_is(api, "2026-11-23T08:05:00")

        async def settled() -> bool:
            return str((await operate(api, "GET", f"/ops/rounds/{DAY}"))[1]["data"]["state"]) == "settled"

        await seconds_until(settled, SECONDS)
        for uid in (*MEMBERS, *FORGOTTEN[1:]):
            assert await says(api, "/api/claim", uid) == "claimed"
        reconciled = (await operate(api, "POST", f"/ops/reconcile/{DAY}"))[1]
        found = [one for report in reconciled["data"]["reports"] for one in report["differences"]]
        assert [one for one in found if one["what"] != "bill_missing"] == []
