"""What failed is sent again by an operator, and whatever happens meanwhile, it is paid once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock.audit.reconcile import reconcile
from clock.channels import Result
from clock.domain.outcomes import Answer, Unavailable
from clock.operators import verbs
from clock.operators.acts import By
from tests.conftest import DAY, Api
from tests.flow.outgoing.stage import PAYOUT, owe_a_payout, owe_a_refund, queue
from tests.flow.stage import People, Sandbox, Scripted, sandbox, send

ANNA = By("anna", "192.0.2.1")


async def lapsed(people: People, provider: Sandbox) -> None:
    """The payout of 200 fen has failed for good, and is in the user's balance."""
    await owe_a_payout(people)
    provider.trouble(lapses=1, processing_ms=0)
    await send(people)
    await send(people)
    provider.trouble()
    assert [row["state"] for row in await queue(people)] == ["failed"]


async def refused(people: People, provider: Sandbox) -> str:
    """The refund of 100 fen has failed: the provider knew no such payment. Now it does. The refund's number."""
    number = await owe_a_refund(people, provider)
    taken = provider.provider.books.rows("SELECT * FROM payments")
    provider.provider.books.db.execute("DELETE FROM payments")
    await send(people)
    for row in taken:
        provider.provider.books.db.execute("INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?)", tuple(row))
    assert [row["state"] for row in await queue(people)] == ["failed"]
    return number


async def again(people: People, no: str = PAYOUT, by: By = ANNA) -> Answer:
    return await verbs.again(people.service, by, no, "the user asked")


async def agree(people: People, provider: Sandbox) -> None:
    """Every book, and the provider's bill."""
    assert sum((await people.balances()).values()) == 0
    people.service.settings = msgspec.structs.replace(people.service.settings, platform_url="http://sandbox")
    report = await reconcile(people.service, DAY)
    assert report is not None
    differences = [one for one in report.differences if not one.what.startswith("payment_")]  # the sandbox took none
    assert differences == []


async def test_a_payout_goes_under_a_new_number_once_the_old_one_is_final(people: People, provider: Sandbox) -> None:
    await lapsed(people, provider)
    provider.asked.clear()
    answer = await again(people)
    assert (answer.word, answer.data["no"], answer.data["state"]) == ("sent_again", f"{PAYOUT}A1", "owed")
    assert provider.asked == ["query_transfer"]
    assert await people.balances() == {"channel:platform": -200, "owed:payout": 200}
    await send(people)
    assert provider.movements() == [(PAYOUT, "transfer", 200, "failed"), (f"{PAYOUT}A1", "transfer", 200, "done")]
    assert await people.balances() == {}
    await agree(people, provider)
    assert (await again(people)).data["state"] == "done"  # asked for again: it answers as the first time
    assert await send(people) == 0
    assert len(provider.movements()) == 2


async def test_a_refund_keeps_its_number_and_is_paid_once(people: People, provider: Sandbox) -> None:
    number = await refused(people, provider)
    assert await people.balance("user:1") == 100
    answer = await again(people, number)
    assert (answer.word, answer.data["sent_as"]) == ("sent_again", number)
    assert (await people.balance("user:1"), await people.balance("owed:refund")) == (0, 100)
    provider.trouble(time_out_after=1)
    await send(people)  # it moves, and we do not know
    provider.trouble()
    await send(people)
    assert provider.movements() == [(number, "refund", 100, "done")]
    assert (await people.balance("user:1"), await people.balance("owed:refund")) == (0, 0)
    await agree(people, provider)


@pytest.mark.parametrize("kind", ["payout", "refund"])
async def test_many_operators_at_once_send_it_once(people: People, provider: Sandbox, kind: str) -> None:
    if kind == "payout":
        await lapsed(people, provider)
        no = PAYOUT
    else:
        no = await refused(people, provider)
    answers = await asyncio.gather(*(again(people, no, By(f"operator {n}", "")) for n in range(8)))
    assert {answer.word for answer in answers} == {"sent_again"}
    assert len({answer.data["no"] for answer in answers}) == 1
    await asyncio.gather(*(send(people) for _ in range(3)))
    assert [state for *_, state in provider.movements()].count("done") == 1
    assert await people.balance("user:1") == 0
    assert sum(row["kind"] == "sent_again" for row in await people.transfers()) == 1


@pytest.mark.parametrize("said", ["done", "processing", "not_found"])
async def test_a_payout_whose_old_number_may_still_pay_is_not_sent_again(
    people: People, provider: Sandbox, said: Any
) -> None:
    await lapsed(people, provider)
    channel = Scripted()
    channel.result = _says(Result(said))
    people.use(channel)
    answer = await again(people)
    assert (answer.word, answer.data) == ("not_final", {"said": said})
    assert len(await queue(people)) == 1
    assert await people.balance("user:1") == 200


@pytest.mark.parametrize("said", ["unknown", "again"])
async def test_while_the_provider_does_not_answer_nothing_is_done(people: People, provider: Sandbox, said: Any) -> None:
    await lapsed(people, provider)
    channel = Scripted()
    channel.result = _says(Result(said, "no connection"))
    people.use(channel)
    with pytest.raises(Unavailable):
        await again(people)
    assert len(await queue(people)) == 1
    assert [row["word"] for row in await people.rows("SELECT word FROM acts_ended")] == ["unavailable"]


async def test_a_refund_that_has_arrived_after_all_is_not_sent(people: People, provider: Sandbox) -> None:
    number = await refused(people, provider)
    channel = Scripted()
    channel.result = _says(Result("done"))
    people.use(channel)
    assert (await again(people, number)).word == "not_final"
    assert [call[0] for call in channel.calls] == ["query_refund"]


async def test_what_fails_again_can_be_sent_again_each_failure_once(people: People, provider: Sandbox) -> None:
    await lapsed(people, provider)
    await again(people)
    provider.trouble(lapses=1, processing_ms=0)
    await send(people)
    await send(people)
    provider.trouble()
    assert await people.balance("user:1") == 200
    assert (await again(people)).data["no"] == f"{PAYOUT}A1"  # of the first failure
    assert (await again(people, f"{PAYOUT}A1")).data["no"] == f"{PAYOUT}A2"
    await send(people)
    assert [state for *_, state in provider.movements()] == ["failed", "failed", "done"]
    assert await people.balances() == {}
    await agree(people, provider)


async def test_books_that_have_forgotten_it_send_the_same_number_anew(people: People, provider: Sandbox) -> None:
    """A standby that lagged was promoted: the provider pays each number once."""
    await lapsed(people, provider)
    await again(people)
    await send(people)
    await people.tamper("DELETE FROM transfers WHERE kind IN ('sent_again', 'payout_sent')")
    await people.tamper("UPDATE accounts SET balance_fen = 200")
    await people.tamper("DELETE FROM outgoing WHERE again > 0")
    await people.tamper("UPDATE outgoing SET handled = NULL")
    assert (await again(people)).word == "sent_again"
    await send(people)
    assert provider.movements() == [(PAYOUT, "transfer", 200, "failed"), (f"{PAYOUT}A1", "transfer", 200, "done")]
    assert await people.balances() == {}


async def test_money_that_left_the_balance_by_another_way_is_not_sent_again(people: People, provider: Sandbox) -> None:
    await lapsed(people, provider)
    await people.rows("INSERT INTO transfers VALUES (%s, 'by_hand', '1', 1, 'user:1', 'channel:platform', 150, 0)", DAY)
    assert (await again(people)).word == "balance_short"
    assert [row["handled"] for row in await queue(people)] == [None]
    assert await people.balance("user:1") == 50


async def test_only_what_has_failed_is_sent_again(people: People, provider: Sandbox) -> None:
    await owe_a_payout(people)
    for no in (PAYOUT, "P20261122999", "R" + "0" * 31):
        assert (await again(people, no)).word == "not_failed"
    await send(people)
    assert (await again(people)).word == "not_failed"  # it has arrived
    assert await people.rows("SELECT * FROM acts") == []


async def test_over_http_with_names_and_what_its_user_sees(api: Api, tmp_path: Path) -> None:
    people = People(api.service)
    api.service.settings = msgspec.structs.replace(api.service.settings, second_name_fen=199)
    async with sandbox(tmp_path / "sandbox.sqlite") as channel:
        people.use(channel)
        await lapsed(people, channel)
        names = {
            name: {"authorization": f"Bearer {api.service.tokens.issue(name, 'operator', scope=scope)}"}
            for name, scope in (("anna", None), ("ben", "read money"), ("eve", "read"))
        }

        async def post(name: str, action: str = "again", no: str = PAYOUT, **body: Any) -> tuple[int, str, str]:
            given = body or {"reason": "the user asked"}
            status, reply = await api.send("POST", f"/ops/outgoing/{no}/{action}", given, names[name])
            return status, reply["code"], reply["message"]

        status, code, message = await post("eve")
        assert (status, code, "money" in message) == (403, "forbidden", True)
        assert (await post("anna", reason=""))[:2] == (400, "bad_request")
        assert (await post("anna", no="P1"))[:2] == (404, "not_failed")
        assert (await post("anna"))[:2] == (200, "second_name_needed")
        assert (await post("anna"))[:2] == (200, "second_name_needed")

        async def failed(query: str = "") -> list[Any]:
            _, reply = await api.send("GET", f"/ops/outgoing?state=failed{query}", headers=names["eve"])
            return [(one["no"], one["handled"]) for one in reply["data"]["items"]]

        assert await failed() == [(PAYOUT, None)]
        assert (await post("ben"))[:2] == (200, "sent_again")
        assert (await failed(), await failed("&all=true")) == ([], [(PAYOUT, "again")])
        await send(people)
        _, reply = await api.send("GET", "/api/me/history", headers={**api.token(1), "accept-language": "en"})
        lines = [(one["kind"], one["money"], one["state"]) for one in reply["data"]["items"]]
        assert lines[:3] == [
            ("sent_again", -200, "done"),
            ("payout_failed", 200, None),
            ("payout", -200, "failed"),
        ]
        assert len(lines) == 7


async def test_an_operator_may_say_that_it_was_seen_to(people: People, provider: Sandbox) -> None:
    await lapsed(people, provider)
    for _ in range(2):
        answer = await verbs.acknowledge(people.service, ANNA, PAYOUT, "paid in cash next week")
        assert (answer.word, answer.data) == ("acknowledged", {"no": PAYOUT})
    assert await people.service.store.all("watch_outgoing") == []
    assert (await people.balance("user:1"), await send(people)) == (200, 0)
    assert (await again(people)).word == "sent_again"  # after all
    assert (await verbs.acknowledge(people.service, ANNA, PAYOUT, "x")).word == "acknowledged"
    assert [row["handled"] for row in await queue(people)] == ["again", None]


def _says(result: Result) -> Callable[[str, str], Awaitable[Result]]:
    async def say(_action: str, _no: str) -> Result:
        return result

    return say


async def test_a_silent_provider_keeps_nobody_waiting_for_long(people: People, provider: Sandbox) -> None:
    await lapsed(people, provider)
    provider.down = True
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await again(people)
    assert time.monotonic() - began < 5
