"""Postgres goes back behind a settlement that Redis has: C, draw and packets are those that were published and paid. Or
behind the opening of a round."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from clock.config import Settings
from clock.game import keys
from clock.rounds.ending import BooksDiffer
from clock.rounds.stated import FIELD
from clock.service import Service
from tests.conftest import DAY
from tests.flow.carried_on.stage import Books, agree, evening, six_o_clock
from tests.flow.settlement.drawn import Relay, drawing_world, relay, said_of
from tests.flow.settlement.stage import manifest, published, query
from tests.flow.stage import People, Scripted, forget
from tests.model.world import new_world

PLAYERS, AWAKE = range(1, 17), range(1, 10)


@pytest.fixture
async def beacon() -> AsyncIterator[Relay]:
    async with relay() as made:
        yield made


async def played(service: Service) -> tuple[People, Books]:
    """Everybody has done what there is to do; the books will go back to here."""
    people = People(service)
    people.use(Scripted())
    await evening(people, PLAYERS)
    await six_o_clock(people, AWAKE)
    await people.drain()
    books = Books(people)
    await books.save()
    return people, books


async def settles(people: People, time_of_day: str) -> str:
    people.it_is(time_of_day, 1)
    return await people.service.settling.settle(DAY)


async def goes_back(people: People, books: Books) -> None:
    await people.drain()
    await books.go_back()
    forget(people)


async def lost(service: Service) -> list[str]:
    """Rounds that a worker says to be lost."""
    with capture_logs() as said:
        await service.opener.prepare(DAY)
    return [one["day"] for one in said if one["event"] == "round_lost"]


async def the_same_is_said_and_paid(people: People, before: dict[str, str], dealt: list[int]) -> None:
    service = people.service
    assert (await said_of(service)).texts == before
    assert await manifest(service, DAY) == await published(service, DAY) == dealt
    await people.claim(*AWAKE[2:])
    await people.finish()
    await agree(people)


async def test_an_hour_later_the_packets_are_those_that_were_paid(shared: Settings) -> None:
    async with new_world(shared, shards=2) as service:
        people, books = await played(service)
        assert await settles(people, "08:05") == "settled"
        before, dealt = (await said_of(service)).texts, await manifest(service, DAY)
        await people.claim(1, 2)
        await goes_back(people, books)
        assert await settles(people, "09:05") == "settled"
        await the_same_is_said_and_paid(people, before, dealt)


async def test_the_draw_is_the_one_that_was_had_though_nobody_has_it_now(shared: Settings, beacon: Relay) -> None:
    async with drawing_world(shared, beacon) as service:
        people, books = await played(service)
        await settles(people, "08:01")
        assert await settles(people, "08:05") == "settled"
        before, dealt = (await said_of(service)).texts, await manifest(service, DAY)
        assert "\nsplit: random\n" in before["published"]
        await people.claim(1, 2)
        await goes_back(people, books)
        beacon.does("fail")
        assert await settles(people, "09:05") == "settled"
        await the_same_is_said_and_paid(people, before, dealt)


async def test_c_is_the_one_that_was_public_before_the_draw(shared: Settings, beacon: Relay) -> None:
    """Written anew it would be late, and the round split equal."""
    async with drawing_world(shared, beacon) as service:
        people, books = await played(service)
        assert await settles(people, "08:01") == "not_due"
        closed = (await said_of(service)).texts["closed"]
        await goes_back(people, books)
        assert await settles(people, "08:04") == "not_due"
        assert (await said_of(service)).texts["closed"] == closed
        assert await settles(people, "08:05") == "settled"
        assert "\nsplit: random\n" in (await said_of(service)).texts["published"]


async def test_packets_that_follow_from_a_c_that_nobody_has_stop_the_settlement(shared: Settings) -> None:
    async with new_world(shared, shards=2) as service:
        people, books = await played(service)
        assert await settles(people, "08:05") == "settled"
        await goes_back(people, books)
        await service.redis.hdel(keys.name(DAY, 0, "round"), FIELD)
        with pytest.raises(BooksDiffer, match="are out, and follow from another C"):
            await settles(people, "09:05")
        assert (await query(service, "SELECT state FROM rounds WHERE day = %s", DAY))[0]["state"] == "closed"


async def test_a_c_of_other_figures_is_not_written_again(shared: Settings, beacon: Relay) -> None:
    """No packet is out: the round goes on with what the books say now."""
    async with drawing_world(shared, beacon) as service:
        people, books = await played(service)
        await settles(people, "08:01")
        closed = (await said_of(service)).texts["closed"]
        await goes_back(people, books)
        name = keys.name(DAY, 0, "round")
        kept = await service.redis.hget(name, FIELD)
        assert kept is not None and b"carried_in_fen: 0" in kept
        await service.redis.hset(name, FIELD, kept.replace(b"carried_in_fen: 0", b"carried_in_fen: 7"))
        await settles(people, "08:02")
        now = (await said_of(service)).texts["closed"]
        assert now != closed and "carried_in_fen: 0" in now
        assert await settles(people, "08:05") == "settled"


async def test_a_round_that_the_books_have_lost_is_named_and_begins_anew_without_its_key(shared: Settings) -> None:
    """Its seed is gone for good; whoever had joined has still joined."""
    async with new_world(shared, shards=2) as service:
        people = People(service)
        people.use(Scripted())
        books = Books(people)
        await books.save()
        await service.opener.open_round(DAY)
        await evening(people, PLAYERS)
        await books.go_back()
        assert str(DAY) in await lost(service)
        for shard in range(2):
            await service.redis.delete(keys.name(DAY, shard, "round"))
        await service.opener.open_missing(DAY)
        assert str(DAY) not in await lost(service)
        await six_o_clock(people, AWAKE)
        assert await settles(people, "08:05") == "settled"
        await people.claim(*AWAKE)
        await people.finish()
        assert [row["n"] for row in await query(service, "SELECT count(*) AS n FROM members")] == [len(PLAYERS)]
        await agree(people)


async def test_a_round_that_was_called_off_is_not_stated_as_closed(shared: Settings) -> None:
    """What was refunded is refunded once, when it is called off again."""
    async with new_world(shared, shards=2) as service:
        people, books = await played(service)
        assert await service.voiding.void(DAY, "rain") == "ok"
        await goes_back(people, books)
        with pytest.raises(BooksDiffer, match="void in Redis"):
            await settles(people, "08:05")
        assert set((await said_of(service)).texts) == {"opened"}
        assert await service.voiding.void(DAY, "rain") == "ok"
        assert set((await said_of(service)).texts) == {"opened", "void"}
        await agree(people)
