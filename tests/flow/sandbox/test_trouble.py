"""The troubles of the provider are what they say."""

import asyncio
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from clock.channels.platform import Platform
from clock.http import health_routes
from clock.runtime.ports import free_port
from tests.conftest import WEBHOOK_SECRET, Api
from tests.flow.sandbox.stage import AT, DAY_OF_AT, Listener, Sandbox, sandbox_for
from tests.flow.stage import People, lines_of


async def test_twice(sandbox: Sandbox, listener: Listener) -> None:
    await sandbox.trouble(callback_twice=1)
    await sandbox.pay("E1")
    [(one, _), (other, _)] = listener.got
    assert one == other


async def test_lost(sandbox: Sandbox, listener: Listener) -> None:
    await sandbox.trouble(callback_lost=1)
    assert (await sandbox.pay("E2"))[1] == 0
    await asyncio.sleep(0.7)  # the first retry would have come
    assert listener.got == []
    assert (await sandbox.channel.query_order("E2")).state == "paid"


async def test_delayed_callbacks_arrive_later_and_out_of_order(sandbox: Sandbox, listener: Listener) -> None:
    await sandbox.trouble(callback_delay_ms=300)
    numbers = [f"E3{n:02}" for n in range(12)]
    started = time.monotonic()
    await asyncio.gather(*(sandbox.pay(number) for number in numbers))
    assert 0.1 < time.monotonic() - started < 5
    arrived = [msgspec.json.decode(raw)["order_no"] for raw, _ in listener.got]
    assert sorted(arrived) == numbers
    assert arrived != numbers


async def test_time_out_before_has_done_nothing_and_time_out_after_has_done_it(sandbox: Sandbox) -> None:
    for knob, known in (("time_out_before", "not_found"), ("time_out_after", "done")):
        await sandbox.trouble(**{knob: 1})
        assert (await sandbox.channel.transfer(f"P-{knob}", "open-1", 100)).state == "unknown"
        await sandbox.trouble()
        assert (await sandbox.channel.query_transfer(f"P-{knob}")).state == known


async def test_processing_takes_its_time_and_then_is_done(sandbox: Sandbox) -> None:
    await sandbox.trouble(processing=1, processing_ms=60_000)
    assert (await sandbox.channel.transfer("P-slow", "open-1", 100)).state == "processing"
    assert (await sandbox.channel.transfer("P-slow", "open-1", 100)).state == "processing"
    assert "P-slow" not in {line.no for line in await sandbox.lines()}
    books = sqlite3.connect(sandbox.settings.data_dir / "sandbox.sqlite", isolation_level=None)
    books.execute("UPDATE movements SET settles_at = 0 WHERE no = 'P-slow'")  # a minute later
    books.close()
    assert (await sandbox.channel.query_transfer("P-slow")).state == "done"
    assert "P-slow" in {line.no for line in await sandbox.lines()}


async def test_a_transfer_lapses_and_a_refund_does_not(sandbox: Sandbox) -> None:
    await sandbox.pay("E6")
    await sandbox.trouble(lapses=1, processing_ms=0)
    await sandbox.transfer("P-lapses")
    result = await sandbox.channel.query_transfer("P-lapses")
    assert (result.state, result.reason) == ("failed", "lapsed")
    assert (await sandbox.transfer("P-lapses"))[1] == {"state": "failed", "reason": "lapsed"}
    assert (await sandbox.refund("R-does-not", "E6"))[1]["state"] == "done"


async def test_trouble_with_a_seed_is_the_same_trouble_again(sandbox: Sandbox) -> None:
    async def play() -> list[str]:
        await sandbox.trouble(time_out_before=0.5, seed=7)
        return [(await sandbox.channel.query_transfer(f"P-seed-{n}")).state for n in range(12)]

    first = await play()
    assert set(first) == {"unknown", "not_found"}
    assert await play() == first


async def test_a_provider_that_is_not_there_has_certainly_done_nothing() -> None:
    channel = Platform(f"http://127.0.0.1:{free_port()}", WEBHOOK_SECRET)
    assert (await channel.transfer("P1", "open-1", 100)).state == "again"
    assert (await channel.query_order("A1")).state == "unknown"
    assert await lines_of(channel, DAY_OF_AT) is None
    await channel.close()


async def test_the_service_refuses_what_is_forged_and_takes_what_is_not(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real service takes the callbacks; each arrives twice, and before it comes its forgery."""
    monkeypatch.setattr(health_routes, "FRESH_SECONDS", -1.0)
    people = People(api.service)
    await people.join(1)
    async with sandbox_for(api.settings.port, tmp_path) as sandbox:
        await sandbox.trouble(callback_forged=1, callback_twice=1)

        async def refused() -> float:
            async with api.session.get(f"{api.url}/metrics") as reply:
                lines = (await reply.text()).splitlines()
            return sum(float(line.rpartition(" ")[2]) for line in lines if "bad_signature" in line and "_total" in line)

        before = await refused()
        status, callback, reply = await sandbox.pay(people.orders[1], at_ms=AT)
        assert (status, callback, reply["code"]) == (200, 200, "paid")
        assert await refused() == before + 1
        await people.drain()
        assert len(await people.rows("SELECT * FROM payments")) == 1
        assert await people.rows("SELECT * FROM quarantine") == []
