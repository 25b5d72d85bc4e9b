"""limit: calls to a provider's endpoint, evenly spread over all who make them."""

import pytest

from clock.game import keys
from tests.lua.stage import EVENING, Stage


class Endpoints(Stage):
    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.redis, 0, keys.USERS, stage._forgets_scripts)
        self.now_ms = EVENING

    async def book(self, endpoint: str = "refund", interval_ms: int | str = 100, burst: int = 1) -> list[object]:
        fixed = {"endpoint": endpoint, "interval_ms": interval_ms, "burst": burst, "most_wait_ms": 1_000}
        return await self.call("limit", now=self.now_ms, **fixed)


@pytest.fixture
async def endpoints(empty_stage: Stage) -> Endpoints:
    return Endpoints(empty_stage)


async def test_each_call_waits_for_the_one_before(endpoints: Endpoints) -> None:
    assert [await endpoints.book() for _ in range(3)] == [["booked", 0], ["booked", 100], ["booked", 200]]


async def test_a_burst_goes_at_once_and_is_paid_for_later(endpoints: Endpoints) -> None:
    waits = [(await endpoints.book(burst=3))[1] for _ in range(5)]
    assert waits == [0, 0, 0, 100, 200]


async def test_too_long_a_wait_books_nothing(endpoints: Endpoints) -> None:
    for _ in range(11):
        assert (await endpoints.book())[0] == "booked"
    assert [await endpoints.book() for _ in range(2)] == [["too_many", 1_100]] * 2


async def test_endpoints_do_not_wait_for_each_other(endpoints: Endpoints) -> None:
    await endpoints.book("refund")
    assert await endpoints.book("transfer") == ["booked", 0]


async def test_parts_of_a_millisecond_add_up(endpoints: Endpoints) -> None:
    """150 calls a second: 6.667 ms each."""
    waits = [(await endpoints.book(interval_ms="6.667"))[1] for _ in range(151)]
    assert waits[150] == 1_000


async def test_a_clock_that_was_moved_keeps_nobody_waiting(endpoints: Endpoints) -> None:
    """Development moves the clock by hours, and back."""
    await endpoints.book()
    endpoints.now_ms -= 8 * 3_600_000
    assert await endpoints.book() == ["booked", 0]


async def test_it_is_forgotten(endpoints: Endpoints) -> None:
    await endpoints.book()
    assert 0 < await endpoints.redis.pttl(endpoints.key("limits")) <= 600_000
