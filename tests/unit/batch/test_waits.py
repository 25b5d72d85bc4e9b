"""How long a request has waited, as the scripts are told."""

from time import monotonic
from typing import Any

import pytest

from clock.game import batch
from clock.game.batch import Batcher
from tests.conftest import DAY
from tests.unit.batch.stage import CHECK_IN, STATUS, Redis, all_of, echo, rows_of, submit, turns


async def sent_wait(redis: Redis, arrived: float) -> Any:
    redis.at_once = echo
    redis.calls.clear()
    await all_of([Batcher(redis).submit(CHECK_IN, DAY, 0, (1,), arrived)])
    return rows_of(redis.calls[0][3])[0]


async def test_a_wait_is_measured_from_the_arrival_of_the_request(redis: Redis) -> None:
    waited = await sent_wait(redis, monotonic() - 1.5)
    assert isinstance(waited, int)
    assert 1_500 <= waited < 2_500
    assert await sent_wait(redis, monotonic() + 0.0) in range(500)


@pytest.mark.parametrize("seconds, waited_ms", [(5.0, 5_000), (5.001, 5_000), (60.0, 5_000), (86_400.0, 5_000)])
async def test_a_wait_counts_up_to_five_seconds(redis: Redis, seconds: float, waited_ms: int) -> None:
    assert await sent_wait(redis, monotonic() - seconds) == waited_ms


async def test_a_wait_grows_while_the_previous_call_is_on_its_way(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(batch, "monotonic", lambda: now)
    batcher = Batcher(redis)
    futures = [batcher.submit(CHECK_IN, DAY, 0, (1,), 99.75)]
    await turns()
    futures += [batcher.submit(CHECK_IN, DAY, 0, (2,), 100.5), batcher.submit(CHECK_IN, DAY, 0, (3,), 101.0)]
    now = 103.25
    redis.answer(0)
    await turns()
    redis.answer(1)
    await all_of(futures)
    assert redis.uids() == [[1], [2, 3]]
    assert [rows_of(call[3]) for call in redis.calls] == [[250], [2_750, 2_250]]


async def test_a_script_that_knows_no_waiting_is_not_told_of_it(redis: Redis) -> None:
    redis.at_once = echo
    await all_of(submit(Batcher(redis), 1, 2, script=STATUS))
    assert redis.calls[0][3] == [1, 2]
