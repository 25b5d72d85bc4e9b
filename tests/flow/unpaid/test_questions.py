"""A callback that never comes: the provider is asked, and what it says of a payment counts as the callback would."""

import asyncio
import time
from datetime import date
from typing import Any

import pytest
from structlog.testing import capture_logs

from clock.channels import OrderState
from clock.config import Settings
from clock.operators import money, rounds
from clock.payments import questions
from clock.runtime import sending, worker
from tests.conftest import DAY, at
from tests.flow.stage import IN_TIME, NEXT_DAY, People
from tests.flow.unpaid.stage import ORDERED_AT, TWO_MINUTES, Provider, ask
from tests.model.world import new_world


async def status(people: People, uid: int) -> str:
    """What the books say that the user is: a member ``M``, late ``L``, with an order ``O``."""
    [row] = await people.rows(
        "SELECT CASE WHEN m.late THEN 'L' WHEN m.uid IS NOT NULL THEN 'M' ELSE 'O' END AS state"
        " FROM orders o LEFT JOIN members m USING (day, uid) WHERE o.day = %s AND o.uid = %s",
        people.day,
        uid,
    )
    return str(row["state"])


async def outcomes(people: People) -> list[str]:
    return [row["outcome"] for row in await people.rows("SELECT outcome FROM payments ORDER BY uid")]


async def figures(people: People) -> dict[str, Any]:
    [row] = await people.rows("SELECT * FROM rounds WHERE day = %s", people.day)
    return row


# -- while the round lives


async def test_an_unpaid_order_is_asked_about_from_two_minutes_on_by_the_games_clock(
    people: People, provider: Provider
) -> None:
    await people.join(1)
    provider.pays(people, 1)
    assert await ask(people, ORDERED_AT + TWO_MINUTES - 1) == 0
    assert provider.asked() == []
    assert await ask(people, ORDERED_AT + TWO_MINUTES) == 1
    assert provider.asked() == [people.orders[1]]
    assert await status(people, 1) == "M"


@pytest.mark.parametrize(
    ("found_at", "days", "paid_at", "state", "outcome"),
    [
        ("23:59", 0, IN_TIME, "M", "paid"),
        ("04:59", 1, IN_TIME, "M", "paid"),
        ("05:00", 1, IN_TIME, "L", "paid_late"),
        ("07:59", 1, IN_TIME, "L", "paid_late"),
        ("08:00", 1, IN_TIME, "O", "refund_closed"),
        ("04:00", 1, f"{NEXT_DAY} 00:00:00", "O", "refund_late"),
        ("06:00", 1, f"{NEXT_DAY} 00:00:00", "O", "refund_late"),
    ],
)
async def test_a_lost_callback_counts_as_if_it_came_when_it_is_found(
    people: People, provider: Provider, found_at: str, days: int, paid_at: str, state: str, outcome: str
) -> None:
    await people.join(1)
    provider.pays(people, 1, paid_at)
    assert await ask(people, at(found_at, days, 100)) == 1
    assert await status(people, 1) == state
    assert await outcomes(people) == [outcome]
    owed = await people.rows("SELECT amount_fen FROM outgoing WHERE kind = 'refund'")
    assert [row["amount_fen"] for row in owed] == ([100] if outcome.startswith("refund") else [])


async def test_a_callback_that_comes_after_all_changes_nothing(people: People, provider: Provider) -> None:
    await people.join(1)
    provider.pays(people, 1)
    await ask(people, ORDERED_AT + TWO_MINUTES)
    assert await people.pay(1) == "already_paid"
    await people.drain()
    assert await outcomes(people) == ["paid"]
    assert await ask(people, at("04:00", 1)) == 0


async def test_what_the_provider_says_is_checked_as_a_callback_is(people: People, provider: Provider) -> None:
    await people.join(1)
    provider.pays(people, 1, amount=1)
    await ask(people, ORDERED_AT + TWO_MINUTES)
    assert await status(people, 1) == "O"
    kept = await people.rows("SELECT reason, order_no FROM quarantine")
    assert [(row["reason"], row["order_no"]) for row in kept] == [("amount_mismatch", people.orders[1])]


async def test_questions_about_an_unpaid_order_grow_rare_and_never_end(people: People, provider: Provider) -> None:
    await people.join(1)
    assert await ask(people, ORDERED_AT + TWO_MINUTES) == 1
    waits, now_ms = [], ORDERED_AT + TWO_MINUTES
    for _ in range(12):
        [row] = await people.rows("SELECT next_at_ms, answer FROM unpaid")
        assert row["answer"] == "unpaid"
        waits.append((row["next_at_ms"] - now_ms) // 60_000)
        now_ms = row["next_at_ms"]
        assert await ask(people, now_ms - 1) == 0
        assert await ask(people, now_ms) == 1
    assert waits == [4, 8, 16, 32, 64, 115, 256, 360, 360, 360, 360, 360]  # the sixth: two minutes after midnight


@pytest.mark.parametrize(("asked_ms", "next_ms"), [(at("23:59"), at("00:02", 1)), (at("00:02", 1), at("00:06", 1))])
async def test_every_unpaid_order_is_asked_about_after_joining_has_closed(
    people: People, provider: Provider, asked_ms: int, next_ms: int
) -> None:
    await people.join(1)
    assert await ask(people, asked_ms) == 1
    [row] = await people.rows("SELECT next_at_ms FROM unpaid")
    assert row["next_at_ms"] == next_ms


@pytest.mark.long
async def test_many_unpaid_orders_are_asked_about_a_few_at_a_time(people: People, provider: Provider) -> None:
    await people.join(*range(1, 106))
    at_once = most = 0

    async def slow(number: str) -> OrderState:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        return await provider.say(number)

    provider.order = slow
    assert [await ask(people, ORDERED_AT + TWO_MINUTES) for _ in range(3)] == [100, 5, 0]
    assert sorted(provider.asked()) == sorted(people.orders.values())
    assert most == questions.IN_FLIGHT


@pytest.mark.parametrize("end", ["settled", "void"])
async def test_the_worker_asks_until_the_round_has_ended(shared: Settings, end: str) -> None:
    """Who paid at eight, or in a round that was called off, and whose callback is lost, is owed the money back."""
    provider = Provider()
    async with new_world(shared, platform_url="http://provider") as service:
        people = People(service)
        people.use(provider)
        await people.join(1, 2)
        await people.drain()
        service.time.stop_at(ORDERED_AT + TWO_MINUTES)
        await sending.ask({"service": service})
        assert sorted(provider.asked()) == sorted(people.orders.values())
        if end == "void":
            assert await service.voiding.void(DAY, "a storm") == "ok"
        else:
            await people.settle()
            assert sorted(provider.asked()) == sorted(people.orders.values())  # the gate
        people.it_is("20:00", 1)
        provider.pays(people, 1)
        await sending.ask({"service": service})
        assert sorted(provider.asked()) == sorted(people.orders.values())
        await people.drain()
        assert await outcomes(people) == ["refund_void" if end == "void" else "refund_closed"]
        await people.finish()
        people.it_is("20:00", 3)
        await sending.ask({"service": service})
        assert provider.asked() == []


# -- the gate before settlement


async def test_settlement_asks_about_every_unpaid_order_of_the_round_first(people: People, provider: Provider) -> None:
    await people.members(1, 2)
    await people.join(*range(3, 106))
    await people.morning(winners=1)
    provider.pays(people, 104)
    await ask(people)  # some were asked about a moment ago: settlement asks all the same
    provider.asked()
    await people.settle()
    unpaid = [number for uid, number in people.orders.items() if uid > 2 and uid != 104]
    asked = provider.asked()
    assert sorted(asked) == sorted(set(asked))
    assert set(unpaid) <= set(asked)
    assert (await figures(people))["unanswered_orders"] == 0


async def test_a_payment_found_at_the_gate_is_refunded_and_the_pool_stays_as_it_closed(
    people: People, provider: Provider
) -> None:
    await people.members(1, 2)
    await people.join(3)
    await people.morning(winners=1)
    provider.pays(people, 3)
    await people.settle()
    await people.drain()
    assert await outcomes(people) == ["paid", "paid", "refund_closed"]
    row = await figures(people)
    assert (row["members"], row["pool_fen"], row["pot_fen"]) == (2, 200, 100)
    people.it_is("00:00", 2)
    await people.finish()
    assert await people.balance("owed:refund") == 100


async def test_what_the_provider_cannot_say_before_settlement_is_counted_and_named(
    people: People, provider: Provider
) -> None:
    await people.members(1, 2)
    await people.join(3, 4, 5)
    await people.morning(winners=1)
    await people.drain()
    provider.silent = {people.orders[3], people.orders[4]}
    await people.settle()
    assert (await figures(people))["unanswered_orders"] == 2
    answer = await money.unanswered(people.service.store, DAY, 1, 10)
    assert [row["order_no"] for row in answer.data["items"]] == [people.orders[3], people.orders[4]]
    assert (await rounds.figures(people.service, DAY)).data["unanswered_orders"] == 2
    assert (await money.unanswered(people.service.store, date(2026, 1, 1), 1, 10)).word == "round_not_found"


async def test_a_provider_that_hangs_does_not_hold_up_settlement(
    people: People, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request runs into its time-out, and there are more orders than are asked about at once."""
    monkeypatch.setattr(questions, "GATE_SECONDS", 0.5)
    await people.members(1, 2)
    await people.join(*range(3, 108))
    await people.morning(winners=1)
    await people.drain()

    async def hang(_: str) -> OrderState:
        await asyncio.sleep(2)
        return OrderState("unknown")

    provider.order = hang
    started = time.monotonic()
    await people.settle()
    assert time.monotonic() - started < 5
    assert (await figures(people))["unanswered_orders"] == 105
    unanswered = await people.service.store.all("list_unanswered", day=DAY, limit=1000, offset=0)
    assert len(unanswered) == 105


def test_the_gate_leaves_time_for_the_rest_of_a_settlement_job() -> None:
    assert questions.GATE_SECONDS < worker.JOB_SECONDS


async def test_a_settlement_that_goes_on_after_the_gate_does_not_ask_again(
    people: People, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.members(1, 2)
    await people.join(3)
    await people.morning(winners=1)
    await people.drain()
    with monkeypatch.context() as patch:
        patch.setattr("clock.proofs.statements.write_published", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await people.settle()
    assert len(provider.asked()) == 1
    await people.settle()
    assert provider.asked() == []


async def test_an_order_that_cannot_be_asked_about_stops_no_other(people: People, provider: Provider) -> None:
    await people.join(1, 2, 3)

    async def answer(number: str) -> OrderState:
        if number == people.orders[2]:
            raise RuntimeError("nobody foresaw this")
        return OrderState("unpaid")

    provider.order = answer
    with capture_logs() as logged:
        assert await ask(people, at("20:30")) == 3
    assert [line["order_no"] for line in logged if line["event"] == "question_broke"] == [people.orders[2]]
    found = await people.rows("SELECT uid, answer FROM unpaid")
    assert {row["uid"]: row["answer"] for row in found} == {1: "unpaid", 2: "unknown", 3: "unpaid"}


async def test_paid_without_a_payment_is_no_answer(people: People, provider: Provider) -> None:
    await people.members(1, 2)
    await people.join(3)
    await people.morning(winners=1)

    async def answer(_: str) -> OrderState:
        return OrderState("paid")

    provider.order = answer
    await people.settle()
    [row] = await people.rows("SELECT unanswered_orders FROM rounds WHERE day = %s", people.day)
    assert row["unanswered_orders"] == 1
