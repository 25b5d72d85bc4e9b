"""What is not mended, and what a correction must not break: expired rounds, order ids, entries that must be kept."""

from typing import Any

import pytest

from clock.audit import mend as mending
from clock.audit.counts import Counting
from clock.audit.mend import mend
from clock.books import outbox
from clock.books.store import rows
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.game import keys
from clock.rounds.ending import BooksDiffer
from clock.runtime.worker import trim
from tests.conftest import DAY
from tests.flow.carried_on.stage import Books, Server, evening, six_o_clock
from tests.flow.stage import People, forget
from tests.model.world import new_world, service_with


async def test_books_older_than_a_round_do_not_make_it_anew(shared: Settings) -> None:
    """Another seed would not have the hash that was published."""
    async with new_world(shared) as service:
        people = People(service)
        books = Books(people)
        await books.save()
        await evening(people, range(1, 5))
        await people.drain()
        await books.go_back()
        with pytest.raises(Unavailable, match="newer backup"):
            await service.opener.open_round(DAY)
        assert await people.rows("SELECT day FROM rounds WHERE day = %s", DAY) == []


async def test_two_that_open_a_round_at_once_have_the_same(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has looked into the books when the other writes the round, there and into Redis."""
    looked: list[Any] = []

    async def overtaken(connection: Any, name: str, **given: Any) -> Any:
        found = await rows(connection, name, **given)
        if name == "get_round" and not looked:
            looked.append(found)
            await service.opener.open_round(DAY)
        return found

    async with new_world(shared) as service, service_with(shared) as other:
        monkeypatch.setattr("clock.rounds.opening.rows", overtaken)
        assert await other.opener.open_round(DAY) == await service.opener.open_round(DAY)
        assert looked == [[]]


async def test_what_the_books_have_just_lost_is_not_let_go(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with new_world(shared) as service:
        monkeypatch.setattr(outbox, "KEPT_BYTES", 1_000)
        people = People(service)
        books = Books(people)
        await evening(people, range(1, 150))
        await people.drain()
        await books.save()
        await evening(people, range(150, 400))
        await people.drain()
        await books.go_back()
        await trim({"service": service})
        await people.drain()
        assert await people.rows("SELECT count(*) AS members FROM members") == [{"members": 399}]


async def test_an_unreadable_entry_hides_no_other_shard(shared: Settings) -> None:
    async with new_world(shared, shards=2) as service:
        people = People(service)
        await evening(people, range(1, 9))
        await people.drain()
        await people.tamper("UPDATE steps SET count = count + 3 WHERE step = 'paid' AND shard = 1")
        await service.redis.xadd(keys.name(DAY, 0, "outbox"), {"e": b"\xc1"})
        assert [(one.shard, one.behind) for one in await Counting(service).look() or []] == [(1, "redis")]


async def expiring(people: People) -> dict[str, bool]:
    """The round's keys, and whether each expires."""
    redis: Any = people.service.redis
    found = [name async for name in redis.scan_iter(match=f"clock:{{*}}:{DAY}:*")]
    return {name.decode(): await redis.pttl(name) > 0 for name in found if not name.endswith(b":mark")}


async def ended(people: People) -> None:
    await evening(people, range(1, 5))
    await six_o_clock(people, range(1, 3))
    await people.settle()
    await people.claim(1, 2)
    await people.drain()


async def test_a_round_whose_keys_have_expired_stays_away(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await ended(people)
        await people.finish()
        await people.tamper("UPDATE rounds SET finished_at = now() - interval '20 days'")
        redis: Any = service.redis
        await redis.flushall()
        await mend(service, DAY)
        assert all((await expiring(people)).values())


async def test_a_finish_that_redis_forgot_is_made_up_for(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await ended(people)
        server = Server(people)
        await server.save()
        await people.finish()
        await server.go_back()
        forget(people)
        await mend(service, DAY)
        found = await expiring(people)
        assert found and all(found.values()), found


async def test_order_ids_are_not_given_twice_by_a_correction(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """People join while the last number is raised."""
    async with new_world(shared) as service:
        people = People(service)
        await evening(people, range(1, 5))
        await people.drain()
        server = Server(people)
        await server.save()
        await people.join(*range(5, 9))
        await people.drain()
        await server.go_back()
        await service.redis.hset(keys.name(DAY, 0, "round"), "server", "the old one")
        forget(people)
        real = mending._shard

        async def joining(*args: Any) -> None:
            await people.join(*range(20, 40))
            await real(*args)

        monkeypatch.setattr(mending, "_shard", joining)
        await people.join(50)
        await mend(service, DAY)
        await people.join(*range(60, 80))
        await people.drain()
        assert await people.rows("SELECT order_id FROM orders GROUP BY 1 HAVING count(*) > 1") == []


async def test_books_that_contradict_themselves_are_not_written_into_redis(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await evening(people, range(1, 6))
        await six_o_clock(people, range(5, 6))
        await people.drain()
        await people.tamper("DELETE FROM members WHERE uid = 5")
        redis: Any = service.redis
        await redis.hdel(keys.name(DAY, 0, "members"), "5")
        await redis.xtrim(keys.name(DAY, 0, "outbox"), maxlen=0, approximate=False)
        with pytest.raises(BooksDiffer, match="contradict"):
            await mend(service, DAY)
        assert await service.redis.hget(keys.name(DAY, 0, "members"), "5") is None
