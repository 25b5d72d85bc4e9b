"""A Redis that has forgotten that a round was split: the books take nobody any more, each packet stays its winner's,
and what users were told besides is paid by the house, once."""

import asyncio
import time
from typing import Any

import pytest

from clock.audit.counts import Counting
from clock.audit.mend import mend
from clock.audit.reconcile import reconcile
from clock.books import promises as books
from clock.channels import Result
from clock.config import Settings
from clock.game import keys
from clock.http.players.me import history
from clock.operators import promises, verbs
from clock.operators.acts import By
from clock.service import Service
from tests.conftest import DAY
from tests.flow.carried_on.stage import Server, agree, evening, six_o_clock
from tests.flow.stage import People, Scripted, forget, send
from tests.model.world import new_world

ANNA, BERT = By("anna", "here"), By("bert", "there")
MINUTES_MS = 7 * 60_000


def playing(service: Service) -> People:
    people = People(service)
    people.use(Scripted())
    return people


async def goes_back(people: People, server: Server) -> None:
    """What it had was seven minutes old: it takes that for an outage over the closing, which makes check-in longer."""
    await people.drain()
    await server.go_back()
    forget(people)
    touched_ms = int(time.time() * 1000) - MINUTES_MS
    for shard in range(people.service.settings.shards):
        await people.service.redis.hset(keys.name(DAY, shard, "round"), "touched_ms", touched_ms)
    people.it_is("08:06", 1)


async def split_and_forgotten(people: People) -> list[int]:
    """1 to 8 are winners, 5 to 8 of them by the books alone, and 5 has claimed; 9 to 12 have slept. The packets of 1
    and 5."""
    await evening(people, range(1, 13))
    await six_o_clock(people, range(1, 5))
    await people.drain()
    server = Server(people)
    await server.save()
    await six_o_clock(people, range(5, 9))
    await people.settle()
    claimed = await people.claim(1, 5)
    await goes_back(people, server)
    return claimed


async def tap(people: People, uid: int) -> str:
    return (await people.service.verbs.check_in(uid, time.monotonic())).word


async def claims(people: People, uid: int) -> tuple[str, int]:
    answer = await people.service.verbs.claim(uid, time.monotonic())
    return answer.word, answer.data.get("assign", {}).get("money", -1)


async def made_good(people: People, said: promises.Said | None = None, by: By = ANNA) -> dict[str, Any]:
    answer = await verbs.make_good(people.service, by, DAY, said, "a failover")
    return {"word": answer.word, **answer.data}


async def arrived(people: People, uid: int) -> int:
    """What has been queued for a user."""
    found = await people.rows("SELECT sum(amount_fen)::bigint AS fen FROM outgoing WHERE uid = %s", uid)
    return int(found[0]["fen"] or 0)


async def sound(people: People) -> None:
    await agree(people)
    assert sum((await people.balances()).values()) == 0


@pytest.mark.parametrize("shards", [1, 3])
async def test_who_checks_in_after_the_split_gets_the_stake_from_the_house(shared: Settings, shards: int) -> None:
    async with new_world(shared, touched=False, shards=shards) as service:
        people = playing(service)
        told = await split_and_forgotten(people)
        assert [await tap(people, uid) for uid in (9, 10, 5, 6)] == ["checked_in"] * 4
        before = await promises.lost(service, DAY)
        assert before.word == "books_differ"
        names = {(one["uid"], one["verb"]) for one in before.data["lost"]}
        assert names == {(1, "claim"), (5, "claim"), (7, "check_in"), (8, "check_in")}
        assert {one["uid"]: (one["steps"], one["due_fen"]) for one in before.data["promises"]} == {
            uid: (["checked_in"], 100) for uid in (9, 10)
        }
        report = await reconcile(service, DAY)
        assert report is not None
        assert {one.subject for one in report.differences if one.what == "promise"} == {"user 9", "user 10"}
        done = await mend(service, DAY)
        assert done is not None
        assert done.left == []
        assert [await claims(people, uid) for uid in (9, 10)] == [("not_checked_in", -1)] * 2
        assert [(await claims(people, uid))[1] for uid in (1, 5)] == told
        assert [(await claims(people, uid))[0] for uid in (6, 7, 8)] == ["claimed"] * 3
        paid = await made_good(people)
        assert (paid["word"], paid["paid"]) == ("made_good", [{"uid": 9, "fen": 100}, {"uid": 10, "fen": 100}])
        assert (await made_good(people))["paid"] == []
        await people.finish()
        await sound(people)
        assert await people.balance("made_good") == -200
        assert [await arrived(people, uid) for uid in (9, 10, 11)] == [100, 100, 0]
        assert (await promises.lost(service, DAY)).word == "books_agree"
        assert await Counting(service).look() == []


async def given(people: People, uid: int, like: int) -> None:
    """Another version has given a user the rank of a winner, in Redis."""
    name = keys.name(DAY, 0, "members")
    record, rank = [await people.service.redis.hget(name, str(one)) or b"" for one in (uid, like)]
    await people.service.redis.hset(name, uid, b"C" + record[1:-5] + rank[-5:])
    await people.service.redis.hincrby(keys.name(DAY, 0, "totals"), "winners", 1)


@pytest.mark.parametrize("first", [1, 3], ids=["the winner first", "the other first"])
async def test_a_packet_that_was_given_to_two_is_the_winners_and_the_house_pays_the_other(
    shared: Settings, first: int
) -> None:
    async with new_world(shared) as service:
        people = playing(service)
        await evening(people, range(1, 5))
        await six_o_clock(people, range(1, 3))
        await people.settle()
        await given(people, 3, like=1)
        told = {uid: (await people.claim(uid))[0] for uid in (first, 4 - first)}
        assert told[1] == told[3]
        await people.drain()
        await people.claim(2)
        await mend(service, DAY)
        assert await people.rows("SELECT uid, index, packet_fen FROM claims WHERE index = 0") == [
            {"uid": 1, "index": 0, "packet_fen": told[1]}
        ]
        paid = await made_good(people)
        assert paid["paid"] == [{"uid": 3, "fen": 100 + told[3]}]
        assert (await made_good(people))["paid"] == []
        await people.finish()
        await sound(people)
        assert [await arrived(people, uid) for uid in (1, 3)] == [100 + told[1]] * 2
        assert await people.balance("made_good") == -100 - told[3]


async def test_a_winner_who_was_told_another_packet_gets_the_larger_one(shared: Settings) -> None:
    """Ranks in Redis and in the books are others, as after a correction that died half-way."""
    async with new_world(shared) as service:
        people = playing(service)
        await evening(people, range(1, 8))
        await six_o_clock(people, range(1, 4))
        await people.drain()
        await people.tamper("UPDATE check_ins SET rank = 3 - rank WHERE uid IN (1, 2)")
        await people.settle()
        told = await people.claim(1, 2, 3)
        await people.drain()
        books = [row["packet_fen"] for row in await people.rows("SELECT packet_fen FROM claims ORDER BY uid")]
        assert books == [told[1], told[0], told[2]]
        assert told[0] != told[1], "the draw of this seed"
        short = 1 if told[0] > told[1] else 2
        await mend(service, DAY)
        paid = await made_good(people)
        assert paid["paid"] == [{"uid": short, "fen": abs(told[0] - told[1])}]
        assert [await arrived(people, uid) for uid in (1, 2)] == [100 + max(told[:2])] * 2
        await people.finish()
        await sound(people)


async def test_who_pays_after_the_split_gets_it_back_and_no_more(shared: Settings) -> None:
    async with new_world(shared, touched=False) as service:
        people = playing(service)
        await evening(people, range(1, 5))
        await people.join(5)
        await six_o_clock(people, range(1, 3))
        await people.drain()
        server = Server(people)
        await server.save()
        await people.settle()
        await goes_back(people, server)
        assert await people.pay(5, paid_at=f"{DAY} 20:00:00") == "paid"
        assert await tap(people, 5) == "checked_in"
        await people.drain()
        assert await people.rows("SELECT outcome FROM payments WHERE uid = 5") == [{"outcome": "refund_closed"}]
        await mend(service, DAY)
        assert (await made_good(people))["paid"] == []
        await people.claim(1, 2)
        await people.finish()
        await sound(people)
        assert await arrived(people, 5) == 100


async def test_whose_word_is_taken_is_paid_up_to_it_once(shared: Settings) -> None:
    """Nothing is left of what 4 did: neither the books nor Redis know it. 1 has got more than what is said."""
    async with new_world(shared) as service:
        people = playing(service)
        await evening(people, range(1, 5))
        await six_o_clock(people, range(1, 3))
        assert (await made_good(people, promises.Said(4, 100)))["word"] == "not_settled"
        await people.settle()
        await people.claim(1, 2)
        assert (await made_good(people, promises.Said(4, 100)))["paid"] == [{"uid": 4, "fen": 100}]
        assert (await made_good(people, promises.Said(4, 100)))["paid"] == []
        assert (await made_good(people, promises.Said(4, 150)))["paid"] == [{"uid": 4, "fen": 50}]
        assert (await made_good(people, promises.Said(1, 100)))["paid"] == []
        assert (await made_good(people, promises.Said(77, 100)))["word"] == "person_not_found"
        await people.finish()
        await sound(people)
        assert await people.rows("SELECT no, amount_fen FROM outgoing WHERE uid = 4 ORDER BY no") == [
            {"no": f"P{DAY:%Y%m%d}4G{number}", "amount_fen": fen} for number, fen in ((1, 100), (2, 50))
        ]


async def test_a_large_sum_needs_a_second_name_and_two_at_once_pay_once(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = books.promised

    async def slowly(*args: Any) -> Any:
        found = await real(*args)
        await asyncio.sleep(0.2)
        return found

    async with new_world(shared, touched=False, second_name_fen=150) as service:
        people = playing(service)
        await split_and_forgotten(people)
        assert [await tap(people, uid) for uid in (9, 10)] == ["checked_in"] * 2
        await mend(service, DAY)
        assert (await made_good(people))["word"] == "second_name_needed"
        assert await people.balance("made_good") == 0
        monkeypatch.setattr(books, "promised", slowly)
        done = await asyncio.gather(*(made_good(people, by=BERT) for _ in range(3)))
        assert {one["word"] for one in done} == {"made_good"}
        assert sorted(one["fen"] for one in done) == [0, 0, 200]
        acts = await people.rows("SELECT who, amount_fen FROM acts WHERE act = 'make_good' ORDER BY id LIMIT 2")
        assert acts == [{"who": who, "amount_fen": 200} for who in ("anna", "bert")]


async def test_a_shard_that_forgot_its_end_is_closed_again_at_once(shared: Settings) -> None:
    async with new_world(shared, touched=False) as service:
        people = playing(service)
        await split_and_forgotten(people)
        assert await tap(people, 9) == "checked_in"
        await Counting(service).look()
        assert await tap(people, 10) == "too_late"
        assert await people.rows("SELECT extended_ms FROM rounds WHERE extended_ms > 0") == []


async def test_it_reaches_the_user_and_stands_in_the_history(shared: Settings) -> None:
    async def done(_action: str, _no: str) -> Result:
        return Result("done", "")

    async with new_world(shared) as service:
        people, channel = People(service), Scripted()
        channel.result = done
        people.use(channel)
        await evening(people, range(1, 4))
        await six_o_clock(people, range(1, 2))
        await people.settle()
        await people.claim(1)
        people.it_is("09:00", 1)
        await made_good(people, promises.Said(2, 100))
        await made_good(people, promises.Said(1, 400))
        await people.drain()
        for _ in range(3):
            await send(people)
        assert await people.rows("SELECT uid FROM outgoing WHERE state <> 'done'") == []
        await people.finish()
        await sound(people)
        shown = (await history(service, 2, 1, 50, "en")).data
        assert [(one["kind"], one["money"], one["state"]) for one in shown["items"]] == [
            ("made_good_sent", -100, "done"),
            ("made_good", 100, None),
            ("stake", -100, None),
            ("payment", 100, None),
        ]
        assert shown["total"] == 4
        shown = (await history(service, 1, 1, 50, "en")).data
        assert [one["kind"] for one in shown["items"][:2]] == ["made_good_sent", "made_good"]
        assert (shown["total"], len(shown["items"])) == (7, 7)
