"""The table of unpaid orders: when each is asked about, whoever dies, is slow, or forgets."""

import asyncio

import pytest

from clock.books import entries
from clock.channels import OrderState
from clock.game import events
from clock.payments import questions
from tests.conftest import DAY
from tests.flow.stage import People
from tests.flow.unpaid.stage import ORDERED_AT, TWO_MINUTES, Provider, ask


async def test_whoever_dies_while_it_asks_has_noted_when_the_orders_are_asked_about_again(
    people: People, provider: Provider
) -> None:
    await people.join(1, 2)

    async def dies(_: str) -> OrderState:
        raise asyncio.CancelledError

    provider.order = dies
    with pytest.raises(asyncio.CancelledError):
        await ask(people, ORDERED_AT + TWO_MINUTES)
    provider.order = provider.say
    assert await ask(people, ORDERED_AT + 3 * TWO_MINUTES - 1) == 0
    assert await ask(people, ORDERED_AT + 3 * TWO_MINUTES) == 2


async def test_a_slow_provider_is_asked_about_other_orders_the_next_time(
    people: People, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(questions, "AT_ONCE", 2)
    await people.join(*range(1, 6))

    async def hang(_: str) -> OrderState:
        await asyncio.sleep(10)
        return OrderState("unpaid")

    provider.order = hang
    assert [await ask(people, ORDERED_AT + TWO_MINUTES) for _ in range(4)] == [2, 2, 1, 0]
    assert sorted(provider.asked()) == sorted(people.orders.values())
    found = await people.rows("SELECT DISTINCT answer FROM unpaid")
    assert [row["answer"] for row in found] == ["unknown"]


async def test_an_order_that_took_the_place_of_a_forgotten_one_is_asked_about_instead(
    people: People, provider: Provider
) -> None:
    """Redis, promoted from a replica that lagged, has given the user a new order."""
    await people.join(1)
    await ask(people, ORDERED_AT + TWO_MINUTES)
    provider.asked()
    renewed = events.Ordered(ORDERED_AT + TWO_MINUTES, [(1, "N-new", 77, 100, "open-1", "", "")])
    async with people.service.store.transaction() as connection:
        await entries.write(connection, DAY, 0, [renewed])
    assert await ask(people, ORDERED_AT + 2 * TWO_MINUTES) == 1
    assert provider.asked() == ["N-new"]
    assert await people.rows("SELECT order_no, asked FROM unpaid") == [{"order_no": "N-new", "asked": 1}]
