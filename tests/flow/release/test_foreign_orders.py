"""Payments for orders that never were, or are no more."""

import asyncio
from typing import Any

import pytest

from clock.books import outbox
from clock.books.store import OUTBOX_LOCK, one
from clock.domain.outcomes import Unavailable
from clock.game import keys
from clock.operators import quarantine
from tests.conftest import DAY
from tests.flow.release.stage import NEVER_ISSUED, NOT_OURS, OF_NO_ROUND, agree, call_back, decide, kept, only, refused
from tests.flow.stage import People, Sandbox, bill, send


@pytest.mark.parametrize("number", [NOT_OURS, NEVER_ISSUED, OF_NO_ROUND])
async def test_a_payment_for_an_order_that_never_was_goes_back_under_the_providers_number(
    people: People, provider: Sandbox, number: str
) -> None:
    await people.members(2)
    bill(provider, people.orders[2], f"S{people.orders[2]}0", 2)
    bill(provider, number, "T9", 7)
    assert await call_back(people, number, "T9") == "order_not_found"
    entry = await only(people)
    answer = await decide(people, entry)
    assert (answer.word, answer.data["day"]) == ("released", "2026-11-22")
    assert await decide(people, entry) == answer
    [refund] = await people.rows("SELECT * FROM refunds")
    assert (refund["uid"], refund["order_no"], refund["transaction_id"]) == (quarantine.NOBODY, number, "T9")
    await agree(people)
    while await send(people):
        pass
    assert [(kind, fen, state) for _, kind, fen, state in provider.movements()] == [("refund", 100, "done")]
    assert await people.balances() == {"channel:platform": -100, "pool:2026-11-22": 100}
    await agree(people)


async def test_a_transaction_that_made_a_member_is_not_given_back_under_another_order(
    people: People, provider: Sandbox
) -> None:
    await people.join(1)
    bill(provider, people.orders[1], "T1", 1)
    assert await call_back(people, people.orders[1]) == "paid"
    for number in (NOT_OURS, NEVER_ISSUED):
        assert await call_back(people, number) == "order_not_found"
    for row in await kept(people):
        await refused(people, str(row["id"]), "accepted")
    await agree(people)


async def test_a_release_waits_for_who_drains_the_outbox_meanwhile(people: People, provider: Sandbox) -> None:
    """The books do not know yet that the payment has made a member."""
    await people.join(1)
    assert await call_back(people, NOT_OURS) == "order_not_found"
    entry = await only(people)
    assert await call_back(people, people.orders[1]) == "paid"
    async with people.service.store.transaction() as connection:
        lease = await one(connection, "try_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(DAY, 0))
        assert lease["ours"]
        release = asyncio.create_task(decide(people, entry))
        await asyncio.sleep(0.5)
        assert not release.done()
    answer = await release
    assert (answer.word, answer.data) == ("cannot_release", {"why": "accepted"})


async def test_a_release_does_not_wait_for_ever(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await call_back(people, NOT_OURS) == "order_not_found"
    entry = await only(people)
    await people.join(1)
    async with people.service.store.transaction() as connection:
        await one(connection, "try_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(DAY, 0))
        with monkeypatch.context() as impatient, pytest.raises(Unavailable, match="not drained"):
            impatient.setattr(quarantine, "DRAIN_SECONDS", 0.3)
            await decide(people, entry)
    assert (await decide(people, entry)).word == "released"


async def test_a_very_late_copy_of_an_accepted_callback_gives_nothing_back(people: People, provider: Sandbox) -> None:
    """The round's keys are gone by then, so that Redis knows neither the order nor its payment."""
    await people.members(1)
    number = people.orders[1]
    transaction = f"S{number}0"
    await people.morning(winners=1)
    await people.settle()
    await people.claim(1)
    await people.finish()
    await people.tamper("UPDATE rounds SET finished_at = now() - interval '20 days'")
    redis: Any = people.service.redis
    await redis.delete(*[name async for name in redis.scan_iter(keys.name(DAY, 0, "*"))])
    people.it_is("12:00", 20)
    assert await call_back(people, number, transaction) == "order_not_found"
    await _drain_today(people)
    [row] = await people.rows("SELECT encode(digest, 'hex') AS id FROM quarantine")
    await refused(people, row["id"], "accepted")

    assert await call_back(people, number, "T-second") == "order_not_found"
    await _drain_today(people)
    [row] = await people.rows(
        "SELECT encode(digest, 'hex') AS id FROM quarantine WHERE convert_from(raw, 'UTF8') LIKE %s", "%T-second%"
    )
    answer = await decide(people, row["id"])
    assert (answer.word, answer.data["day"]) == ("released", DAY.isoformat())
    [refund] = await people.rows("SELECT * FROM refunds")
    assert (refund["uid"], refund["order_no"]) == (1, number)


async def _drain_today(people: People) -> None:
    for row in await people.rows("SELECT day FROM rounds"):
        await outbox.drain(people.service.store, people.service.redis, row["day"], 0)


async def test_two_order_numbers_of_one_transaction_give_it_back_once(people: People) -> None:
    await people.join(2)
    for number in (NOT_OURS, NEVER_ISSUED):
        assert await call_back(people, number, "T9") == "order_not_found"
    entries = [str(row["id"]) for row in await kept(people)]
    answers = await asyncio.gather(*(decide(people, entry) for entry in entries))
    assert sorted(answer.word for answer in answers) == ["cannot_release", "released"]
    assert len(await people.rows("SELECT * FROM refunds")) == 1
