"""pay, decided, status: which unpaid orders are looked into, since a signed payment of them was refused."""

import hashlib
from typing import Any

import pytest

from tests.lua.stage import OPENS, SETTLES, Stage, order, pay, payment, tail_of

REFUSED: dict[str, dict[str, Any]] = {
    "amount_mismatch": {"amount_fen": 99},
    "transaction_missing": {"transaction_id": ""},
    "buyer_mismatch": {"buyer_id": "somebody else"},
}


def refused(uid: int, word: str = "amount_mismatch", raw: str = "{}") -> dict[str, Any]:
    return {**payment(uid), **REFUSED[word], "raw": raw}


async def of_order(stage: Stage, uid: int) -> str:
    """What status says of the user, without the tail of an order."""
    [said] = await stage.call("status", {"uid": uid})
    return str(said).removesuffix(tail_of(uid))


async def decide(stage: Stage, uid: int, *bodies: str) -> str:
    rows: list[dict[str, Any]] = [{"body_sha1": hashlib.sha1(raw.encode()).hexdigest()} for raw in bodies]
    return str((await stage.call("decided", *rows, tail=tail_of(uid)))[0])


@pytest.mark.parametrize("word", REFUSED)
async def test_a_refused_payment_of_an_unpaid_order_is_looked_into_until_it_is_decided(stage: Stage, word: str) -> None:
    await stage.join(1, 2)
    assert await of_order(stage, 1) == "O."
    assert await pay(stage, refused(1, word)) == [word]
    assert [await of_order(stage, uid) for uid in (1, 2, 3)] == ["O?", "O.", "-"]
    assert await decide(stage, 1, "{}") == "decided"
    assert await of_order(stage, 1) == "O."


async def test_the_same_callback_counts_once_and_not_again_after_it_is_decided(stage: Stage) -> None:
    await stage.join(1)
    assert await pay(stage, refused(1), refused(1), refused(1)) == ["amount_mismatch"] * 3
    assert await decide(stage, 1, "{}", "{}") == "decided"
    assert await of_order(stage, 1) == "O."
    assert await pay(stage, refused(1)) == ["amount_mismatch"]
    assert await of_order(stage, 1) == "O."


async def test_one_of_two_that_is_decided_leaves_the_other(stage: Stage) -> None:
    await stage.join(1)
    await pay(stage, refused(1, raw="first"), refused(1, "buyer_mismatch", raw="second"))
    await decide(stage, 1, "first")
    assert await of_order(stage, 1) == "O?"
    async with stage.nothing_changes():
        await decide(stage, 1, "first")
    await decide(stage, 1, "first", "second")
    assert await of_order(stage, 1) == "O."


async def test_a_decision_that_comes_first_counts(stage: Stage) -> None:
    """As where the books know a callback that a promoted replica has forgotten."""
    await stage.join(1)
    await decide(stage, 1, "{}")
    await pay(stage, refused(1))
    assert await of_order(stage, 1) == "O."


async def test_an_order_that_is_paid_after_all_is_not_looked_into(stage: Stage) -> None:
    await stage.join(1)
    await pay(stage, refused(1))
    assert await pay(stage, payment(1)) == ["paid"]
    assert await of_order(stage, 1) == "M"
    async with stage.nothing_changes():
        assert await pay(stage, {**refused(1), "transaction_id": "T-new"}) == ["amount_mismatch"]


async def test_what_names_no_order_is_not_looked_into(stage: Stage) -> None:
    await stage.join(1)
    async with stage.nothing_changes():
        assert await pay(stage, {**refused(1), "tail": "anothertail9"}) == ["order_not_found"]


@pytest.mark.parametrize("round_", ["settled", "finished", "void"])
async def test_a_round_that_is_over_gets_no_key_that_would_not_expire(stage: Stage, round_: str) -> None:
    await stage.bring("O", round_)
    async with stage.nothing_changes():
        assert await pay(stage, refused(1), now=SETTLES) == ["amount_mismatch"]
        assert await decide(stage, 1, "{}") == "over"


async def test_a_closed_round_is_looked_into_too(stage: Stage) -> None:
    await stage.bring("O", "closed")
    await pay(stage, refused(1), now=OPENS)
    assert await of_order(stage, 1) == "O?"


async def test_the_tail_is_that_of_the_order_that_join_made(stage: Stage) -> None:
    await stage.join(1)
    [said] = await stage.call("status", {"uid": 1})
    assert said == "O." + str(order(1)["tail"])


async def test_a_full_vector_of_256_users(stage: Stage) -> None:
    uids = list(range(1, 257))
    await stage.join(*uids)
    assert await pay(stage, *(refused(uid) for uid in uids[::2])) == ["amount_mismatch"] * 128
    said = await stage.call("status", *({"uid": uid} for uid in uids))
    assert said == [("O?" if uid % 2 else "O.") + tail_of(uid) for uid in uids]
