"""Who touches when: in production while check-in may be open, in development always."""

from typing import Any

import pytest

from clock.config import Settings
from clock.game import keys
from clock.game.touching import Touching
from tests.conftest import DAY
from tests.flow.stage import People
from tests.model.world import new_world


@pytest.mark.parametrize(
    "time_of_day, days, open_now",
    [("20:00", 0, False), ("04:59", 1, False), ("05:00", 1, True), ("08:30", 1, True), ("00:00", 2, False)],
)
async def test_production_touches_while_check_in_may_be_open(
    shared: Settings, time_of_day: str, days: int, open_now: bool
) -> None:
    async with new_world(shared, touched=False, shards=8) as service:
        people = People(service)
        await service.opener.open_around(DAY)
        people.it_is(time_of_day, days)
        redis: Any = service.redis
        names = [keys.name(DAY, shard, "round") for shard in range(8)]
        for always in (False, True):
            for name in names:
                await redis.hset(name, "touched_ms", 7)
            await Touching(service.asking, service.redis, always=always).touch()
            touched = {await redis.hget(name, "touched_ms") != b"7" for name in names}
            assert touched == {open_now or (always and days < 2)}


async def test_touching_makes_no_round(shared: Settings) -> None:
    async with new_world(shared, touched=False) as service:
        People(service)
        await Touching(service.asking, service.redis, always=True).touch()
        assert await service.store.all("live_rounds", keep_seconds=1) == []
