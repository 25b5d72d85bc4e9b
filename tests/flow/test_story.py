"""One round from its first visitor to its last fen: the real stack, real HTTP, and a clock that we move.

Read this first. It is RULES and contract in the order in which people live through them.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from clock.config import Settings
from clock.domain.split import Split, split
from clock.runtime.supervise import running
from tests.flow.cluster.stage import on_six_nodes

LIN, CHEN, MEI, ZHAO, SUN = 1, 2, 3, 4, 5
"""Lin gets up early, Chen taps twice, Mei forgets her packet, Zhao oversleeps, Sun never pays."""

BOSS = 99
STAKE = 100


class Town:
    """What everybody here does over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, page: str) -> None:
        self.session = session
        self.page = page.rstrip("/")
        self.tokens: dict[int, str] = {}

    async def send(self, method: str, path: str, body: Any = None, uid: int = 0) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.tokens[uid]}"} if uid else {}
        async with self.session.request(method, self.page + path, json=body, headers=headers) as reply:
            envelope: dict[str, Any] = await reply.json()
            assert reply.status == 200, envelope
            return envelope

    async def sign_in(self, uid: int, role: str = "user") -> None:
        reply = await self.send("POST", "/dev/token", {"uid": uid, "role": role})
        self.tokens[uid] = reply["data"]["token"]

    async def does(self, uid: int, path: str, **body: Any) -> dict[str, Any]:
        return await self.send("POST", path, {"uid": uid, **body}, uid)

    async def it_is(self, instant: str) -> None:
        """When this answers, every process is on the new time, which runs on from there."""
        await self.send("PUT", "/dev/time", {"now": f"{instant}+08:00"})

    async def home(self, uid: int = 0) -> dict[str, Any]:
        await asyncio.sleep(0.3)  # the figures of the home page may be a quarter of a second old
        reply = await (self.does(uid, "/api/summary") if uid else self.send("GET", "/api/summary"))
        summary: dict[str, Any] = reply["data"]["summary"]
        return summary

    async def books(self, day: str) -> dict[str, Any]:
        reply = await self.send("GET", f"/ops/rounds/{day}", uid=BOSS)
        figures: dict[str, Any] = reply["data"]
        return figures


async def until(ask: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
    """Ask until the answer is a yes, and return it."""
    async with asyncio.timeout(seconds):
        while not (answer := await ask()):
            await asyncio.sleep(0.1)
        return answer


@pytest.mark.long
@pytest.mark.parametrize("redis_is", ["one server", "six nodes"])
async def test_a_round_from_its_first_visitor_to_its_last_fen(settings: Settings, redis_is: str) -> None:
    async with AsyncExitStack() as over:
        if redis_is == "six nodes":
            settings = await over.enter_async_context(on_six_nodes(settings))
        stack = await over.enter_async_context(running(settings, quiet=True))
        session = await over.enter_async_context(aiohttp.ClientSession())
        town = Town(session, stack["page"])
        for uid in (LIN, CHEN, MEI, ZHAO, SUN):
            await town.sign_in(uid)
        await town.sign_in(BOSS, "operator")

        promised = await sunday_evening_the_hash_of_the_seed_is_out(town)
        orders = await five_people_order(town)
        await four_of_them_pay(town, orders)
        await monday_before_five_it_is_too_early(town)
        await at_five_check_in_opens(town)
        await at_eight_zhao_has_overslept(town)
        packets = await at_five_past_eight_the_worker_settles(town)
        figures = await tuesday_mei_is_credited_without_her(town)
        every_fen_is_in_one_place(figures)
        recomputed = anybody_can_recompute_the_packets(promised, figures)
        assert packets == recomputed[:2]  # Lin's and Chen's: they checked in first and second
        await mei_finds_hers_in_her_history(town, recomputed[2:])


async def sunday_evening_the_hash_of_the_seed_is_out(town: Town) -> dict[str, Any]:
    await town.it_is("2026-11-22T20:00:00")

    # A guest sees an empty round, and that one can still join it: midnight is four hours away.
    home = await town.home()
    assert (home["round"], home["user_num"], home["clock_money"]) == ("2026-11-22", 0, 0)
    assert home["is_start"] == 1
    assert 4 * 3600 - 10 < home["zero_time"] <= 4 * 3600

    # The fairness of tomorrow's split is promised now: the hash is out, the seed is not.
    promised = await town.books("2026-11-22")
    assert promised["state"] == "joining"
    assert promised["seed"] is None
    return promised


PROFILES = {
    uid: {"mobile": f"1380000000{uid}", "nickname": name, "openId": f"open-{name}"}
    for uid, name in ((LIN, "Lin"), (CHEN, "Chen"), (MEI, "Mei"), (ZHAO, "Zhao"), (SUN, "Sun"))
}


async def five_people_order(town: Town) -> dict[int, str]:
    # Five people order. The service must know whom to pay, so a profile is required.
    assert (await town.does(LIN, "/api/join"))["code"] == "profile_required"
    orders = {}
    for uid, extra in PROFILES.items():
        reply = await town.does(uid, "/api/join", extra=extra)
        assert (reply["code"], reply["data"]["amount"]) == ("ordered", STAKE)
        orders[uid] = reply["data"]["order_no"]

    # An order is not a membership; asking again returns the same one.
    assert (await town.home(LIN))["clock_status"] == 0
    reply = await town.does(LIN, "/api/join", extra=PROFILES[LIN])
    assert (reply["code"], reply["data"]["order_no"]) == ("order_pending", orders[LIN])
    return orders


async def four_of_them_pay(town: Town, orders: dict[int, str]) -> None:
    # Four of them pay: the sandbox provider sends a real signed callback for each. Sun does not.
    for uid in (LIN, CHEN, MEI, ZHAO):
        assert (await town.send("POST", "/dev/pay", {"order_no": orders[uid]}))["code"] == "paid"
    assert (await town.send("POST", "/dev/pay", {"order_no": orders[LIN]}))["code"] == "already_paid"
    assert (await town.does(LIN, "/api/join", extra=PROFILES[LIN]))["code"] == "already_joined"

    home = await town.home(LIN)
    assert (home["clock_status"], home["user_num"], home["clock_money"]) == (1, 4, 4 * STAKE)
    assert (await town.home(SUN))["clock_status"] == 0


async def monday_before_five_it_is_too_early(town: Town) -> None:
    await town.it_is("2026-11-23T04:59:00")
    assert (await town.does(LIN, "/api/check-in"))["code"] == "too_early"
    home = await town.home(LIN)
    assert home["round"] == "2026-11-22"  # yesterday's members see their round until it is settled
    assert 0 < home["clock_time"] <= 60


async def at_five_check_in_opens(town: Town) -> None:
    await town.it_is("2026-11-23T05:00:00")
    reply = await town.does(LIN, "/api/check-in")
    assert (reply["code"], reply["data"]) == ("checked_in", {"money": 4 * STAKE})

    # Chen's thumb is nervous: ten taps at once are one check-in.
    taps = await asyncio.gather(*(town.does(CHEN, "/api/check-in") for _ in range(10)))
    assert sorted(tap["code"] for tap in taps) == ["already_checked_in"] * 9 + ["checked_in"]

    # Sun, who never paid, is told so. Mei comes with seconds to spare.
    assert (await town.does(SUN, "/api/check-in"))["code"] == "not_joined"
    await town.it_is("2026-11-23T07:59:50")
    assert (await town.does(MEI, "/api/check-in"))["code"] == "checked_in"


async def at_eight_zhao_has_overslept(town: Town) -> None:
    await town.it_is("2026-11-23T08:00:01")
    assert (await town.does(ZHAO, "/api/check-in"))["code"] == "too_late"
    assert (await town.does(LIN, "/api/check-in"))["code"] == "already_checked_in"  # a retry gets its answer
    assert (await town.does(LIN, "/api/claim"))["code"] == "not_settled"
    assert (await town.home(ZHAO))["clock_user_num"] == 3


async def at_five_past_eight_the_worker_settles(town: Town) -> list[int]:
    await town.it_is("2026-11-23T08:05:00")

    async def settled() -> bool:
        return bool((await town.books("2026-11-22"))["state"] == "settled")

    await until(settled)

    # Lin and Chen open their packets; asking again says the same and pays nothing more.
    packets = []
    for uid in (LIN, CHEN):
        reply = await town.does(uid, "/api/claim")
        assign = reply["data"]["assign"]
        assert reply["code"] == "claimed"
        assert assign["total"] == STAKE + assign["money"]
        again = await town.does(uid, "/api/claim")
        assert (again["code"], again["data"]["assign"]) == ("already_claimed", assign)
        packets.append(assign["money"])
    assert (await town.does(ZHAO, "/api/claim"))["code"] == "not_checked_in"

    # From now on the home page is about today's round, and yesterday's members may join it.
    assert (await town.home(LIN))["round"] == "2026-11-23"
    return packets


async def tuesday_mei_is_credited_without_her(town: Town) -> dict[str, Any]:
    await town.it_is("2026-11-24T00:00:00")

    async def finished() -> dict[str, Any] | None:
        figures = await town.books("2026-11-22")
        return figures if figures["state"] == "finished" else None

    closed: dict[str, Any] = await until(finished)
    return closed


def every_fen_is_in_one_place(figures: dict[str, Any]) -> None:
    assert (figures["members"], figures["winners"], figures["pool"]) == (4, 3, 4 * STAKE)
    assert (figures["forfeited"], figures["fee"], figures["carried_in"], figures["pot"]) == (STAKE, 0, 0, STAKE)
    assert (figures["packets_published"], figures["packets_claimed"]) == (3, 3)
    assert (figures["packets_published_fen"], figures["packets_claimed_fen"]) == (STAKE, STAKE)
    assert (figures["late"], figures["refunds"], figures["outbox_depth"]) == (0, 0, 0)


def anybody_can_recompute_the_packets(promised: dict[str, Any], figures: dict[str, Any]) -> list[int]:
    seed = bytes.fromhex(figures["seed"])
    assert figures["seed_hash"] == promised["seed_hash"]
    assert hashlib.sha256(seed).hexdigest() == promised["seed_hash"]
    recomputed = list(split(bytes.fromhex(figures["drawn"]), figures["pot"], figures["winners"], Split()).packets_fen)
    assert sum(recomputed) == STAKE
    return recomputed


async def mei_finds_hers_in_her_history(town: Town, packets: list[int]) -> None:
    async def credited() -> list[int]:
        history = (await town.send("GET", "/api/me/history", uid=MEI))["data"]["items"]
        return [item["money"] for item in history if item["kind"] == "packet"]

    assert await until(credited) == packets
