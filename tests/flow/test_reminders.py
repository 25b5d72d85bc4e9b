"""Reminders: who sleeps and wants it is told once, signed, until check-in closes and never after it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from clock import config
from clock.channels.webhooks import Signatures
from clock.config import BadSetting, Settings
from clock.dev.providers.platform import PlatformDouble
from clock.runtime.ports import free_port
from clock.runtime.sending import remind
from tests.conftest import DAY, WEBHOOK_SECRET
from tests.flow.stage import IN_TIME, People
from tests.model.world import new_world


class Receiver:
    """The platform's end: notes what arrives, answers what the test says."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}/hook"
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        Signatures(WEBHOOK_SECRET).verify(raw, request.headers)
        self.got.append((request.headers["webhook-id"], msgspec.json.decode(raw)))
        return web.Response(status=self.status, headers={"location": self.url})

    @property
    def uids(self) -> list[int]:
        return sorted(body["data"]["uid"] for _, body in self.got)


@asynccontextmanager
async def listening(app: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    async with listening(app, int(receiver.url.rsplit(":", 1)[1].split("/")[0])):
        yield receiver


@pytest.fixture(params=[1, 4], ids=["1 shard", "4 shards"])
async def people(shared: Settings, receiver: Receiver, request: pytest.FixtureRequest) -> AsyncIterator[People]:
    """1 to 4 are members; 1, 2, 3 and 5, who is none, want to be reminded; 2 has been up since six."""
    async with new_world(shared, shards=request.param, reminder_url=receiver.url) as service:
        people = People(service)
        await people.members(1, 2, 3, 4)
        for uid in (1, 2, 3, 5):
            await service.flags.remind(uid, True, time.monotonic())
        people.it_is("06:00", 1)
        await people.check_in(2)
        await drain(people)
        yield people


async def drain(people: People) -> None:
    await people.drain()


async def work(people: People) -> None:
    await remind({"service": people.service})


async def states(people: People) -> dict[int, str]:
    return {row["uid"]: row["state"] for row in await people.rows("SELECT uid, state FROM reminders")}


async def hurry(people: People) -> None:
    """What waits for its next try is due."""
    await people.rows("UPDATE reminders SET next_at = now()")


async def test_sleepers_who_want_it_are_reminded_once_at_half_past_seven(people: People, receiver: Receiver) -> None:
    people.it_is("07:29", 1)
    await work(people)
    assert (receiver.got, await states(people)) == ([], {})
    people.it_is("07:30", 1)
    for _ in range(3):
        await work(people)
        await hurry(people)
    assert receiver.uids == [1, 3]
    assert await states(people) == {1: "sent", 3: "sent"}
    ids = dict(receiver.got)
    assert ids["reminder_20261122_1"] == {
        "type": "reminder.due",
        "timestamp": "2026-11-22T23:30:00.010Z",
        "data": {"uid": 1, "openId": "open-1", "round": "2026-11-22", "check_in_closes": "2026-11-23T00:00:00.000Z"},
    }


async def test_whoever_gets_up_meanwhile_is_left_alone_even_if_the_books_do_not_know_it(
    people: People, receiver: Receiver
) -> None:
    receiver.status = 503
    people.it_is("07:30", 1)
    await work(people)
    assert receiver.uids == [1, 3]
    people.it_is("07:31", 1)
    await people.check_in(1)
    receiver.status = 204
    await hurry(people)
    await work(people)
    assert receiver.uids == [1, 3, 3]
    assert await states(people) == {1: "awake", 3: "sent"}


@pytest.mark.parametrize("status", [302, 400, 410, 500])
async def test_what_is_not_taken_is_sent_again_later_under_the_same_id(
    people: People, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    people.it_is("07:30", 1)
    [before] = await people.rows("SELECT now()")
    await work(people)
    assert len(receiver.got) == 2
    [row] = await people.rows(
        "SELECT min(next_at) AS first, max(extract(epoch FROM next_at - now())) AS wait FROM reminders"
    )
    assert before["now"] < row["first"] and row["wait"] <= 2, "not at once"
    await people.rows("UPDATE reminders SET next_at = next_at + interval '1 minute'")
    await work(people)
    assert len(receiver.got) == 2
    receiver.status = 200
    await hurry(people)
    await work(people)
    assert len(receiver.got) == 4
    assert len({message for message, _ in receiver.got}) == 2
    assert set((await states(people)).values()) == {"sent"}


async def test_nobody_is_reminded_after_check_in_has_closed(people: People, receiver: Receiver) -> None:
    receiver.status = 500
    people.it_is("07:59", 1)
    await work(people)
    assert len(receiver.got) == 2
    people.it_is("08:00", 1)
    await hurry(people)
    await work(people)
    assert len(receiver.got) == 2
    assert set((await states(people)).values()) == {"expired"}


async def test_a_worker_that_starts_after_the_morning_reminds_nobody(people: People, receiver: Receiver) -> None:
    for day, time_of_day in ((1, "08:00"), (1, "12:00"), (2, "07:45")):
        people.it_is(time_of_day, day)
        await work(people)
    assert (receiver.got, await states(people)) == ([], {})


async def test_what_was_left_of_yesterday_expires(people: People, receiver: Receiver) -> None:
    receiver.status = 500
    people.it_is("07:30", 1)
    await work(people)
    await hurry(people)
    people.it_is("07:45", 2)
    await work(people)
    assert (len(receiver.got), set((await states(people)).values())) == (2, {"expired"})


async def test_a_void_round_reminds_nobody(people: People, receiver: Receiver) -> None:
    await people.service.voiding.void(DAY, "an outage")
    people.it_is("07:30", 1)
    await work(people)
    assert receiver.got == []


async def test_a_switch_that_is_off_in_time_counts_and_a_late_member_too(people: People, receiver: Receiver) -> None:
    people.it_is("20:00")
    await people.join(5)
    people.it_is("07:00", 1)
    assert await people.pay(5, paid_at=IN_TIME) == "paid"
    await people.service.flags.remind(1, False, time.monotonic())
    await drain(people)
    people.it_is("07:30", 1)
    await work(people)
    assert receiver.uids == [3, 5]


async def test_several_workers_send_each_once(people: People, receiver: Receiver) -> None:
    people.it_is("20:00")
    crowd = range(100, 250)
    await people.members(*crowd)
    for uid in crowd:
        await people.service.flags.remind(uid, True, time.monotonic())
    await drain(people)
    people.it_is("07:30", 1)
    await asyncio.gather(*(people.service.reminders.send_some() for _ in range(4)))
    await work(people)
    assert receiver.uids == [1, 3, *crowd]


async def test_without_an_address_nothing_is_queued(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await people.members(1)
        await service.flags.remind(1, True, time.monotonic())
        await drain(people)
        people.it_is("07:30", 1)
        await work(people)
        assert await states(people) == {}


async def test_a_receiver_that_is_down_costs_nothing_but_time(shared: Settings) -> None:
    async with new_world(shared, reminder_url=f"http://127.0.0.1:{free_port()}/hook") as service:
        people = People(service)
        await people.members(1)
        await service.flags.remind(1, True, time.monotonic())
        await drain(people)
        people.it_is("07:30", 1)
        await work(people)
        assert await states(people) == {1: "due"}


async def test_the_sandbox_takes_them_and_knows_them_again(shared: Settings, tmp_path: Path) -> None:
    port = free_port()
    provider = PlatformDouble(tmp_path / "sandbox.sqlite", "http://127.0.0.1:9/", WEBHOOK_SECRET, "Asia/Shanghai")
    url = f"http://127.0.0.1:{port}/reminders"
    async with listening(provider.app(), port), new_world(shared, reminder_url=url) as service:
        people = People(service)
        await people.members(1)
        await service.flags.remind(1, True, time.monotonic())
        await drain(people)
        people.it_is("07:30", 1)
        provider.trouble.time_out_after = 1  # it has it, and we do not know
        await work(people)
        assert await states(people) == {1: "due"}
        provider.trouble.time_out_after = 0
        await hurry(people)
        await work(people)
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as reply:
                [item] = (await reply.json())["items"]
            async with session.post(url, data=b"{}", headers={"webhook-id": "forged"}) as reply:
                assert reply.status == 401
        assert (item["id"], item["times"], item["body"]["type"]) == ("reminder_20261122_1", 2, "reminder.due")
        assert await states(people) == {1: "sent"}


def test_the_time_must_be_before_check_in_closes() -> None:
    assert config.load({"CLOCK_REMIND_AT": "04:55"}).remind_at == "04:55"
    for bad in ("08:00", "24:00", "7:30", "noon"):
        with pytest.raises(BadSetting, match="CLOCK_REMIND_AT"):
            config.load({"CLOCK_REMIND_AT": bad, "CLOCK_REMINDER_URL": "http://platform/reminders"})
    assert config.load({"CLOCK_CHECK_IN_CLOSES": "07:00"}).reminder_url == ""
