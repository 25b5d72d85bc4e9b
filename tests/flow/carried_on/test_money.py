"""Where money could be doubled, lost or stuck for ever after a server has forgotten something."""

from contextlib import suppress
from typing import Any

import pytest

from clock.audit import mend as mending
from clock.audit.mend import mend
from clock.channels import Result
from clock.config import Settings
from clock.game import keys
from clock.game.client.calls import call
from clock.operators import quarantine
from clock.rounds.ending import BooksDiffer
from clock.service import Service
from tests.conftest import DAY
from tests.flow.carried_on.stage import Books, Server, agree, evening, six_o_clock
from tests.flow.stage import IN_TIME, People, Scripted, forget, send
from tests.model.world import new_world


def playing(service: Service) -> People:
    people = People(service)
    people.use(Scripted())
    return people


async def goes_back(people: People, server: Server | Books) -> None:
    await people.drain()
    await server.go_back()
    forget(people)


async def test_a_round_that_pays_cannot_be_voided_by_books_that_went_back(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = playing(service)
        await evening(people, range(1, 9))
        await six_o_clock(people, range(1, 5))
        await people.drain()
        books = Books(people)
        await books.save()
        await people.settle()
        await people.claim(1, 2)
        await goes_back(people, books)
        assert await service.voiding.void(DAY, "an outage") == "round_settled"
        await people.settle()
        await people.claim(3, 4)
        await people.finish()
        await agree(people)


async def each_forgot_the_other(people: People) -> None:
    """9 and 10 are in Redis alone, and its stream does not hold them: the books gave them back, and lost them then."""
    books, server = Books(people), Server(people)
    await evening(people, range(1, 9))
    await people.drain()
    await server.save()
    await books.save()
    await evening(people, range(9, 11))
    await goes_back(people, server)
    await mend(people.service, DAY)
    await books.go_back()


@pytest.mark.parametrize("awake", [range(1, 5), range(7, 11)], ids=["who is left sleeps", "who is left is awake"])
async def test_who_is_in_redis_alone_is_told_to_the_books(shared: Settings, awake: range) -> None:
    async with new_world(shared) as service:
        people = playing(service)
        await each_forgot_the_other(people)
        await six_o_clock(people, awake)
        people.it_is("08:05", 1)
        with pytest.raises(BooksDiffer):
            await service.settling.settle(DAY)
        done = await mend(service, DAY)
        assert done is not None
        assert (done.left, done.told > 0) == ([], True)
        await people.settle()
        await people.claim(*awake)
        await people.finish()
        assert await people.rows("SELECT count(*) AS members FROM members") == [{"members": 10}]
        await agree(people)


async def test_a_shard_that_pays_other_packets_is_not_settled(shared: Settings) -> None:
    """The books are split anew without two members; the packets in Redis are those of before."""
    async with new_world(shared) as service:
        people = playing(service)
        books, server = Books(people), Server(people)
        await evening(people, range(1, 9))
        await people.drain()
        await server.save()
        await books.save()
        await evening(people, range(9, 11))
        await goes_back(people, server)
        await mend(service, DAY)
        await six_o_clock(people, range(1, 3))
        await people.settle()
        await books.go_back()
        forget(people)
        with pytest.raises(BooksDiffer):
            await service.settling.settle(DAY)
        await mend(service, DAY)
        await people.settle()
        await people.claim(1, 2)
        await people.finish()
        await agree(people)


async def test_a_correction_that_dies_half_way_is_not_settled(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_world(shared) as service:
        people = playing(service)
        await evening(people, range(1, 17))
        await six_o_clock(people, range(9, 13))
        await people.drain()
        server = Server(people)
        await server.save()
        await six_o_clock(people, range(1, 5))
        await goes_back(people, server)
        await six_o_clock(people, range(5, 9))
        await people.drain()
        real, calls = call, 0

        async def dying(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise KeyboardInterrupt
            return await real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(mending, "CHUNK", 4)
            patch.setattr(mending, "call", dying)
            with suppress(KeyboardInterrupt):
                await mend(service, DAY)
        assert calls > 1
        people.it_is("08:05", 1)
        with pytest.raises(BooksDiffer):
            await service.settling.settle(DAY)
        await mend(service, DAY)
        await people.settle()
        await people.claim(*range(1, 13))
        await people.finish()
        await agree(people)


async def test_who_taps_again_in_another_order_keeps_the_packet_that_was_shown(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = playing(service)
        await evening(people, range(1, 9))
        await people.drain()
        server = Server(people)
        await server.save()
        for uid in (1, 2, 3, 4):
            await six_o_clock(people, range(uid, uid + 1))
        await goes_back(people, server)
        for uid in (4, 3, 2, 1):
            await six_o_clock(people, range(uid, uid + 1))
        await people.drain()
        await people.settle()
        first = await people.claim(4, 3)
        await people.drain()
        await mend(service, DAY)
        again = [(await service.verbs.claim(uid, 0.0)).data["assign"]["money"] for uid in (4, 3)]
        assert again == first
        await people.claim(1, 2)
        await people.finish()
        await agree(people)


@pytest.mark.parametrize("mended", ["never", "before paying", "after paying"])
async def test_who_ordered_again_and_paid_that_is_paid_out(shared: Settings, mended: str) -> None:
    async def done(_action: str, _no: str) -> Result:
        return Result("done", "")

    async with new_world(shared) as service:
        people = People(service)
        channel = Scripted()
        channel.result = done
        people.use(channel)
        await evening(people, range(1, 5))
        await people.drain()
        server = Server(people)
        await server.save()
        await people.join(5)
        await goes_back(people, server)
        people.it_is("20:01")
        await people.join(5)
        await people.drain()
        if mended == "before paying":
            await mend(service, DAY)
        assert await people.pay(5, paid_at=IN_TIME) == "paid"
        await people.drain()
        if mended == "after paying":
            await mend(service, DAY)
        await six_o_clock(people, range(1, 6))
        await people.settle()
        await people.claim(*range(1, 6))
        await people.drain()
        for _ in range(3):
            await send(people)
        assert await people.rows("SELECT uid, reason FROM outgoing WHERE state <> 'done'") == []
        await people.finish()
        await agree(people)


async def quarantined(people: People) -> str:
    """Redis forgot an order of 5, whose payment is kept aside for an operator; its id."""
    await evening(people, range(1, 5))
    await people.drain()
    server = Server(people)
    await server.save()
    await people.join(5)
    await goes_back(people, server)
    assert await people.pay(5, paid_at=IN_TIME) == "order_not_found"
    await people.drain()
    return str((await people.rows("SELECT encode(digest, 'hex') AS id FROM quarantine"))[0]["id"])


async def test_what_was_released_makes_no_member_when_its_order_comes_back(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_world(shared) as service:
        people = playing(service)
        await quarantine.release(service, await quarantined(people), "refund", "by mistake", "ann")
        real, words = mending._mend, []

        async def called_back(*args: Any) -> Any:
            mended = await real(*args)
            words.append(await people.pay(5, paid_at=IN_TIME))
            return mended

        with monkeypatch.context() as patch:
            patch.setattr(mending, "_mend", called_back)
            await mend(service, DAY)
        assert set(words) == {"refund_due"}
        await six_o_clock(people, range(4, 5))
        await people.settle()
        await people.claim(4)
        await people.finish()
        await agree(people)


async def test_a_payment_that_the_books_gave_back_makes_no_member(shared: Settings) -> None:
    """Whatever Redis says: the second wall."""
    async with new_world(shared) as service:
        people = playing(service)
        await evening(people, range(1, 3))
        await people.drain()
        await people.tamper("DELETE FROM members WHERE uid = 2")
        await people.tamper("UPDATE payments SET outcome = 'refund_released' WHERE uid = 2")
        await service.redis.delete(keys.name(DAY, 0, "position"))
        await people.drain()
        assert await people.rows("SELECT uid FROM members") == [{"uid": 1}]


async def test_who_paid_into_a_void_round_that_redis_forgot_gets_it_back(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = playing(service)
        await evening(people, range(1, 5))
        await people.join(5)
        await people.drain()
        server = Server(people)
        await server.save()
        assert await service.voiding.void(DAY, "a storm") == "ok"
        await goes_back(people, server)
        assert await people.pay(5, paid_at=IN_TIME) == "paid"
        await mend(service, DAY)
        await people.finish()
        assert len(await people.rows("SELECT uid FROM refunds")) == 5
        assert await people.balance(f"pool:{DAY}") == 0


async def test_late_or_in_time_is_what_the_books_say(shared: Settings) -> None:
    """The callback came in time; Redis forgot it, and heard it again in the morning."""
    async with new_world(shared) as service:
        people = playing(service)
        await evening(people, range(1, 5))
        await people.join(5)
        await people.drain()
        server = Server(people)
        await server.save()
        await people.pay(5, paid_at=IN_TIME)
        await goes_back(people, server)
        people.it_is("06:00", 1)
        await people.pay(5, paid_at=IN_TIME)
        await people.check_in(5)
        people.it_is("08:05", 1)
        with suppress(BooksDiffer):
            await service.settling.settle(DAY)
        await mend(service, DAY)
        await people.settle()
        await people.claim(5)
        await people.finish()
        await agree(people)
