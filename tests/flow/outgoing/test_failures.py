"""The provider is down, times out, takes its time or gives up: money leaves once all the same."""

import time
from pathlib import Path

import pytest

from clock.channels import Result
from clock.payments import outgoing
from tests.conftest import Api
from tests.flow.outgoing.stage import PAYOUT, owe_a_payout, owe_a_refund, queue, state
from tests.flow.stage import People, Sandbox, Scripted, sandbox, send


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
    provider.trouble(processing=1, processing_ms=60_000)
    await send(people)
    await send(people)
    assert await state(people) == "processing"
    assert await people.balance("owed:payout") == 200
    provider.provider.books.db.execute("UPDATE movements SET settles_at = 0")  # a minute later
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
