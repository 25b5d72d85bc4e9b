"""A balance leaves when its user asks for it: once, whatever happens on the way."""

import asyncio
import time

import msgspec
import psycopg
import pytest

from clock.channels import Result
from clock.domain.outcomes import Unavailable
from clock.game.client.calls import connect
from clock.operators import verbs
from clock.operators.acts import By
from clock.rounds import clocks
from tests.flow.outgoing.stage import PAYOUT, owe_a_payout, queue
from tests.flow.stage import People, Scripted, send
from tests.flow.withdrawals.stage import CONFIRM, Puller, due, lines, withdraw, won


async def test_the_whole_balance_under_a_number_of_its_own(people: People, puller: Puller) -> None:
    await won(people)
    answer = await withdraw(people)
    said = {"no": "W1N1", "amount": 200, "state": "processing", "confirm": CONFIRM}
    assert (answer.word, answer.data["withdrawal"]) == ("withdrawing", said)
    assert await people.balance("user:1") == 0
    assert (await withdraw(people)).data["withdrawal"] == said  # asked again: the same
    puller.confirm("W1N1")
    await due(people)
    assert (await people.balance("owed:withdrawal"), puller.paid_fen()) == (0, 200)
    assert (await withdraw(people)).word == "nothing_to_withdraw"


async def test_what_lapses_is_in_the_balance_and_leaves_under_the_next_number(people: People, puller: Puller) -> None:
    await won(people)
    await withdraw(people)
    puller.lapse("W1N1")
    await due(people)
    assert await people.balance("user:1") == 200
    assert (await withdraw(people)).data["withdrawal"]["no"] == "W1N2"
    puller.confirm("W1N2")
    await due(people)
    assert puller.transfers == {"W1N1": (200, "failed"), "W1N2": (200, "done")}
    assert sum((await people.balances()).values()) == 0


async def test_nothing_rings_because_somebody_did_not_confirm(people: People, puller: Puller) -> None:
    await won(people)
    await withdraw(people)
    puller.lapse("W1N1")
    await due(people)
    await send(people)
    assert await people.rows("SELECT no FROM unsent WHERE state = 'failed'") == []
    [row] = await people.rows("SELECT state, handled FROM outgoing WHERE no = 'W1N1'")
    assert (row["state"], row["handled"]) == ("failed", "returned")


async def test_many_at_once_are_one(people: People, puller: Puller) -> None:
    await won(people)
    answers = await asyncio.gather(*(withdraw(people) for _ in range(8)))
    assert {answer.data["withdrawal"]["no"] for answer in answers} == {"W1N1"}
    assert list(puller.transfers) == ["W1N1"]


async def test_whoever_records_what_became_of_money_does_not_wait_for_whoever_waits_for_them(
    people: People, puller: Puller
) -> None:
    """The account first, as a withdrawal does: a batch may have a user's failed refund and their confirmation."""
    await won(people)
    puller.down = True
    await withdraw(people)
    puller.down, puller.refuses = False, True
    async with await psycopg.AsyncConnection.connect(people.service.settings.database_url) as connection:
        await connection.execute("SELECT FROM accounts WHERE uid = 1 FOR UPDATE")
        recording = asyncio.create_task(due(people))
        while not await people.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert not recording.done()
        await connection.execute("SELECT FROM withdrawals WHERE uid = 1 FOR UPDATE NOWAIT")
    await recording
    assert (await withdraw(people)).data["withdrawal"]["confirm"] == CONFIRM
    assert await people.balance("user:1") == 100


async def test_what_had_failed_is_settled_in_the_order_in_which_operators_acknowledge_all(
    people: People, puller: Puller
) -> None:
    """Or the two would wait for each other."""
    await won(people)
    await people.rows(
        "INSERT INTO outgoing (day, no, kind, uid, amount_fen, state)"
        " VALUES ('2026-11-22', 'R9', 'refund', 1, 1, 'failed'), ('2026-11-23', 'R1', 'refund', 1, 1, 'failed')"
    )
    lock = "SELECT FROM outgoing WHERE day BETWEEN '2026-11-22' AND '2026-11-23' AND no = %s FOR UPDATE NOWAIT"
    async with await psycopg.AsyncConnection.connect(people.service.settings.database_url) as connection:
        await connection.execute(lock, ["R1"])
        withdrawing = asyncio.create_task(withdraw(people))
        while not await people.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert not withdrawing.done()
        await connection.execute(lock, ["R9"])
    assert (await withdrawing).word == "withdrawing"
    found = await people.rows("SELECT DISTINCT handled FROM outgoing WHERE no IN ('R1', 'R9')")
    assert found == [{"handled": "withdrawn"}]


async def test_a_provider_that_is_away_keeps_it_on_its_way(people: People, puller: Puller) -> None:
    """Nothing is final without the provider's word; the confirmation comes when it is back."""
    await won(people)
    puller.down = True
    answer = await withdraw(people)
    assert (answer.word, answer.data["withdrawal"]["state"]) == ("withdrawing", "unknown")
    assert await people.balance("user:1") == 0
    puller.down = False
    await due(people)
    assert (await withdraw(people)).data["withdrawal"]["confirm"] == CONFIRM
    assert list(puller.transfers) == ["W1N1"]


async def test_a_confirmation_that_was_lost_is_asked_for_again(people: People, puller: Puller) -> None:
    """The reply did not arrive; a query does not have it, but the same transfer sent again has."""
    await won(people)
    puller.down = True
    await withdraw(people)
    puller.transfers["W1N1"] = 200, "processing"  # it had arrived
    puller.down = False
    await due(people)
    assert (await withdraw(people)).data["withdrawal"]["confirm"] == CONFIRM


@pytest.mark.parametrize("balance, least, word", [(29, 30, "below_minimum"), (30, 30, "withdrawing")])
async def test_from_the_minimum_on(people: People, puller: Puller, balance: int, least: int, word: str) -> None:
    await won(people)
    await withdraw(people)
    puller.confirm("W1N1")
    await due(people)
    await people.rows(
        "INSERT INTO transfers VALUES ('2026-11-22', 'made_good', '1:9', 1, 'made_good', 'user:1', %s, 0)", balance
    )
    answer = await withdraw(people)
    assert answer.word == word
    if word == "below_minimum":
        assert answer.data == {"balance": balance, "minimum": least}


async def test_the_channels_own_minimum_holds_too(people: People, puller: Puller) -> None:
    people.service.withdrawals._settings = msgspec.structs.replace(people.service.settings, withdraw_min_fen=0)
    puller.least_transfer_fen = 201
    await won(people)
    assert (await withdraw(people)).data == {"balance": 200, "minimum": 201}


async def test_more_than_one_transfer_may_carry_leaves_in_several(people: People, puller: Puller) -> None:
    puller.most_transfer_fen = 150
    await won(people)
    assert (await withdraw(people)).data["withdrawal"]["amount"] == 150
    puller.confirm("W1N1")
    await due(people)
    assert (await withdraw(people)).data["withdrawal"]["amount"] == 50


async def test_a_transfer_that_the_provider_has_forgotten_is_not_sent_again(people: People, puller: Puller) -> None:
    await won(people)
    puller.down = True
    await withdraw(people)
    puller.down = False
    await people.rows("UPDATE outgoing SET created_at = now() - interval '29 days' WHERE no = 'W1N1'")
    await due(people)
    assert puller.transfers == {}
    [row] = await people.rows("SELECT state, reason FROM outgoing WHERE no = 'W1N1'")
    assert (row["state"], "too old" in row["reason"]) == ("unknown", True)


async def test_without_its_channel_nothing_moves(people: People, puller: Puller) -> None:
    await won(people)
    del people.service.channels["wechat"]
    with pytest.raises(Unavailable):
        await withdraw(people)
    assert await people.balance("user:1") == 200


async def test_while_clocks_differ_it_is_owed_and_not_sent(
    people: People, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that cannot be taken back is done on one clock's word."""
    await won(people)
    with monkeypatch.context() as patch:
        patch.setattr(clocks, "time", lambda: time.time() + 3600)
        answer = await withdraw(people)
    assert (answer.word, answer.data["withdrawal"]["state"]) == ("withdrawing", "owed")
    assert puller.transfers == {}
    await due(people)
    assert puller.transfers == {"W1N1": (200, "processing")}


async def test_without_redis_it_is_owed_and_not_sent(
    people: People, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await won(people)
    away = connect("redis://127.0.0.1:1")
    with monkeypatch.context() as patch:
        patch.setattr(people.service.clocks, "_redis", away)
        assert (await withdraw(people)).data["withdrawal"]["state"] == "owed"
    await away.aclose()
    await due(people)
    assert puller.transfers == {"W1N1": (200, "processing")}


async def test_through_a_channel_that_is_only_heard_nothing_leaves_the_balance(people: People, puller: Puller) -> None:
    """It would be on its way for ever, and the next one would wait for it."""
    await won(people)
    puller.ready = False
    with pytest.raises(Unavailable):
        await withdraw(people)
    assert await people.balance("user:1") == 200


async def failed_payout(people: People) -> Scripted:
    channel = Scripted()
    people.use(channel)

    async def fails(_action: str, _no: str) -> Result:
        return Result("failed", "account closed")

    channel.result = fails
    await owe_a_payout(people)
    await send(people)
    assert await people.balance("user:1") == 200
    return channel


async def test_a_failed_payout_is_withdrawn_and_rings_no_longer(people: People) -> None:
    channel = await failed_payout(people)

    async def done(_action: str, _no: str) -> Result:
        return Result("done")

    channel.result = done
    assert (await people.service.withdrawals.seen(1))["reason"]
    answer = await withdraw(people)
    assert (await people.service.withdrawals.seen(1))["reason"] == "", "that is not why any money is here"
    assert answer.data["withdrawal"] == {"no": "W1N1", "amount": 200, "state": "done"}
    [payout] = [row for row in await queue(people) if row["no"] == PAYOUT]
    assert payout["handled"] == "withdrawn"
    again = await verbs.again(people.service, By("anna", ""), PAYOUT, "asked")
    assert again.word == "balance_short"
    assert await people.rows("SELECT kind FROM unsent WHERE state = 'failed' AND handled IS NULL") == []


async def test_an_operator_and_the_user_at_once_pay_once(people: People) -> None:
    channel = await failed_payout(people)
    sent: list[str] = []

    async def pays(action: str, no: str) -> Result:
        if action == "query_transfer":
            return Result("done" if no in sent else "failed")
        sent.append(no)
        return Result("done")

    channel.result = pays
    answers = await asyncio.gather(
        *(withdraw(people) for _ in range(3)),
        *(verbs.again(people.service, By("anna", ""), PAYOUT, "asked") for _ in range(3)),
        return_exceptions=True,
    )
    assert all(not isinstance(one, BaseException) or isinstance(one, Unavailable) for one in answers)
    await due(people)
    assert len(sent) == 1
    assert sum((await people.balances()).values()) == 0
    assert await people.balance("user:1") == 0
    assert await lines(people)
