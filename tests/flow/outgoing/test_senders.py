"""Senders that die, send side by side, or come back late: money leaves once all the same."""

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from clock.books.store import rows
from clock.channels import Result
from clock.config import Settings
from clock.payments import outgoing
from clock.runtime.ports import free_port
from clock.runtime.supervise import environment
from tests.conftest import DAY
from tests.flow.outgoing.stage import PAYOUT, owe_a_payout, state
from tests.flow.stage import People, Sandbox, Scripted, send


async def test_a_crash_between_marking_and_sending_is_asked_about_then_sent(people: People, provider: Sandbox) -> None:
    await owe_a_payout(people)
    marked = await outgoing.take(people.service.store)  # and nothing more
    assert [row["no"] for row in marked] == [PAYOUT]
    assert await outgoing.send_some(people.service.store, people.service.channels) == 0  # still somebody's
    await send(people)
    assert provider.asked == ["query_transfer", "transfer"]
    assert (await state(people), provider.movements()) == ("done", [(PAYOUT, "transfer", 200, "done")])


async def test_a_crash_between_sending_and_recording_is_asked_about_and_not_sent_anew(
    people: People, provider: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await owe_a_payout(people)

    async def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outgoing, "_record", crash)
        with pytest.raises(KeyboardInterrupt):
            await send(people)
    assert (await state(people), len(provider.movements())) == ("unknown", 1)
    await send(people)
    assert provider.asked == ["transfer", "query_transfer"]
    assert (await state(people), len(provider.movements())) == ("done", 1)


async def test_who_takes_a_row_and_who_ends_it_do_not_wait_for_each_other(people: People, provider: Sandbox) -> None:
    """An answer that took longer than the lease comes while another sender takes the row."""
    await owe_a_payout(people)
    store = people.service.store
    ended = {"day": DAY, "no": PAYOUT, "state": "done", "reason": "", "handled": None}

    async def end() -> int:
        async with store.transaction() as connection:
            return len(await rows(connection, "end_outgoing", **ended))

    async with store.transaction() as taker:
        due = await outgoing.lock_due(taker)
        ending = asyncio.create_task(end())
        while not ending.done() and not await people.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        assert [row["no"] for row in await outgoing.lease(taker, due)] == [PAYOUT]
    assert await ending == 1


ROUNDS_OF_TAKERS = 150

SENDER = """
import asyncio, os
from clock.config import load
from clock.payments import outgoing
from clock.service import Service

async def run():
    service = Service(load(os.environ))
    await service.start()
    await outgoing.send_some(service.store, service.channels)

asyncio.run(run())
"""


async def test_a_sender_that_is_killed_while_it_waits_for_the_answer_has_paid_once(
    shared: Settings, people: People, provider: Sandbox
) -> None:
    """The answer is held back for as long as the sender lives."""
    arrived, waiting = asyncio.Event(), asyncio.Event()

    async def hold(request: web.Request) -> web.Response:
        body = await request.read()
        async with (
            aiohttp.ClientSession() as session,
            session.post(provider._url + request.path, data=body, headers=request.headers) as reply,
        ):
            await reply.read()
        arrived.set()
        await waiting.wait()
        return web.Response(status=504)

    app = web.Application()
    app.router.add_post("/{action}", hold)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await owe_a_payout(people)
    settings = msgspec.structs.replace(shared, platform_url=f"http://127.0.0.1:{port}")
    sender = subprocess.Popen([sys.executable, "-c", SENDER], env=environment(settings))
    try:
        async with asyncio.timeout(20):
            await arrived.wait()
    finally:
        os.kill(sender.pid, signal.SIGKILL)
        sender.wait()
        waiting.set()
        await runner.cleanup()
    assert (await state(people), len(provider.movements())) == ("unknown", 1)
    await send(people)
    assert (await state(people), len(provider.movements())) == ("done", 1)
    assert provider.asked == ["query_transfer"]


@pytest.mark.long
async def test_two_senders_at_once_never_send_the_same(people: People, provider: Sandbox) -> None:
    uids = range(1, 61)
    await people.members(*uids)
    await people.morning(winners=60)
    await people.settle()
    await people.claim(*uids)
    await people.drain()
    store, channels = people.service.store, people.service.channels
    taken = await asyncio.gather(*(outgoing.send_some(store, channels) for _ in range(4)))
    assert sum(taken) == 60
    assert max(taken) <= outgoing.AT_ONCE
    assert provider.asked == ["transfer"] * 60
    assert len(provider.movements()) == 60
    assert await people.balances() == {}


@pytest.mark.long
async def test_many_takers_at_once_never_take_the_same_and_end_no_server(people: People, provider: Sandbox) -> None:
    """Postgres 18.4 crashed now and then where rows were locked and updated by one statement at the same time."""
    uids = range(1, 61)
    await people.members(*uids)
    await people.morning(winners=60)
    await people.settle()
    await people.claim(*uids)
    await people.drain()
    started = await people.rows("SELECT pg_postmaster_start_time() AS at, count(*) FROM outgoing")
    for _ in range(ROUNDS_OF_TAKERS):
        await people.rows("UPDATE outgoing SET next_at = now() - interval '1 second'")
        takers = (outgoing.take(people.service.store) for _ in range(6))
        taken = [row["no"] for rows in await asyncio.gather(*takers) for row in rows]
        assert len(taken) == len(set(taken)) == 60
    assert await people.rows("SELECT pg_postmaster_start_time() AS at, count(*) FROM outgoing") == started


@pytest.mark.parametrize("ended", ["done", "failed"])
@pytest.mark.parametrize("said", ["done", "failed", "processing", "unknown", "again", "not_found"])
async def test_a_sender_that_comes_back_late_changes_nothing_that_has_ended(
    people: People, said: Any, ended: Any
) -> None:
    """Its lease is over, another one has finished the work; the first one's answer comes after that."""
    channel = Scripted()
    people.use(channel)
    await owe_a_payout(people)
    answer = asyncio.Event()

    async def slow(action: str, _: str) -> Result:
        if action == "transfer":
            await answer.wait()
            return Result(said, "too late to matter")
        return Result(ended)

    channel.result = slow
    late = asyncio.create_task(send(people))
    while not channel.calls:
        await asyncio.sleep(0.01)
    await send(people)
    assert await state(people) == ended
    before = await people.transfers()
    answer.set()
    await late
    assert await state(people) == ended
    assert await people.transfers() == before
    assert await send(people) == 0
