"""What operators do about money that did not arrive, and what rings until it has a way."""

from typing import Any

import msgspec
import pytest

from clock.channels import Result
from clock.operators import money, verbs
from clock.operators import people as persons
from clock.operators.acts import By
from clock.operators.watch.alarms import alarms
from clock.operators.watch.watcher import Watch
from clock.operators.work.asking import here
from clock.payments.outgoing import STUCK_ATTEMPTS
from tests.conftest import DAY, Api
from tests.flow.stage import People, Scripted
from tests.flow.withdrawals.stage import CONFIRM, Puller, due, withdraw, won

ANNA, BEN = By("anna", "192.0.2.1"), By("ben", "192.0.2.2")


async def rung(people: People) -> list[str]:
    """What rings for money."""
    seen = await Watch(people.service).look()
    assert seen.postgres
    return [one["code"] for one in alarms(seen) if one["code"].startswith("money")]


async def withdraw_for(people: People, uid: int = 1, by: By = ANNA) -> Any:
    return await verbs.withdraw(people.service, by, uid, "the user wrote to us")


async def acts(people: People) -> list[tuple[str, str, str, int | None, str]]:
    rows = await people.rows(
        "SELECT who, a.act, about, amount_fen, word FROM acts a JOIN acts_ended e ON e.act = a.id ORDER BY a.id"
    )
    return [(row["who"], row["act"], row["about"], row["amount_fen"], row["word"]) for row in rows]


async def refund_failed(people: People, puller: Puller) -> str:
    """The stake of the winner could not go back: 300 fen are in the balance. The refund's number."""
    puller.refuses = True
    await won(people)
    await due(people)
    puller.refuses = False
    assert await people.balance("user:1") == 300
    [row] = await people.rows("SELECT no FROM outgoing WHERE state = 'failed'")
    return str(row["no"])


# -- an operator withdraws for a user


async def test_an_operator_withdraws_for_a_user_as_the_user_could(people: People, puller: Puller) -> None:
    await won(people)
    answer = await withdraw_for(people)
    assert answer.word == "withdrawing"
    assert answer.data["withdrawal"] == {"no": "W1N1", "amount": 200, "state": "processing", "confirm": CONFIRM}
    assert (await withdraw(people)).data == answer.data, "the user finds the same"
    assert (await withdraw_for(people)).data == answer.data
    puller.confirm("W1N1")
    await due(people)
    assert (await withdraw_for(people)).word == "nothing_to_withdraw"
    assert puller.paid_fen() == 200
    assert await acts(people) == [
        ("anna", "withdraw", "1", 200, "withdrawing"),
        ("anna", "withdraw", "1", 0, "withdrawing"),
        ("anna", "withdraw", "1", 0, "nothing_to_withdraw"),
    ]


async def test_a_large_balance_needs_a_second_name(people: People, puller: Puller) -> None:
    people.service.settings = msgspec.structs.replace(people.service.settings, second_name_fen=199)
    await won(people)
    assert (await withdraw_for(people)).word == "second_name_needed"
    assert (await withdraw_for(people)).word == "second_name_needed"
    assert puller.transfers == {}
    assert (await withdraw_for(people, by=BEN)).word == "withdrawing"
    assert list(puller.transfers) == ["W1N1"]


async def test_the_same_rules_hold_for_an_operator(people: People, puller: Puller) -> None:
    await won(people)
    await people.rows("INSERT INTO transfers VALUES (%s, 'by_hand', '1', 1, 'user:1', 'fee', 175, 0)", DAY)
    answer = await withdraw_for(people)
    assert (answer.word, answer.data) == ("below_minimum", {"balance": 25, "minimum": 30})
    assert (await withdraw_for(people, 4711)).word == "nothing_to_withdraw"
    assert puller.transfers == {}


async def test_over_http_it_takes_the_right_to_move_money(api: Api) -> None:
    people, puller = People(api.service), Puller()
    people.use(puller)
    await won(people)
    tokens = {
        name: {"authorization": f"Bearer {api.service.tokens.issue(name, 'operator', scope=scope)}"}
        for name, scope in (("anna", None), ("eve", "read people"))
    }

    async def post(name: str, uid: Any, **body: Any) -> tuple[int, str]:
        status, reply = await api.send("POST", f"/ops/people/{uid}/withdraw", body, tokens[name])
        return status, reply["code"]

    assert await post("eve", 1, reason="x") == (403, "forbidden")
    assert await post("anna", 1) == (400, "bad_request")
    assert await post("anna", 1 << 53, reason="x") == (400, "bad_request")
    assert await post("anna", 1, reason="x") == (200, "withdrawing")
    assert (await api.send("POST", "/ops/people/1/withdraw", {"reason": "x"}, api.token(1)))[0] == 403


async def test_a_user_is_found_by_the_number_of_a_withdrawal(people: People, puller: Puller) -> None:
    await won(people)
    await withdraw(people)
    for text, found in (("W1N1", [1]), ("W1", []), ("W1N", []), ("W12345678901234567N1", [])):
        answer = await persons.find(people.service, text, False)
        assert [item["uid"] for item in answer.data["items"]] == found, text


# -- what rings, and what ends it


async def test_a_failed_refund_rings_until_it_is_sent_again(people: People, puller: Puller) -> None:
    no = await refund_failed(people, puller)
    assert await rung(people) == ["money_failed"]
    assert (await verbs.again(people.service, ANNA, no, "the account is back")).word == "sent_again"
    assert await rung(people) == []
    await due(people)
    assert (await rung(people), await people.balance("user:1")) == ([], 200)


async def test_or_until_all_are_sent_again(people: People, puller: Puller) -> None:
    await refund_failed(people, puller)
    assert (await verbs.all_again(people.service, ANNA, "refund", "x", here)).data["sent_again"] == 1
    assert await rung(people) == []


@pytest.mark.parametrize("all_of_them", [False, True])
async def test_or_until_it_is_acknowledged(people: People, puller: Puller, all_of_them: bool) -> None:
    no = await refund_failed(people, puller)
    if all_of_them:
        await verbs.all_acknowledged(people.service, ANNA, "refund", "the user has it in cash", here)
    else:
        await verbs.acknowledge(people.service, ANNA, no, "the user has it in cash")
    assert (await rung(people), await people.balance("user:1")) == ([], 300)


@pytest.mark.parametrize("by", ["user", "operator"])
async def test_or_until_its_user_has_withdrawn_the_money(people: People, puller: Puller, by: str) -> None:
    """Nobody has to see to it any more, whatever becomes of the withdrawal; and it is not sent a second time."""
    no = await refund_failed(people, puller)
    assert (await (withdraw(people) if by == "user" else withdraw_for(people))).word == "withdrawing"
    assert await people.rows("SELECT handled FROM outgoing WHERE no = %s", no) == [{"handled": "withdrawn"}]
    assert await rung(people) == []
    puller.lapse("W1N1")
    await due(people)
    assert (await people.balance("user:1"), await rung(people)) == (300, [])
    assert (await verbs.again(people.service, ANNA, no, "x")).word == "balance_short"
    assert (await verbs.all_again(people.service, ANNA, "refund", "x", here)).data["sent_again"] == 0


async def test_a_failed_payout_rings_until_its_user_has_withdrawn_the_money(people: People) -> None:
    provider = Scripted()
    people.use(provider)
    await people.members(1, 2)
    await people.morning(winners=1)
    await people.settle()
    await people.claim(1)
    await people.drain()

    async def fails(action: str, no: str) -> Result:
        return Result("failed" if no[0] == "P" else "done")

    provider.result = fails
    await due(people)
    assert await rung(people) == ["money_failed"]
    assert (await withdraw(people)).data["withdrawal"] == {"no": "W1N1", "amount": 200, "state": "done"}
    assert (await rung(people), await people.balance("user:1")) == ([], 0)


async def test_a_lapsed_withdrawal_rings_nothing(people: People, puller: Puller) -> None:
    await won(people)
    await due(people)
    await withdraw(people)
    puller.lapse("W1N1")
    await due(people)
    assert await people.rows("SELECT state, handled FROM outgoing WHERE kind = 'withdrawal'") == [
        {"state": "failed", "handled": "returned"}
    ]
    assert (await rung(people), await people.balance("user:1")) == ([], 200)


@pytest.mark.parametrize(
    ("state", "days", "rings"),
    [("processing", 1, False), ("processing", 3, True), ("unknown", 1, True), ("owed", 1, True)],
)
async def test_a_withdrawal_that_has_no_end_rings_like_any_other_money(
    people: People, puller: Puller, state: str, days: int, rings: bool
) -> None:
    """But its user has two days to confirm it."""
    await won(people)
    await due(people)
    await withdraw(people)
    await people.rows(
        "UPDATE outgoing SET attempts = %s, state = %s, created_at = now() - make_interval(days => %s)"
        " WHERE kind = 'withdrawal'",
        *(STUCK_ATTEMPTS, state, days),
    )
    await people.rows("UPDATE unsent SET created_at = now() - make_interval(days => %s)", days)
    assert await rung(people) == (["money_stuck"] if rings else [])
    listed = (await money.outgoing(people.service.store, "stuck", 1, 50)).data["items"]
    assert [one["no"] for one in listed] == (["W1N1"] if rings else [])


async def test_a_transfer_that_the_provider_may_have_forgotten_is_never_sent_again_and_is_listed(
    people: People, puller: Puller
) -> None:
    """Of one that is older than 29 days its not knowing it says nothing."""
    await won(people)
    await due(people)
    puller.down = True
    await withdraw(people)
    puller.down = False
    for age, sent in ((30, 0), (28, 1)):
        puller.transfers.clear()
        puller.calls.clear()
        await people.rows(
            "UPDATE outgoing SET created_at = now() - make_interval(days => %s), attempts = %s"
            " WHERE kind = 'withdrawal'",
            *(age, STUCK_ATTEMPTS),
        )
        await due(people)
        assert len([call for call in puller.calls if call[0] == "transfer"]) == sent
        if not sent:
            [item] = (await money.outgoing(people.service.store, "stuck", 1, 50)).data["items"]
            assert (item["no"], item["state"], "too old" in item["reason"]) == ("W1N1", "unknown", True)
            assert await rung(people) == ["money_stuck"]


async def test_another_refund_of_the_same_user_rings_on(people: People, puller: Puller) -> None:
    """A withdrawal of less than the whole balance leaves a part of it with us."""
    await refund_failed(people, puller)
    puller.most_transfer_fen = 250
    await withdraw(people)
    assert await rung(people) == ["money_failed"]
    puller.confirm("W1N1")
    await due(people)
    await withdraw(people)
    assert (await people.balance("user:1"), await rung(people)) == (0, [])
