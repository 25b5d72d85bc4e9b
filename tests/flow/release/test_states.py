"""A decision survives crashes and the loss of Redis, and is made in every state of a round."""

from typing import Any

import psycopg
import pytest

from clock.audit.rebuild import rebuild_lost
from clock.domain.outcomes import Answer
from clock.game import keys
from clock.operators import quarantine
from clock.payments import outgoing
from tests.conftest import DAY, at
from tests.flow.release.stage import NOT_OURS, agree, call_back, decide, only
from tests.flow.stage import People, Sandbox, bill
from tests.raw import raw


class Died(Exception):
    pass


async def test_who_dies_between_the_refund_and_its_record_is_followed_by_who_finishes_it(
    people: People, provider: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.join(1)
    bill(provider, people.orders[1], "T1", 1)
    assert await call_back(people, people.orders[1], buyerId="x") == "buyer_mismatch"
    entry = await only(people)
    owe = quarantine._owe_order

    async def owe_and_die(*given: Any) -> Any:
        await owe(*given)
        raise Died

    monkeypatch.setattr(quarantine, "_owe_order", owe_and_die)
    with pytest.raises(Died):
        await decide(people, entry)
    monkeypatch.undo()
    assert await people.rows("SELECT * FROM releases") == []
    assert await decide(people, entry, "dismiss") == Answer("cannot_release", {"why": "refund_begun"})
    assert (await decide(people, entry)).word == "released"
    assert len(await people.rows("SELECT * FROM refunds")) == 1
    await agree(people)


@pytest.mark.parametrize("number", ["ours", NOT_OURS])
async def test_a_release_survives_the_loss_of_redis(people: People, provider: Sandbox, number: str) -> None:
    await people.join(1)
    number = people.orders[1] if number == "ours" else number
    bill(provider, number, "T1", 1, 250)
    await call_back(people, number, amount=250)
    await decide(people, await only(people))
    redis: Any = people.service.redis
    await redis.delete(*[name async for name in redis.scan_iter(keys.name(DAY, 0, "*"))])
    assert f"{DAY}.0" in await rebuild_lost(people.service)
    await agree(people)
    word = await call_back(people, number, amount=250)
    assert word == ("refund_due" if number == people.orders[1] else "order_not_found")


@pytest.mark.parametrize("end", ["settled", "finished", "void"])
async def test_a_round_that_has_ended_gives_back_as_well(people: People, provider: Sandbox, end: str) -> None:
    await people.members(1, 2)
    for uid in (1, 2):
        bill(provider, people.orders[uid], f"S{people.orders[uid]}0", uid)
    bill(provider, people.orders[2], "T9", 2, 300)
    assert await call_back(people, people.orders[2], "T9", amount=300) == "amount_mismatch"
    entry = await only(people)
    if end == "void":
        assert await people.service.voiding.void(DAY, "a storm") == "ok"
    else:
        await people.morning(winners=1)
        await people.settle()
    if end == "finished":
        await people.finish()
    assert (await decide(people, entry)).word == "released"
    assert await raw(people.service.redis).ttl(keys.name(DAY, 0, "outbox")) < 0
    await agree(people)
    while await outgoing.send_some(people.service.store, people.service.channels):
        pass
    assert [no for no, kind, fen, _ in provider.movements() if (kind, fen) == ("refund", 300)] != []
    assert await people.balance("owed:refund") == 0


async def test_the_database_refuses_to_change_a_decision(people: People) -> None:
    await people.join(1)
    await call_back(people, people.orders[1], amount=1)
    await decide(people, await only(people), "dismiss")
    for statement in ("UPDATE releases SET reason = 'x'", "DELETE FROM releases", "TRUNCATE releases"):
        with pytest.raises(psycopg.Error, match="never change"):
            await people.rows(statement)


async def test_a_payment_is_never_later_than_the_callback_that_told_of_it(people: People) -> None:
    await people.join(1)
    await call_back(people, people.orders[1], amount=1, notify_time="2031-01-01 00:00:00")
    await decide(people, await only(people))
    [row] = await people.rows("SELECT paid_at_ms FROM payments")
    assert row["paid_at_ms"] == at("20:00", 0, 10)
