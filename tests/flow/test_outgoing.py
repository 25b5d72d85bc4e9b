"""Payouts and refunds leave once, under one number, whatever fails on the way."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from clock.channels import Result
from clock.config import Settings
from clock.payments import outgoing
from clock.runtime.ports import free_port
from clock.runtime.supervise import environment
from tests.conftest import DAY, Api, Servers, at
from tests.flow.stage import IN_TIME, NEXT_DAY, People, Sandbox, Scripted, one_database, sandbox, send
from tests.model.world import new_world

PAYOUT = f"P{DAY:%Y%m%d}1"


@pytest.fixture(scope="module")
async def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("outgoing")) as settings:
        yield settings


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared) as service:
        yield People(service)


@pytest.fixture
async def provider(people: People, tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with sandbox(tmp_path / "sandbox.sqlite") as channel:
        people.use(channel)
        yield channel


async def owe_a_payout(people: People) -> None:
    """User 1 wins 200 fen, and has claimed them; user 2 slept."""
    await people.members(1, 2)
    await people.morning(winners=1)
    await people.settle()
    await people.claim(1)
    await people.drain()


async def owe_a_refund(people: People, channel: Sandbox) -> str:
    """User 1 has paid twice; the number of the refund."""
    await people.join(1)
    number = people.orders[1]
    for transaction, word in (("T1", "paid"), ("T2", "refund_due")):
        channel.provider.books.db.execute(
            "INSERT INTO payments (transaction_id, order_no, amount, payer, at_ms) VALUES (?, ?, 100, 'open-1', ?)",
            (transaction, number, at("20:00")),
        )
        assert await people.pay(1, transaction) == word
    await people.drain()
    [row] = await queue(people)
    return str(row["no"])


async def queue(people: People) -> list[dict[str, Any]]:
    return await people.rows("SELECT * FROM outgoing ORDER BY no")


async def state(people: People) -> str:
    [row] = await queue(people)
    return str(row["state"])


# -- all is well


async def test_a_payout_leaves_once_and_is_posted_once(people: People, provider: Sandbox) -> None:
    await owe_a_payout(people)
    assert await people.balance("owed:payout") == 200
    assert await send(people) == 1
    assert await state(people) == "done"
    assert [await send(people) for _ in range(2)] == [0, 0]
    assert provider.movements() == [(PAYOUT, "transfer", 200, "done")]
    assert provider.asked == ["transfer"]
    assert await people.balances() == {}
    [sent] = [row for row in await people.transfers() if row["kind"] == "payout_sent"]
    assert (sent["cause"], sent["amount_fen"], sent["uid"]) == (PAYOUT, 200, 1)


async def test_a_refund_leaves_once_for_its_own_payment(people: People, provider: Sandbox) -> None:
    number = await owe_a_refund(people, provider)
    assert await send(people) == 1
    assert await send(people) == 0
    assert provider.movements() == [(number, "refund", 100, "done")]
    [body] = provider.provider.books.rows("SELECT body FROM movements")
    assert msgspec.json.decode(body["body"])["transactionId"] == "T2"
    assert await people.balances() == {"channel:platform": -100, f"pool:{DAY}": 100}


async def test_numbers_are_fixed_and_at_most_32_letters_and_digits(people: People) -> None:
    most = 2**53 - 1
    await people.members(most, 2, 3)
    assert await people.pay(most, "x" * 128) == "refund_due"
    await people.morning()
    await people.check_in(most)
    await people.settle()
    await people.claim(most)
    await people.drain()
    numbers = {row["no"]: row["kind"] for row in await queue(people)}
    assert sorted(numbers.values()) == ["payout", "refund"]
    assert all(re.fullmatch("[0-9A-Za-z]{1,32}", no) for no in numbers)
    assert f"P{DAY:%Y%m%d}{most}" in numbers
    again = await people.rows("SELECT refund_no(order_no, transaction_id) AS no FROM refunds")
    assert [row["no"] for row in again] == [no for no, kind in numbers.items() if kind == "refund"]


# -- what fails


async def test_while_the_provider_is_down_money_stays_owed_and_leaves_once_afterwards(
    people: People, provider: Sandbox
) -> None:
    await owe_a_payout(people)
    provider.down = True
    for attempt in (1, 2, 3):
        assert await send(people) == 1
        [row] = await queue(people)
        assert (row["state"], row["attempts"], row["ended_at"]) == ("owed", attempt, None)
    assert await people.balance("owed:payout") == 200
    provider.down = False
    await send(people)
    assert await state(people) == "done"
    assert provider.movements() == [(PAYOUT, "transfer", 200, "done")]


@pytest.mark.parametrize("kind", ["payout", "refund"])
async def test_after_a_time_out_the_provider_is_asked_and_nothing_is_sent_anew(
    people: People, provider: Sandbox, kind: str
) -> None:
    if kind == "payout":
        await owe_a_payout(people)
    else:
        await owe_a_refund(people, provider)
    provider.trouble(time_out_after=1)
    await send(people)
    assert await state(people) == "unknown"
    assert len(provider.movements()) == 1  # it has moved, and we do not know
    provider.trouble()
    await send(people)
    assert await state(people) == "done"
    action = "transfer" if kind == "payout" else "refund"
    assert provider.asked == [action, f"query_{action}"]
    assert len(provider.movements()) == 1


async def test_what_the_provider_never_got_is_sent_again_under_the_same_number(
    people: People, provider: Sandbox
) -> None:
    await owe_a_payout(people)
    provider.trouble(time_out_before=1)
    await send(people)
    assert (await state(people), provider.movements()) == ("unknown", [])
    provider.trouble()
    await send(people)
    assert provider.asked == ["transfer", "query_transfer", "transfer"]
    assert (await state(people), provider.movements()) == ("done", [(PAYOUT, "transfer", 200, "done")])


async def test_what_may_have_been_sent_is_asked_about_even_after_the_provider_was_down(
    people: People, provider: Sandbox
) -> None:
    """Only who never sent it may send it without asking."""
    await owe_a_payout(people)
    provider.trouble(time_out_after=1)
    await send(people)
    provider.trouble()
    provider.down = True
    await send(people)
    assert await state(people) == "unknown"
    provider.down = False
    await send(people)
    assert await state(people) == "done"
    assert provider.asked == ["transfer", "query_transfer", "query_transfer"]


async def answers(people: People, *results: Result) -> Scripted:
    """A payout is owed, and the provider gives these answers, one after the other."""
    await owe_a_payout(people)
    channel, said = Scripted(), iter(results)

    async def say(_action: str, _no: str) -> Result:
        return next(said)

    channel.result = say
    people.use(channel)
    return channel


async def test_a_try_that_certainly_did_nothing_says_nothing_of_an_earlier_one(people: People) -> None:
    """The provider did not know the number yet. It may know it the next time, so that it is asked again."""
    channel = await answers(people, Result("unknown"), Result("not_found"), Result("again"), Result("done"))
    for expected in ("unknown", "unknown", "done"):
        await send(people)
        assert await state(people) == expected
    assert [call[0] for call in channel.calls] == ["transfer", "query_transfer", "transfer", "query_transfer"]


async def test_what_the_provider_has_stays_processing_while_it_cannot_be_asked(people: People) -> None:
    await answers(people, Result("processing"), Result("again", "no connection"), Result("done"))
    for expected in ("processing", "processing", "done"):
        await send(people)
        assert await state(people) == expected


async def test_processing_is_asked_about_until_it_is_done(people: People, provider: Sandbox) -> None:
    await owe_a_payout(people)
    provider.trouble(processing=1, processing_ms=200)
    await send(people)
    await send(people)
    assert await state(people) == "processing"
    assert await people.balance("owed:payout") == 200
    await asyncio.sleep(0.2)
    await send(people)
    assert await state(people) == "done"
    assert provider.asked == ["transfer", "query_transfer", "query_transfer"]
    assert await people.balances() == {}


async def test_a_transfer_that_lapses_is_in_the_users_balance_and_is_not_sent_again(
    people: People, provider: Sandbox
) -> None:
    await owe_a_payout(people)
    provider.trouble(lapses=1, processing_ms=0)
    await send(people)
    await send(people)
    [row] = await queue(people)
    assert (row["state"], row["reason"]) == ("failed", "lapsed")
    assert await people.balances() == {"user:1": 200, "channel:platform": -200}
    assert await send(people) == 0


async def test_a_refund_that_the_provider_refuses_is_in_the_users_balance(people: People, provider: Sandbox) -> None:
    await owe_a_refund(people, provider)
    provider.provider.books.db.execute("DELETE FROM payments")
    await send(people)
    [row] = await queue(people)
    assert (row["state"], row["reason"]) == ("failed", "no such payment")
    assert await people.balance("user:1") == 100
    assert await people.balance("owed:refund") == 0


async def test_the_state_of_money_on_its_way_is_seen_by_its_user_and_the_operator(api: Api, tmp_path: Path) -> None:
    people = People(api.service)
    async with sandbox(tmp_path / "sandbox.sqlite") as channel:
        people.use(channel)
        await owe_a_payout(people)

        async def seen() -> tuple[str, list[str], int]:
            """The state in the user's history, the numbers that the operator has to look at, the user's balance."""
            _, history = await api.send("GET", "/api/me/history", headers=api.token(1))
            [payout] = [item for item in history["data"]["items"] if item["kind"] == "payout"]
            _, failed = await api.send("GET", "/ops/outgoing?state=failed", headers=api.token(9, "operator"))
            _, me = await api.send("GET", "/api/me", headers=api.token(1))
            return payout["state"], [item["no"] for item in failed["data"]["items"]], me["data"]["info"]["balance"]

        assert await seen() == ("owed", [], 0)
        channel.trouble(lapses=1, processing_ms=0, time_out_after=1)
        await send(people)
        assert await seen() == ("unknown", [], 0)
        channel.trouble()
        await send(people)
        assert await seen() == ("failed", [PAYOUT], 200)
        _, reply = await api.send("GET", "/ops/outgoing?state=failed", headers=api.token(9, "operator"))
        assert reply["data"]["counts"] == [{"kind": "payout", "state": "failed", "count": 1, "fen": 200}]
        assert reply["data"]["items"][0]["reason"] == "lapsed"
        assert (await api.send("GET", "/ops/outgoing", headers=api.token(1)))[0] == 403


# -- who dies


async def test_a_crash_between_marking_and_sending_is_asked_about_then_sent(people: People, provider: Sandbox) -> None:
    await owe_a_payout(people)
    marked = await people.service.store.all("take_outgoing", limit=50, lease_seconds=60)  # and nothing more
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


async def test_one_answer_that_cannot_be_understood_holds_up_nobody_else(people: People) -> None:
    channel = Scripted()
    people.use(channel)
    await people.members(1, 2)
    await people.morning(winners=2)
    await people.settle()
    await people.claim(1, 2)
    await people.drain()

    async def broken(_: str, no: str) -> Result:
        if no == PAYOUT:
            raise RuntimeError("a reply that nobody foresaw")
        return Result("done")

    channel.result = broken
    for _ in range(2):
        try:
            await send(people)
        except RuntimeError:
            continue
    assert [(row["uid"], row["state"]) for row in await queue(people)] == [(1, "unknown"), (2, "done")]


async def test_each_refund_goes_the_way_that_its_payment_came(people: People) -> None:
    """One order may be paid through two channels; each payment is given back where it was made."""
    one, other = Scripted(), Scripted()
    people.service.channels.update({"platform": one, "other": other})
    await people.join(1)
    words = [await people.pay(1, transaction, channel="platform") for transaction in ("T1", "T2")]
    words += [await people.pay(1, transaction, channel="other") for transaction in ("T3", "T4")]
    assert words == ["paid", "refund_due", "refund_due", "refund_due"]
    await people.drain()

    async def done(_action: str, _no: str) -> Result:
        return Result("done")

    one.result = other.result = done
    await send(people)
    assert [call[3] for call in one.calls] == ["T2"]
    assert sorted(call[3] for call in other.calls) == ["T3", "T4"]
    assert await people.balances() == {"channel:platform": -100, f"pool:{DAY}": 100}


async def test_a_payout_leaves_by_the_channel_that_the_stake_came_by(people: People) -> None:
    """Not by that of a payment that was refused before it."""
    one, other = Scripted(), Scripted()
    people.service.channels.update({"platform": one, "other": other})
    await people.join(1)
    people.it_is("00:30", 1)
    assert await people.pay(1, "T1", channel="other", paid_at=f"{NEXT_DAY} 00:10:00") == "refund_due"
    assert await people.pay(1, "T2", channel="platform", paid_at=IN_TIME) == "paid"
    people.it_is("06:00", 1)
    await people.check_in(1)
    await people.settle()
    await people.claim(1)
    await people.drain()
    await send(people)
    assert [call[0] for call in one.calls if call[0] != "query_order"] == ["transfer"]
    assert [call[0] for call in other.calls] == ["refund"]


# -- how long it takes


def test_the_wait_grows_to_hours_and_two_senders_do_not_wait_equally_long() -> None:
    bounds = []
    for attempts in range(1, 60):
        waits = [outgoing.delay_seconds(attempts) for _ in range(300)]
        whole = min(outgoing.LONGEST_DELAY_SECONDS, outgoing.FIRST_DELAY_SECONDS * 2**attempts)
        assert whole / 2 <= min(waits) < 0.6 * whole
        assert 0.9 * whole < max(waits) <= whole
        bounds.append(whole)
    assert bounds == sorted(bounds)
    assert (bounds[0], bounds[-1]) == (4.0, 6 * 3600.0)


async def test_what_failed_waits_before_it_is_tried_again(people: People) -> None:
    channel = Scripted()
    people.use(channel)
    await owe_a_payout(people)
    waits = []
    for _ in range(6):
        await send(people)
        [row] = await people.rows("SELECT extract(epoch FROM next_at - now())::float8 AS seconds FROM outgoing")
        waits.append(row["seconds"])
        assert await outgoing.send_some(people.service.store, people.service.channels) == 0
    for attempt, wait in enumerate(waits, 1):
        assert 2**attempt - 1 < wait <= 2 * 2**attempt
    assert len(channel.calls) == 6


async def test_what_is_tried_for_hours_is_listed_as_stuck(api: Api) -> None:
    people = People(api.service)
    people.use(Scripted())
    await owe_a_payout(people)

    async def stuck() -> list[tuple[str, int]]:
        _, reply = await api.send("GET", "/ops/outgoing?state=stuck", headers=api.token(9, "operator"))
        return [(item["no"], item["attempts"]) for item in reply["data"]["items"]]

    for _ in range(outgoing.STUCK_ATTEMPTS - 1):
        await send(people)
    assert await stuck() == []
    await send(people)
    assert await stuck() == [(PAYOUT, outgoing.STUCK_ATTEMPTS)]
    waited = sum(outgoing.FIRST_DELAY_SECONDS * 2**n / 2 for n in range(1, outgoing.STUCK_ATTEMPTS))
    assert waited > 3600  # nobody is called for the first hour


async def test_without_a_platform_everything_stays_owed(people: People) -> None:
    await owe_a_payout(people)
    await send(people)
    [row] = await queue(people)
    assert (row["state"], row["reason"]) == ("owed", "CLOCK_PLATFORM_URL is not set")


async def test_the_money_of_a_channel_that_is_gone_stays_owed(people: People) -> None:
    await owe_a_payout(people)
    del people.service.channels["platform"]
    await people.rows("UPDATE outgoing SET next_at = now()")
    started = time.monotonic()
    assert await outgoing.send_some(people.service.store, people.service.channels) == 1
    assert time.monotonic() - started < 5
    [row] = await queue(people)
    assert (row["state"], row["reason"]) == ("owed", "no channel platform")
