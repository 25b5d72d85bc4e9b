"""What hosts are told: every fact once, in order, whatever is killed, drained twice or rebuilt."""

from typing import Any

import msgspec
import pytest

from clock.audit.mend import mend
from clock.audit.rebuild import rebuild_lost
from clock.books import ledger, outbox
from clock.books.store import rows
from clock.channels import Result
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.game import events, keys
from clock.payments import outgoing
from clock.rounds import settling, voiding
from tests.conftest import DAY
from tests.flow.events.stage import Receiver, states, types, work
from tests.flow.stage import ALL_USERS, IN_TIME, NEXT_DAY, People, Scripted, begin, send
from tests.model.world import new_world
from tests.raw import raw

JOINED = "payment.accepted"
WON = "packet.credited"


async def day_of_all(people: People) -> dict[int, str]:
    """1 and 2 win, 3 sleeps, 4 comes late, sleeps and is refunded, 1 has paid twice. 1 claims, 2 forgets to. A payout
    fails. The round after it is void. Answers the orders of the first round."""
    provider = Scripted()
    people.use(provider)
    await people.join(1, 2, 3, 4)
    for uid in (1, 2, 3):
        assert await people.pay(uid) == "paid"
    assert await people.pay(1, "twice") == "refund_due"
    await people.drain()
    people.it_is("06:00", 1)
    await people.check_in(1, 2)
    assert await people.pay(4, paid_at=IN_TIME) == "paid"
    assert await people.service.extending.extend(DAY, 10, "停电", "operator 9") == "extended"
    people.it_is("08:15", 1)
    assert await people.service.settling.settle(DAY) == "settled"
    await people.claim(1)
    await people.drain()

    async def result(action: str, _: str) -> Result:
        return Result("failed", "account closed") if action == "transfer" else Result("done")

    provider.result = result
    await send(people)
    orders, people.day = people.orders, NEXT_DAY
    await begin(people, [5], [])
    assert await people.service.voiding.void(NEXT_DAY, "storm") == "ok"
    people.it_is("00:00", 1)
    people.day = DAY
    await people.finish()
    return orders


async def test_a_day_is_told_in_order_and_says_what_happened(people: People, receiver: Receiver) -> None:
    orders = await day_of_all(people)
    await work(people)
    told = receiver.of(DAY)
    order = ["round.opened", JOINED, JOINED, "round.extended", "round.closed", "round.settled", WON]
    assert [one["type"] for one in told[:7]] == order
    assert sorted(one["type"] for one in told[7:]) == [WON, "payout.failed", "refund.done"]
    said = {one["type"]: one["data"] for one in told}
    assert said["round.opened"]["rules"]["stake_fen"] == 100
    joined = [item for one in told if one["type"] == JOINED for item in one["data"]["items"]]
    about = sorted((item["uid"], item["amount_fen"], item["late"]) for item in joined)
    assert about == [(1, 100, False), (2, 100, False), (3, 100, False), (4, 100, True)]
    assert {item["uid"]: item["order_no"] for item in joined} == orders
    assert (said["round.extended"]["by_ms"], said["round.extended"]["reason"]) == (600_000, "停电")
    totals = {"round": str(DAY), "members": 4, "winners": 2, "late": 1, "pool_fen": 400}
    assert said["round.closed"] == totals
    figures = {"refunded_fen": 100, "forfeited_fen": 100, "pot_fen": 100, "fee_fen": 0}
    assert (totals | figures).items() <= said["round.settled"].items()
    won = {item["uid"]: item for one in told if one["type"] == WON for item in one["data"]["items"]}
    assert {uid: item["by"] for uid, item in won.items()} == {1: "user", 2: "system"}
    assert sum(item["packet_fen"] for item in won.values()) == 100
    assert all(item["amount_fen"] == item["stake_fen"] + item["packet_fen"] for item in won.values())
    [failed] = said["payout.failed"]["items"]
    assert failed == {
        **{"uid": 1, "no": f"P{DAY:%Y%m%d}1"},
        **{"amount_fen": won[1]["amount_fen"], "reason": "account closed"},
    }
    given_back = {(item["uid"], item["order_no"], item["amount_fen"]) for item in said["refund.done"]["items"]}
    assert given_back == {(1, orders[1], 100), (4, orders[4], 100)}

    told = receiver.of(NEXT_DAY)
    assert [one["type"] for one in told] == ["round.opened", JOINED, "round.void"]
    assert told[-1]["data"]["reason"] == "storm"
    assert told[-1]["timestamp"] == "2026-11-23T22:00:00.000Z"
    assert set((await states(people)).values()) == {"sent"}
    assert len(set(receiver.ids)) == len(receiver.ids)
    text = msgspec.json.encode([body for _, body in receiver.got]).decode()
    assert not [word for word in ("1380000", "用户", "transactionId", "open-") if word in text]


async def test_without_an_address_nothing_is_written(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await day_of_all(people)
        await work(people)
        assert await states(people) == {}


async def test_what_is_drained_twice_rebuilt_or_mended_is_told_once(people: People) -> None:
    await day_of_all(people)
    told = await states(people)
    assert len(told) >= 12
    service = people.service
    await outbox.go_back(service.redis, DAY, 0)
    await outbox.drain(service.store, service.redis, DAY, 0)
    await raw(service.redis).flushall()
    assert await rebuild_lost(service) == [f"{DAY}.0", f"{NEXT_DAY}.0", *ALL_USERS]
    await mend(service, DAY)
    await people.drain()
    assert await service.settling.settle(DAY) == "settled"
    assert await service.voiding.void(NEXT_DAY, "storm") == "ok"
    assert await states(people) == told


@pytest.mark.parametrize("moment", ["before the commit", "after it"])
async def test_a_drain_that_dies_tells_once(people: People, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    await people.members(1, 2, 3)

    async def dies(*_: Any, **__: Any) -> Any:
        raise OSError(moment)

    with monkeypatch.context() as patch, pytest.raises(OSError, match=moment):
        patch.setattr(outbox, "rows" if moment == "before the commit" else "call", dies)
        await people.drain()
    before = await types(people)
    assert before == ([] if moment == "before the commit" else [JOINED])
    await people.drain()
    await people.drain()
    assert await types(people) == [JOINED]


async def test_a_member_by_two_payments_is_told_once(people: People) -> None:
    """Redis has forgotten the first payment, and takes a second one."""
    await people.members(1, 2)
    await people.drain()
    await raw(people.service.redis).flushall()
    await rebuild_lost(people.service)
    stream = keys.name(DAY, 0, "outbox")
    entry = events.Payment(
        1,
        [
            (1, people.orders[1], "second", 100, 0, "paid", "platform", ""),
            (3, "TTC3", "third", 100, 0, "paid", "platform", ""),
        ],
    )
    await people.service.redis.xadd(stream, {"e": msgspec.msgpack.encode(entry)})
    await people.drain()
    found = await people.rows("SELECT data -> 'items' AS items FROM events WHERE type = %s ORDER BY sequence", JOINED)
    assert [sorted(item["uid"] for item in row["items"]) for row in found] == [[1, 2], [3]]


async def test_settlement_that_dies_tells_each_step_once(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    await begin(people, [1], [2])
    people.it_is("08:05", 1)

    async def dies(*_: Any, **__: Any) -> Any:
        raise Unavailable("the power is out")

    with monkeypatch.context() as patch, pytest.raises(Unavailable):
        patch.setattr(ledger, "post_settlement", dies)
        await people.service.settling.settle(DAY)
    assert await types(people) == [JOINED, "round.closed"]
    await people.settle()
    assert await types(people) == [JOINED, "round.closed", "round.settled"]


async def test_a_round_that_is_not_void_is_not_told_to_be(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    await begin(people, [1], [2])

    async def dies(connection: Any, query: str, **parameters: Any) -> Any:
        found = await rows(connection, query, **parameters)
        if query == "mark_void":
            raise OSError("the power is out")
        return found

    with monkeypatch.context() as patch, pytest.raises(Unavailable):
        patch.setattr(voiding, "rows", dies)
        await people.service.voiding.void(DAY, "storm")
    assert await types(people) == [JOINED]
    assert await people.service.voiding.void(DAY, "storm") == "ok"
    assert await types(people) == [JOINED, "round.void"]


async def test_nobody_is_credited_before_the_round_is_settled(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claiming opens in Redis first; a worker that dies then has not said it in Postgres."""
    await begin(people, [1], [2])

    async def dies(connection: Any, query: str, **parameters: Any) -> Any:
        if query == "mark_settled":
            raise OSError("the power is out")
        return await rows(connection, query, **parameters)

    people.it_is("08:05", 1)
    with monkeypatch.context() as patch, pytest.raises(Unavailable):
        patch.setattr(settling, "rows", dies)
        await people.service.settling.settle(DAY)
    await people.claim(1)
    await people.drain()
    await people.settle()
    assert await types(people) == [JOINED, "round.closed", "round.settled", WON]
    [row] = await people.rows("SELECT data FROM events WHERE type = 'round.settled'")
    assert (row["data"]["members"], row["data"]["pot_fen"]) == (2, 100)


async def test_what_has_ended_already_is_not_told_again(people: People) -> None:
    """Another worker's lease ran out while it waited for the provider's answer: both record the end."""
    provider = Scripted()
    people.use(provider)
    await people.join(1)
    assert [await people.pay(1), await people.pay(1, "twice")] == ["paid", "refund_due"]
    await people.drain()
    [row] = await outgoing.take(people.service.store)

    async def result(*_: str) -> Result:
        return Result("done")

    provider.result = result
    await send(people)
    await outgoing._record(people.service.store, [(row, Result("done"))])
    assert await types(people) == [JOINED, "refund.done"]


async def test_ten_thousand_claims_are_a_hundred_events(people: People) -> None:
    service = people.service
    await service.opener.open_round(DAY)
    for first in range(0, 10_000, 250):
        uids = list(range(first + 1, first + 251))
        entry = events.Claimed(1, "user", 100, list(range(first, first + 250)), uids, [7] * 250)
        await service.redis.xadd(keys.name(DAY, 0, "outbox"), {"e": msgspec.msgpack.encode(entry)})
    await people.drain()
    found = await people.rows("SELECT data -> 'items' AS items FROM events WHERE type = %s", WON)
    assert (len(found), {len(row["items"]) for row in found}) == (100, {100})
    assert {item["uid"] for row in found for item in row["items"]} == set(range(1, 10_001))


async def test_an_extension_is_told_of_each_shard(shared: Settings, receiver: Receiver) -> None:
    async with new_world(shared, shards=4, events_url=receiver.url) as service:
        people = People(service)
        await people.members(*range(1, 9))
        people.it_is("07:50", 1)
        for minutes in (5, 10):
            assert await service.extending.extend(DAY, minutes, "outage", "operator 9") == "extended"
        await work(people)
        told = [one["data"] for one in receiver.of(DAY) if one["type"] == "round.extended"]
        assert {one["shard"] for one in told} == {0, 1, 2, 3}
        assert [sum(one["by_ms"] for one in told if one["shard"] == shard) for shard in range(4)] == [900_000] * 4
        assert sum(one["asleep"] for one in told if one["by_ms"] == 300_000) == 8
