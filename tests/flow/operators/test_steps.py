"""The steps of a round, by the minute."""

from typing import Any

import pytest

from clock.game import keys
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import drain, operate


@pytest.mark.parametrize("changes", [{}, {"shards": 4}], ids=["one shard", "four"])
async def test_the_steps_of_a_round_are_counted_by_the_minute_each_user_once(api: Api, changes: dict[str, Any]) -> None:
    async def steps() -> dict[str, Any]:
        await drain(api)
        status, reply = await operate(api, "GET", f"/ops/steps/{DAY}")
        assert status == 200
        return dict(reply["data"])

    api.service.time.stop_at(at("20:00", 0, 59_999))
    for uid in range(1, 6):
        await api.member(uid)
    await api.join(6)
    assert (await steps())["minutes"] == [[at("20:00"), 6, 5, 0, 0]]
    await api.join(8)  # in the same minute, and read by another transaction
    assert (await steps())["minutes"] == [[at("20:00"), 7, 5, 0, 0]]
    api.service.time.stop_at(at("20:01"))
    await api.join(6)  # the same order
    await api.join(7)
    api.service.time.stop_at(at("05:00", 1))
    for uid in (1, 2, 3, 3):
        await api.post("/api/check-in", uid)
    api.service.time.stop_at(at("08:05", 1))
    await operate(api, "POST", f"/ops/rounds/{DAY}/settle")
    for _ in range(2):
        await api.post("/api/claim", 1)
    shown = await steps()
    assert shown["steps"] == ["ordered", "paid", "checked_in", "claimed"]
    assert shown["minutes"] == [
        [at("20:00"), 7, 5, 0, 0],
        [at("20:01"), 1, 0, 0, 0],
        [at("05:00", 1), 0, 0, 3, 0],
        [at("08:05", 1), 0, 0, 0, 1],
    ]
    assert shown["totals"] == {"ordered": 8, "paid": 5, "checked_in": 3, "claimed": 1}


async def test_an_entry_that_is_read_twice_is_counted_once(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(1)
    stream = keys.name(DAY, 0, "outbox")
    redis: Any = api.service.redis
    entries = await redis.xrange(stream)
    await drain(api)
    for _, fields in entries:
        await redis.xadd(stream, fields)
    await drain(api)
    _, reply = await operate(api, "GET", f"/ops/steps/{DAY}")
    assert reply["data"]["totals"] == {"ordered": 1, "paid": 1, "checked_in": 0, "claimed": 0}
