"""Events arrive at least once, in order for a round, whatever the receiver and the worker do."""

import asyncio
import os
import signal
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from clock.config import Settings
from clock.rounds import announcing
from clock.runtime.ports import free_port
from clock.runtime.worker import prepare
from tests.conftest import DAY
from tests.flow.events.stage import Receiver, hurry, states, until, work, write
from tests.flow.stage import NEXT_DAY, People, working
from tests.model.world import new_world, service_with


async def reasons(people: People) -> list[str]:
    return [row["reason"] for row in await people.rows("SELECT reason FROM events ORDER BY sequence")]


@pytest.mark.parametrize("status", [302, 307, 404, 410, 429, 500, 503])
async def test_what_is_not_taken_comes_again_later_and_the_next_waits_for_it(
    people: People, receiver: Receiver, status: int
) -> None:
    await write(people, "first", "second")
    receiver.status = status
    for attempt in (1, 2):
        [before] = await people.rows("SELECT now()")
        await work(people)
        [row] = await people.rows(
            "SELECT extract(epoch FROM next_at - now()) AS left, extract(epoch FROM next_at - %s) AS wait"
            " FROM events WHERE id = 'first'",
            before["now"],
        )
        assert row["wait"] > 2.5 * attempt and row["left"] <= 5 * attempt
        await people.rows("UPDATE events SET next_at = next_at + interval '1 minute' WHERE id = 'first'")
        await work(people)
        assert receiver.ids == ["first"] * attempt
        await hurry(people)
    receiver.status = 204
    await work(people)
    assert receiver.ids == ["first", "first", "first", "second"]
    assert (await states(people), receiver.elsewhere) == ({"first": "sent", "second": "sent"}, 0)


async def test_a_receiver_that_is_down_costs_nothing_but_time(shared: Settings) -> None:
    async with new_world(shared, events_url=f"http://127.0.0.1:{free_port()}/hook") as service:
        people = People(service)
        await write(people, "first")
        await work(people)
        assert (await states(people), await reasons(people)) == ({"first": "due"}, ["ClientConnectorError"])


async def test_a_slow_receiver_is_left(people: People, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "TIMEOUT_SECONDS", 0.2)
    hangs = asyncio.Event()

    async def answer(*_: Any) -> None:
        await hangs.wait()

    receiver.answer = answer
    await write(people, "first")
    await work(people)
    hangs.set()
    assert (await states(people), await reasons(people)) == ({"first": "due"}, ["TimeoutError"])


async def test_a_round_whose_event_hangs_holds_up_no_other(people: People, receiver: Receiver) -> None:
    hangs = asyncio.Event()

    async def answer(id_: str, _: dict[str, Any]) -> web.Response | None:
        if id_ != "slow":
            return None
        await hangs.wait()
        return web.Response(status=503)

    receiver.answer = answer
    await write(people, "slow", "after_it")
    others = [f"other_{number}" for number in range(20)]
    await write(people, *others, day=NEXT_DAY)
    sending = asyncio.create_task(work(people))
    await until(lambda: "slow" in receiver.ids)
    await write(people, "late", day=NEXT_DAY + timedelta(days=1))  # falls due while the slow one hangs
    await until(lambda: {"late", others[-1]} <= set(receiver.ids))
    assert not sending.done()
    hangs.set()
    await sending
    assert [id_ for id_ in receiver.ids if id_.startswith("other")] == others
    found = await states(people)
    assert (found.pop("slow"), found.pop("after_it"), set(found.values())) == ("due", "due", {"sent"})


async def test_a_receiver_that_dies_after_taking_it_gets_it_again_under_the_same_id(
    people: People, receiver: Receiver
) -> None:
    async def answer(*_: Any) -> None:
        if len(receiver.got) == 1:
            assert receiver.request.transport is not None
            receiver.request.transport.abort()

    receiver.answer = answer
    await write(people, "first")
    for _ in range(2):
        await work(people)
        await hurry(people)
    assert receiver.ids == ["first", "first"]
    assert receiver.got[0] == receiver.got[1]
    assert await states(people) == {"first": "sent"}


async def test_an_endless_answer_is_not_read(people: People, receiver: Receiver) -> None:
    async def answer(*_: Any) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(receiver.request)
        while True:
            await response.write(b"x" * 65_536)

    receiver.answer = answer
    await write(people, "first", "second")
    async with asyncio.timeout(5):
        await work(people)
    assert await states(people) == {"first": "sent", "second": "sent"}


async def test_after_three_days_it_is_given_up_and_the_next_goes_on(people: People, receiver: Receiver) -> None:
    async def answer(id_: str, _: dict[str, Any]) -> web.Response:
        return web.Response(status=500 if id_ == "bad" else 200)

    receiver.answer = answer
    await write(people, "bad", "good")
    await people.rows("UPDATE events SET due_since = now() - interval '3 days' + interval '5 seconds'")
    await work(people)
    assert (receiver.ids, await states(people)) == (["bad"], {"bad": "due", "good": "due"})
    await people.rows("UPDATE events SET due_since = now() - interval '3 days'")
    await hurry(people)
    with capture_logs() as lines:
        await work(people)
    assert receiver.ids == ["bad", "bad", "good"]
    assert await states(people) == {"bad": "given_up", "good": "sent"}
    assert [line["id"] for line in lines if line["event"] == "event_given_up"] == ["bad"]
    await hurry(people)
    await work(people)
    assert len(receiver.ids) == 3


async def test_several_workers_send_each_once_and_in_order(
    people: People, receiver: Receiver, shared: Settings
) -> None:
    days = [DAY + timedelta(days=number) for number in range(4)]
    expected: dict[date, list[str]] = {day: [f"{day:%d}_{number}" for number in range(30)] for day in days}
    for day, ids in expected.items():
        await write(people, *ids, day=day)

    async def answer(*_: Any) -> None:
        await asyncio.sleep(0.002)

    receiver.answer = answer
    async with service_with(shared, events_url=receiver.url) as other:
        await asyncio.gather(work(people), work(People(other)), work(people))
    for day, ids in expected.items():
        assert [id_ for id_ in receiver.ids if id_.startswith(f"{day:%d}_")] == ids
    assert set((await states(people)).values()) == {"sent"}


async def test_a_worker_that_is_killed_before_it_has_marked_it_sends_it_again(
    settings: Settings, receiver: Receiver
) -> None:
    """A real process, which also opens the rounds of these days, and tells of them."""

    def own() -> list[str]:
        return [id_ for id_ in receiver.ids if id_ in ("first", "second")]

    async def answer(id_: str, _: dict[str, Any]) -> None:
        if id_ == "first" and len(own()) == 1:
            os.kill(process.pid, signal.SIGKILL)

    receiver.answer = answer
    async with service_with(settings, events_url=receiver.url) as service:
        people = People(service)
        await write(people, "first", "second")
        async with working(msgspec.structs.replace(settings, events_url=receiver.url)) as process:
            await process.wait()
        before = await states(people)
        assert (own(), before["first"], before["second"]) == (["first"], "due", "due")
        async with working(msgspec.structs.replace(settings, events_url=receiver.url)) as process:
            await until(lambda: len(receiver.got) > 1)  # it works
            assert own() == ["first"], "the lease holds"
            await hurry(people)
            await until(lambda: len(own()) == 3)
        assert own() == ["first", "first", "second"]


async def test_old_events_are_forgotten_a_few_at_a_time(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "FORGET_AT_ONCE", 2)
    await write(people, "a", "b", "c", "young")
    await people.rows("UPDATE events SET state = 'sent', due_since = now() - interval '31 days' WHERE id <> 'young'")
    await people.rows("UPDATE events SET due_since = now() - interval '29 days' WHERE id = 'young'")
    left = []
    for _ in range(3):
        await prepare({"service": people.service})
        left.append([id_ for id_ in await states(people) if len(id_) < 6])
    assert [len(ids) for ids in left] == [2, 1, 1]
    assert left[-1] == ["young"]


def test_delays_double_from_five_seconds_to_an_hour() -> None:
    for attempt, longest in ((1, 5.0), (2, 10.0), (5, 80.0), (11, 3600.0), (500, 3600.0)):
        delays = [announcing.delay_seconds(attempt) for _ in range(200)]
        assert longest / 2 <= min(delays) < longest * 0.7 and longest * 0.8 < max(delays) <= longest
