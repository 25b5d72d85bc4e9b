"""Releasing from the quarantine: an operator decides once, money goes back once, and all books agree afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from clock.audit.rebuild import rebuild_lost
from clock.audit.reconcile import reconcile
from clock.books import outbox
from clock.config import Settings
from clock.domain import order_no
from clock.domain.outcomes import Answer
from clock.domain.shapes import PaymentCallback, PaymentExtra
from clock.game import keys
from clock.operators import quarantine
from clock.payments import outgoing
from tests.conftest import DAY, Servers, at
from tests.flow.stage import IN_TIME, People, Sandbox, bill, move, one_database, sandbox, send
from tests.model.world import new_world

NOT_OURS = "SHOP-1234"
NEVER_ISSUED = order_no.make("TTC", order_no.Place(DAY, 0, 7, "0" * 12))
OF_NO_ROUND = order_no.make("TTC", order_no.Place(DAY.replace(year=2024), 0, 7, "0" * 12))


@pytest.fixture(scope="module")
async def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("release")) as settings:
        yield settings


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared, platform_url="http://provider") as service:
        yield People(service)


@pytest.fixture
async def provider(people: People, tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with sandbox(tmp_path / "sandbox.sqlite") as channel:
        people.use(channel)
        yield channel


async def call_back(people: People, number: str, transaction: str | None = "T1", **changes: Any) -> str:
    """The provider's callback, of user 1's payment unless changed; its word."""
    fields = {"amount": 100, "buyerId": "open-1", "notify_time": IN_TIME, "transactionId": transaction, **changes}
    callback = PaymentCallback(number, PaymentExtra(**fields))
    raw = msgspec.json.encode(callback)
    return (await people.service.incoming.pay(callback, "platform", raw, time.monotonic())).word


async def kept(people: People) -> list[dict[str, Any]]:
    await people.drain()
    return await people.rows("SELECT encode(digest, 'hex') AS id, * FROM quarantine ORDER BY at_ms, reason, raw")


async def decide(people: People, entry: str, action: quarantine.Action = "refund", reason: str = "looked") -> Answer:
    return await quarantine.release(people.service, entry, action, reason, "operator 99")


async def only(people: People) -> str:
    [row] = await kept(people)
    return str(row["id"])


async def refused(people: People, entry: str, why: str) -> None:
    answer = await decide(people, entry)
    assert (answer.word, answer.data) == ("cannot_release", {"why": why})
    await people.drain()
    assert await people.rows("SELECT * FROM refunds WHERE reason = 'refund_released'") == []


async def agree(people: People) -> None:
    """Every book, Redis and the provider's bill."""
    report = await reconcile(people.service, DAY)
    assert report is not None
    assert report.differences == []
    assert sum((await people.balances()).values()) == 0


# -- a refund


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


# -- orders that are not ours


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
    await redis.delete(*[name async for name in redis.scan_iter(f"clock:{{{DAY}.0}}:*")])
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


# -- what cannot be given back


async def test_without_order_transaction_or_amount_there_is_nothing_to_give_back(people: People) -> None:
    await people.join(1)
    number = people.orders[1]
    assert await call_back(people, number, None) == "transaction_missing"
    assert await call_back(people, number, amount=None) == "amount_mismatch"
    assert await call_back(people, number, amount=0) == "amount_mismatch"
    assert await call_back(people, number, amount=2**53) == "amount_mismatch"
    assert await call_back(people, "", "T2") == "order_not_found"
    assert await call_back(people, f"{number}:T3", "T4") == "order_not_found"  # whose cause could be another's
    await people.service.incoming.quarantine("platform", "malformed", "", b"{", time.monotonic())
    found = {}
    for row in await kept(people):
        answer = await decide(people, str(row["id"]))
        assert answer.word == "cannot_release"
        found[row["raw"]] = answer.data["why"]
    missing = ["transaction_missing", "amount_missing", "amount_missing", "amount_missing", "order_missing"]
    assert sorted(found.values()) == sorted([*missing, "unreadable", "unreadable"])
    assert await people.rows("SELECT * FROM payments") == []
    assert await people.rows("SELECT * FROM releases") == []
    for row in await kept(people):
        assert (await decide(people, str(row["id"]), "dismiss")).word == "released"
    assert await people.transfers() == []


async def test_an_unknown_id_is_not_found(people: People) -> None:
    assert await decide(people, "ab" * 32) == Answer("quarantined_not_found")


# -- dismissing


async def test_dismissing_moves_nothing_and_the_books_agree_with_what_was_given_back_by_hand(
    people: People, provider: Sandbox
) -> None:
    await people.join(1)
    number = people.orders[1]
    bill(provider, number, "T1", 1, 250)
    assert await call_back(people, number, amount=250) == "amount_mismatch"
    report = await reconcile(people.service, DAY)
    assert report is not None
    assert [one.what for one in report.differences] == ["payment_unheard"]
    move(provider, "H1", "refund", 250, number)
    for row in await kept(people):
        assert (await decide(people, str(row["id"]), "dismiss", "given back at the provider's")).word == "released"
    assert await people.transfers() == []
    await agree(people)
    move(provider, "H2", "refund", 251, number)
    report = await reconcile(people.service, DAY)
    assert report is not None
    assert [(one.what, one.subject) for one in report.differences] == [("movement_not_as_billed", "H2")]


async def test_what_was_dismissed_is_not_given_back_when_another_callback_tells_of_it(people: People) -> None:
    await people.join(1)
    number = people.orders[1]
    assert await call_back(people, number, amount=1) == "amount_mismatch"
    assert (await decide(people, await only(people), "dismiss")).word == "released"
    assert await call_back(people, number, amount=2) == "amount_mismatch"
    [row] = [row for row in await kept(people) if b":2," in row["raw"]]
    await refused(people, str(row["id"]), "dismissed")


# -- crashes, loss, other states of a round


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
    names = [name async for name in people.service.redis.scan_iter(f"clock:{{{DAY}.0}}:*")]
    await people.service.redis.delete(*names)
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
    assert await people.service.redis.ttl(keys.name(DAY, 0, "outbox")) < 0
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
