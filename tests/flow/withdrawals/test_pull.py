"""A channel whose transfers have to be confirmed: the stake goes back by itself, the packet into the balance."""

import pytest

from clock.audit.rebuild import rebuild_lost
from clock.audit.reconcile import reconcile
from tests.conftest import DAY
from tests.flow.rebuild.stage import lose, memory
from tests.flow.stage import People, forget
from tests.flow.withdrawals.stage import Puller, due, lines, withdraw, won


async def agree(people: People) -> None:
    assert sum((await people.balances()).values()) == 0
    report = await reconcile(people.service, DAY)
    assert report is not None
    assert [one for one in report.differences if one.what != "bill_missing"] == []


@pytest.mark.parametrize("by", ["user", "system"])
async def test_the_stake_is_refunded_and_the_packet_is_in_the_balance(people: People, puller: Puller, by: str) -> None:
    await won(people, claims=by == "user")
    if by == "system":
        await people.finish()
        await people.drain()
    assert await people.balance("user:1") == 200
    assert await people.balance("owed:refund") == 100
    await due(people)
    [refund] = [call for call in puller.calls if call[0] == "refund"]
    assert refund[2:] == (people.orders[1], f"S{people.orders[1]}0", 100, 100)
    assert await people.balances() == {"user:1": 200, "channel:wechat": -200}
    assert await lines(people) == [
        ("stake_refund", -100),
        ("packet", 200),
        ("stake_back", 100),
        ("stake", -100),
        ("payment", 100),
    ]
    await agree(people)


async def test_a_stake_that_cannot_go_back_is_in_the_balance_too(people: People, puller: Puller) -> None:
    puller.refuses = True
    await won(people)
    await due(people)
    assert await people.balance("user:1") == 300
    assert ("refund_failed", 100) in await lines(people)
    await agree(people)


async def test_the_same_stake_is_never_refunded_under_another_number(people: People, puller: Puller) -> None:
    """It has the number that any refund of this payment has."""
    await won(people)
    await due(people)
    again = await people.rows(
        "SELECT refund_no(order_no, transaction_id) AS no FROM payments WHERE uid = 1 AND outcome = 'paid'"
    )
    assert list(puller.refunds) == [again[0]["no"]]


async def test_members_of_both_ways_in_one_round(people: People, puller: Puller) -> None:
    people.it_is("20:00")
    await people.members(1, 2, channel="wechat")
    await people.members(4)
    people.it_is("06:00", 1)
    await people.check_in(1, 4)
    await people.settle()
    await people.claim(1, 4)
    await people.drain()
    kinds = {row["uid"]: row["kind"] for row in await people.rows("SELECT uid, kind FROM outgoing")}
    assert kinds == {1: "refund", 4: "payout"}
    assert (await people.balance("user:1"), await people.balance("user:4")) == (await packet(people, 1), 0)
    await agree(people)


async def packet(people: People, uid: int) -> int:
    [row] = await people.rows("SELECT packet_fen FROM claims WHERE uid = %s", uid)
    return int(row["packet_fen"])


async def test_a_round_that_is_void_gives_stakes_back_once(people: People, puller: Puller) -> None:
    await people.members(1, 2, channel="wechat")
    await people.service.voiding.void(DAY, "an outage")
    await people.drain()
    await due(people)
    assert sorted(fen for fen, _ in puller.refunds.values()) == [100, 100]
    assert await people.balances() == {}
    assert (await withdraw(people)).word == "nothing_to_withdraw"


async def test_a_redis_that_is_lost_forgets_nobodys_way(people: People, puller: Puller) -> None:
    """Orders of each channel, paid or not, and one that was paid through both."""
    await people.service.opener.open_round(people.day)
    people.orders = {}
    people.it_is("20:00")
    await people.members(1, 2, 3, channel="wechat")
    await people.members(4)
    await people.join(5, channel="wechat")
    assert await people.pay(4, "another", channel="wechat") == "refund_due"
    people.it_is("06:00", 1)
    await people.check_in(1, 4)
    await people.settle()
    await people.claim(1)
    await people.drain()
    before = await memory(people)
    await lose(people)
    forget(people)
    await rebuild_lost(people.service)
    assert await memory(people) == before
    assert await people.pay(4, "another", channel="wechat") == "refund_due"
    assert await people.pay(5, "late", channel="wechat") == "refund_due"
    await people.claim(4)
    await people.drain()
    await due(people)
    found = await people.rows(
        "SELECT o.uid, o.kind, p.channel FROM outgoing o LEFT JOIN payments p USING (day, order_no, transaction_id)"
        " ORDER BY 1, 2"
    )
    assert [tuple(row.values()) for row in found] == [
        (1, "refund", "wechat"),
        (4, "payout", None),
        (4, "refund", "wechat"),
        (5, "refund", "wechat"),
    ]
    assert {uid: await people.balance(f"user:{uid}") for uid in (1, 4)} == {1: await packet(people, 1), 4: 0}
    await agree(people)
