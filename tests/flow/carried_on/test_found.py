"""What is lost is found within a minute, or at once when another server answers; books are written again unasked."""

import asyncio
from typing import Any

import pytest

from clock.audit import counts
from clock.audit.contents import contents_of
from clock.audit.counts import Counting
from clock.audit.mend import mend
from clock.config import Settings
from clock.game.totals import read
from clock.rounds.ending import BooksDiffer
from tests.conftest import DAY
from tests.flow.carried_on.stage import LATE_COMERS, Books, Server, agree, evening, forgets, six_o_clock, to_the_end
from tests.flow.stage import IN_TIME, People, Scripted, forget
from tests.model.world import new_world


async def test_while_people_play_nothing_differs(shared: Settings) -> None:
    async with new_world(shared, shards=8) as service:
        people = People(service)
        counting = Counting(service)
        await evening(people, range(1, 17))
        assert await counting.look() == []
        await six_o_clock(people, range(1, 9))
        assert await counting.look() is None, "it is not time yet"


async def test_a_redis_that_fell_behind_is_named_by_shard_and_step(shared: Settings) -> None:
    async with new_world(shared, shards=1) as service:
        people = People(service)
        await forgets(Server(people), people, range(1, 13), LATE_COMERS)
        found = [(one.step, one.behind, one.count) for one in await Counting(service).look() or []]
        assert found == [("ordered", "redis", 4), ("paid", "redis", 4)]
        await mend(service, DAY)
        assert await Counting(service).look() == []


async def test_books_that_fell_behind_are_written_again_without_a_command(shared: Settings) -> None:
    async with new_world(shared, shards=8) as service:
        people = People(service)
        await forgets(Books(people), people, range(1, 13), LATE_COMERS)
        assert await Counting(service).look() == []
        assert await people.rows("SELECT count(*) AS members FROM members") == [{"members": 16}]


async def test_books_whose_position_tells_nothing_are_written_again_too(shared: Settings) -> None:
    """Rows went, the position stayed: nothing but the counts can tell."""
    async with new_world(shared, shards=1) as service:
        people = People(service)
        await evening(people, range(1, 17))
        await people.drain()
        await people.tamper("DELETE FROM members WHERE uid > 12")
        await people.tamper("DELETE FROM transfers WHERE uid > 12")
        await people.tamper("UPDATE steps SET count = count - 4 WHERE step = 'paid'")
        assert await Counting(service).look() == []
        assert await people.rows("SELECT count(*) AS members FROM members") == [{"members": 16}]


async def test_another_server_is_looked_at_at_once(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with new_world(shared) as service:
        names = ("one", "", "")

        async def servers(_: object) -> tuple[str, str, str]:
            return names

        monkeypatch.setattr(counts, "servers", servers)
        counting = Counting(service)
        assert await counting.look() == []
        assert await counting.look() is None
        names = ("another", "", "")
        assert await counting.look() == []


async def test_the_servers_names_are_read_from_real_ones(shared: Settings) -> None:
    async with new_world(shared) as service:
        run_id, replication_id, postgres = await counts.servers(service)
        assert len(run_id) == len(replication_id) == 40
        assert "started" in postgres
        assert run_id == await service.redis.server()


@pytest.mark.parametrize("shards", [1, 8])
async def test_each_lost_something_else(shared: Settings, shards: int) -> None:
    """Redis loses what the books have; then the books lose what only Redis has."""
    async with new_world(shared, shards=shards) as service:
        people = People(service)
        people.use(Scripted())
        await evening(people, range(1, 9))
        await people.drain()
        server, books = Server(people), Books(people)
        await server.save()
        await evening(people, range(9, 13))
        await people.drain()
        await books.save()
        await server.go_back()
        await evening(people, LATE_COMERS)
        await people.drain()
        await books.go_back()
        forget(people)
        assert {one.behind for one in await Counting(service).look() or []} == {"redis"}
        await mend(service, DAY)
        assert await Counting(service).look() == []
        await to_the_end(people)
        await agree(people)
        assert await people.rows("SELECT count(*) AS members FROM members") == [{"members": 16}]


async def test_found_only_when_it_is_settled(shared: Settings) -> None:
    """The shard has said too little when it closed; the command corrects that, and the round is settled."""
    async with new_world(shared) as service:
        people = People(service)
        people.use(Scripted())
        await forgets(Server(people), people, range(1, 13), LATE_COMERS)
        await six_o_clock(people, range(1, 9))
        people.it_is("08:05", 1)
        with pytest.raises(BooksDiffer):
            await service.settling.settle(DAY)
        done = await mend(service, DAY)
        assert done is not None
        assert (done.users, done.closings, done.left) == (4, 1, [])
        await people.settle()
        await people.claim(*range(1, 9))
        await people.finish()
        assert await people.balance(f"pool:{DAY}") == 0


async def test_who_paid_again_because_redis_forgot_gets_the_second_payment_back(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        people.use(Scripted())
        await forgets(Server(people), people, range(1, 5), range(5, 9))
        forget(people)
        first = dict(people.orders)
        await people.join(5, 6)  # 5 and 6 order and pay anew, 7 checks in without being known, 8 sleeps
        assert {uid: people.orders[uid] != first[uid] for uid in (5, 6)} == {5: True, 6: True}
        assert [await people.pay(uid, f"again-{uid}", paid_at=IN_TIME) for uid in (5, 6)] == ["paid", "paid"]
        await people.drain()
        refunds = await people.rows("SELECT uid, reason, transaction_id FROM refunds ORDER BY uid")
        assert refunds == [{"uid": uid, "reason": "refund_second", "transaction_id": f"again-{uid}"} for uid in (5, 6)]
        assert await people.balance(f"pool:{DAY}") == 800
        await mend(service, DAY)
        await six_o_clock(people, range(1, 8))
        await people.settle()
        await people.claim(*range(1, 8))
        await people.finish()
        await agree(people)


async def test_people_play_while_it_is_mended(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does something between the comparison and the correction keeps it."""
    async with new_world(shared) as service:
        people = People(service)
        await forgets(Server(people), people, range(1, 5), range(5, 9))
        forget(people)
        real, played = contents_of, False

        async def after_a_tap(*args: Any) -> Any:
            nonlocal played
            books = await real(*args)
            if not played:
                played = True
                people.it_is("06:00", 1)
                await people.check_in(1, 2)
            return books

        monkeypatch.setattr("clock.audit.mend.contents_of", after_a_tap)
        done = await mend(service, DAY)
        assert played
        assert done is not None
        assert done.left == []
        assert await Counting(service).look() == []
        await people.check_in(5, 6, 7, 8)
        totals = await read(service.redis, DAY, service.settings.shards)
        assert (totals.members, totals.winners, totals.orders) == (8, 6, 8)


async def test_it_is_mended_under_a_load_that_does_not_stop(shared: Settings) -> None:
    """The outbox is never empty while it is mended."""
    async with new_world(shared) as service:
        people = People(service)
        await forgets(Server(people), people, range(1, 9), range(9, 17))
        forget(people)
        stopped, came = asyncio.Event(), list(range(100, 100_000))

        async def keep_joining() -> None:
            while not stopped.is_set():
                await people.join(came.pop())
                await asyncio.sleep(0)

        joining = asyncio.create_task(keep_joining())
        done = await mend(service, DAY)
        stopped.set()
        await joining
        assert done is not None
        assert done.users == 8
        await people.drain()
        assert await Counting(service).look() == []
        await six_o_clock(people, range(1, 17))


async def test_a_round_that_never_was_is_not_mended(shared: Settings) -> None:
    async with new_world(shared) as service:
        assert await mend(service, DAY) is None
