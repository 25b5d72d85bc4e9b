"""What cannot be given back, and what an operator dismisses."""

import time

from clock.audit.reconcile import reconcile
from clock.domain.outcomes import Answer
from tests.conftest import DAY
from tests.flow.release.stage import agree, call_back, decide, kept, only, refused
from tests.flow.stage import People, Sandbox, bill, move

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
