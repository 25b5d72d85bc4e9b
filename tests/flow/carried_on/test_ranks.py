"""Ranks and packets that two servers gave: no packet belongs to two winners, and a claim made twice is one."""

import pytest

from clock.audit.mend import mend
from clock.config import Settings
from clock.rounds.ending import BooksDiffer
from tests.conftest import DAY
from tests.flow.carried_on.stage import LATE_COMERS, Server, agree, evening, six_o_clock, to_the_end
from tests.flow.stage import People, Scripted, forget
from tests.model.world import new_world


@pytest.mark.parametrize("mended", ["while people check in", "when it is settled"])
@pytest.mark.parametrize("shards", [1, 4])
async def test_a_rank_that_was_given_twice_is_given_anew(shared: Settings, shards: int, mended: str) -> None:
    async with new_world(shared, shards=shards) as service:
        people = People(service)
        people.use(Scripted())
        await evening(people, range(1, 17))
        await six_o_clock(people, range(1, 5))
        await people.drain()
        server = Server(people)
        await server.save()
        await six_o_clock(people, LATE_COMERS)
        await people.drain()
        await server.go_back()
        forget(people)
        await six_o_clock(people, range(5, 9))  # with the ranks of those whom Redis forgot
        if mended == "while people check in":
            await mend(service, DAY)
            await six_o_clock(people, range(9, 11))
        else:
            people.it_is("08:05", 1)
            with pytest.raises(BooksDiffer):
                await service.settling.settle(DAY)
            done = await mend(service, DAY)
            assert done is not None
            assert done.ranks > 0
        await to_the_end(people)
        claims = await people.rows("SELECT shard, index FROM claims")
        assert len({(row["shard"], row["index"]) for row in claims}) == len(claims) >= 12
        await agree(people)


async def test_ranks_alone_stop_settlement(shared: Settings) -> None:
    """Counts agree; two winners have one packet."""
    async with new_world(shared) as service:
        people = People(service)
        people.use(Scripted())
        await evening(people, range(1, 5))
        await six_o_clock(people, range(1, 4))
        await people.drain()
        await people.tamper("UPDATE check_ins SET rank = 1 WHERE rank = 2")
        people.it_is("08:05", 1)
        with pytest.raises(BooksDiffer, match="ranks"):
            await service.settling.settle(DAY)
        await mend(service, DAY)
        await people.settle()
        await people.claim(1, 2, 3)
        await people.finish()
        await agree(people)


async def test_who_claims_again_because_redis_forgot_gets_the_same_packet(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        people.use(Scripted())
        await evening(people, range(1, 17))
        await six_o_clock(people, range(1, 9))
        await people.settle()
        await people.claim(1, 2)
        await people.drain()
        server = Server(people)
        await server.save()
        before = await people.claim(3, 4, 5)
        await people.drain()
        await server.go_back()
        forget(people)
        again = await people.claim(5, 6, 4)
        assert [again[0], again[2]] == [before[2], before[1]]
        await people.drain()
        await mend(service, DAY)
        await people.claim(7, 8)
        await people.finish()
        await agree(people)
