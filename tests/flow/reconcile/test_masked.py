"""Payments that only a bill has: who has paid is asked, where the bill does not say."""

import pytest

from clock.audit import bill as comparing
from clock.channels import OrderState, Payment
from tests.conftest import at
from tests.flow.reconcile.channels import Stage


async def test_a_payment_whose_payer_is_masked_is_asked_for(stage: Stage) -> None:
    """The line alone would make nobody a member: its buyer is not the order's."""
    people = stage.people
    await people.join(3)
    stage.billed(stage.alipay, stage.paid(3, number="T4"))
    assert await stage.differences() == [("payment_unheard", "alipay: bill 100 fen", "unknown")]
    assert await people.rows("SELECT reason FROM quarantine") == []

    async def paid(number: str) -> OrderState:
        return OrderState("paid", Payment(number, 100, "T4", "open-3", at("20:00"), b"asked"))

    stage.alipay.order = paid
    report = await stage.report()
    assert (report.differences, report.mended) == ([], [f"order {people.orders[3]} transaction T4: paid"])
    assert await people.rows("SELECT channel, raw FROM payments WHERE uid = 3") == [
        {"channel": "alipay", "raw": "asked"}
    ]
    assert stage.alipay.calls.count(("query_order", people.orders[3])) == 2
    assert [call for call in stage.platform.calls if call[0] == "query_order"] == []


async def test_a_payment_whose_payer_is_named_is_taken_from_the_line(stage: Stage) -> None:
    people = stage.people
    await people.join(3)
    stage.billed(stage.platform, stage.paid(3, "open-3", "T4"))
    assert (await stage.report()).mended == [f"order {people.orders[3]} transaction T4: paid"]
    assert [call for call in stage.platform.calls if call[0] == "query_order"] == []


async def test_a_second_payment_that_the_provider_does_not_tell_of_goes_back_whoever_has_paid_it(stage: Stage) -> None:
    """The provider says of the order what the books have already, and the bill does not say who has paid again."""
    people = stage.people

    async def paid(number: str) -> OrderState:
        return OrderState("paid", Payment(number, 100, "T2", "open-2", at("20:00"), b"asked"))

    stage.alipay.order = paid
    stage.billed(stage.alipay, stage.paid(2, number="T5"))
    report = await stage.report()
    assert (report.differences, report.mended) == ([], [f"order {people.orders[2]} transaction T5: refund_due"])
    assert await people.rows("SELECT outcome, transaction_id FROM payments WHERE uid = 2 ORDER BY transaction_id") == [
        {"outcome": "paid", "transaction_id": "T2"},
        {"outcome": "refund_second", "transaction_id": "T5"},
    ]
    assert [(row["kind"], row["transaction_id"]) for row in await people.rows("SELECT * FROM outgoing")] == [
        ("refund", "T5")
    ]


async def test_a_second_payment_makes_nobody_a_member_whose_first_one_was_refused(stage: Stage) -> None:
    await stage.people.join(3)

    async def paid(number: str) -> OrderState:
        return OrderState("paid", Payment(number, 99, "T4", "open-3", at("20:00"), b"asked"))

    stage.alipay.order = paid
    stage.billed(stage.alipay, stage.paid(3, number="T5"))
    assert [other for *_, other in await stage.differences()] == ["amount_mismatch"]
    assert await stage.people.rows("SELECT uid FROM members WHERE uid = 3") == []


async def test_providers_are_not_asked_for_ever(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "ASK_SECONDS", -1.0)
    await stage.people.join(3)
    stage.billed(stage.alipay, stage.paid(3, number="T4"))
    assert [other for *_, other in await stage.differences()] == ["unknown"]
    assert [call for call in stage.alipay.calls if call[0] == "query_order"] == []
