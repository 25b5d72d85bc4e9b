"""An operator gives back what was paid, once; what was accepted or refused already is not given back."""

import asyncio
from typing import Any

import pytest

from clock.domain.outcomes import Answer
from clock.operators import quarantine
from tests.flow.release.stage import agree, call_back, decide, kept, only, refused
from tests.flow.stage import People, Sandbox, bill, send

WRONG = [
    ("amount_mismatch", {"amount": 250}, 250),
    ("buyer_mismatch", {"buyerId": "a stranger"}, 100),
]


@pytest.mark.parametrize(("word", "changes", "fen"), WRONG, ids=[one[0] for one in WRONG])
async def test_a_refund_gives_back_what_was_paid_once_and_says_who_and_why(
    people: People, provider: Sandbox, word: str, changes: dict[str, Any], fen: int
) -> None:
    await people.join(1)
    number = people.orders[1]
    bill(provider, number, "T1", 1, fen)
    assert await call_back(people, number, **changes) == word
    entry = await only(people)
    answer = await decide(people, entry, reason="paid twice what was asked")
    assert answer.word == "released"
    [refund] = await people.rows("SELECT * FROM refunds")
    said = {name: answer.data[name] for name in ("id", "action", "reason", "by", "order_no", "transaction_id")}
    assert list(said.values()) == [entry, "refund", "paid twice what was asked", "operator 99", number, "T1"]
    assert (answer.data["amount_fen"], answer.data["refund_no"]) == (fen, refund["refund_no"])
    assert (refund["uid"], refund["amount_fen"], refund["reason"]) == (1, fen, "refund_released")
    assert await people.balances() == {"channel:platform": -fen, "owed:refund": fen}
    await agree(people)

    again = await asyncio.gather(*(decide(people, entry, reason="again") for _ in range(4)))
    assert again == [answer] * 4
    other = await decide(people, entry, "dismiss")
    assert (other.word, other.data) == ("already_released", answer.data)
    while await send(people):
        pass
    assert provider.movements() == [(refund["refund_no"], "refund", fen, "done")]
    assert await people.balances() == {}
    await agree(people)


async def test_the_released_payment_is_never_taken_by_a_later_callback_and_another_one_is(
    people: People, provider: Sandbox
) -> None:
    await people.join(1)
    number = people.orders[1]
    bill(provider, number, "T1", 1)
    assert await call_back(people, number, amount=1) == "amount_mismatch"
    await call_back(people, number, buyerId="x")
    first, second = await kept(people)
    assert (await decide(people, str(first["id"]))).word == "released"
    assert await call_back(people, number) == "refund_due"
    assert await call_back(people, number, buyerId="x") == "refund_due"
    bill(provider, number, "T2", 1)
    assert await call_back(people, number, "T2") == "paid"
    await people.drain()
    assert len(await people.rows("SELECT * FROM refunds")) == 1
    assert (await decide(people, str(second["id"]))).word == "released"  # both told of the same payment
    assert len(await people.rows("SELECT * FROM releases")) == 2
    assert len(await people.rows("SELECT * FROM refunds")) == 1


async def test_what_was_accepted_after_all_is_not_given_back(people: People, provider: Sandbox) -> None:
    await people.join(1)
    number = people.orders[1]
    bill(provider, number, "T1", 1)
    assert await call_back(people, number, amount=1) == "amount_mismatch"
    entry = await only(people)
    assert await call_back(people, number) == "paid"  # is in the outbox only, until somebody reads it
    await refused(people, entry, "accepted")
    answer = await decide(people, entry, "dismiss")
    assert (answer.word, answer.data["refund_no"]) == ("released", None)
    await agree(people)


async def test_the_script_itself_gives_nothing_back_that_was_accepted_or_refused(
    people: People, provider: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback that comes between the look into the books and the decision."""
    await people.join(1)
    number = people.orders[1]
    for transaction in ("T1", "T2"):
        bill(provider, number, transaction, 1)
        assert await call_back(people, number, transaction, amount=1) == "amount_mismatch"
    entries = {row["raw"]: str(row["id"]) for row in await kept(people)}

    async def nothing_is_known(*_: Any) -> None:
        return None

    monkeypatch.setattr(quarantine, "_check", nothing_is_known)
    assert await call_back(people, number, "T1") == "paid"
    assert await call_back(people, number, "T2") == "refund_due"
    for raw, entry in entries.items():
        answer = await decide(people, entry)
        assert answer == Answer("cannot_release", {"why": "accepted" if b'"T1"' in raw else "refunded"})
    await agree(people)


async def test_what_is_owed_back_already_is_not_owed_twice(people: People, provider: Sandbox) -> None:
    await people.join(1)
    number = people.orders[1]
    for transaction in ("T1", "T2"):
        bill(provider, number, transaction, 1)
    assert await call_back(people, number, "T2", buyerId="x") == "buyer_mismatch"
    assert await call_back(people, number, "T1") == "paid"
    assert await call_back(people, number, "T2") == "refund_due"
    await refused(people, await only(people), "refunded")
    await agree(people)
