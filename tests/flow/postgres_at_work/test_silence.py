"""A server is silent: whoever asks hears so in time, and everything comes back."""

import asyncio

import msgspec
import pytest

from clock.books.store import ANSWER_SECONDS
from clock.domain.outcomes import Unavailable
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import BOSS
from tests.flow.pair import Address
from tests.flow.postgres_at_work.stage import Postgres, Stopwatch, away, timed
from tests.flow.switch.stage import seconds_until

READS = ("/api/me", "/api/me/history", "/api/talents", "/api/board", f"/api/rounds/{DAY}", "/ops/quarantine")
READ_SECONDS = ANSWER_SECONDS + 1
READY_SECONDS = 2.0
WATCH_SECONDS = 3.0


@pytest.fixture
async def api(api: Api) -> Api:
    """Rounds are open, and the pool has as many connections as it may have."""
    api.service.time.stop_at(at("20:00"))
    await api.service.opener.open_around(DAY)
    await fill_the_pool(api)
    return api


async def fill_the_pool(api: Api) -> None:
    async def busy() -> None:
        async with api.service.store.transaction() as connection:
            await connection.execute("SELECT pg_sleep(0.5)")

    for _ in range(3):
        await asyncio.gather(*(busy() for _ in range(8)))


async def all_reads(api: Api) -> list[tuple[int, float, bytes]]:
    headers = {False: api.token(1), True: api.token(BOSS, "operator")}
    return await asyncio.gather(*(timed(api, path, headers[path.startswith("/ops")]) for path in READS * 3))


@pytest.mark.long
@pytest.mark.parametrize("how", ["stopped", "swallowed", "reset"])
async def test_a_read_is_unavailable_in_time_and_verbs_do_not_care(
    api: Api, address: Address, postgres: Postgres, how: str
) -> None:
    port = address.to_port
    assert {status for status, _, _ in await all_reads(api)} == {200}
    away(how, address, postgres)
    for _ in range(3):
        reads, verb = await asyncio.gather(all_reads(api), api.join(1))
        assert verb["code"] in ("ordered", "order_pending")
        assert {status for status, _, _ in reads} == {503}
        assert {msgspec.json.decode(body)["code"] for _, _, body in reads} == {"unavailable"}
        slowest = max(seconds for _, seconds, _ in reads)
        print(how, "slowest read", round(slowest, 2), "s")
        assert slowest < READ_SECONDS
    postgres.go_on()
    address.to_port, address.swallows = port, False

    async def back() -> bool:
        return (await timed(api, "/api/board"))[0] == 200

    assert await seconds_until(back, 15) < 10


async def test_eight_forgotten_connections_cost_one_check(api: Api, address: Address) -> None:
    """At once, and one after the other."""
    away("forgotten", address)
    reads = await all_reads(api)
    assert {status for status, _, _ in reads} == {200}
    assert max(seconds for _, seconds, _ in reads) < 2.5
    await fill_the_pool(api)
    away("forgotten", address)
    one_after_the_other = [await timed(api, "/api/board") for _ in range(9)]
    assert [status for status, _, _ in one_after_the_other] == [200] * 9
    assert sum(seconds for _, seconds, _ in one_after_the_other) < 2.5


async def test_a_read_that_is_under_way_ends_in_time(api: Api, postgres: Postgres) -> None:
    """The connection was good when it was taken."""

    async def read() -> None:
        async with api.service.store.transaction() as connection:
            await connection.execute("SELECT pg_sleep(%s)", [ANSWER_SECONDS - 0.5])

    reads = [asyncio.create_task(read()) for _ in range(8)]
    await asyncio.sleep(0.1)
    away("stopped", Address(0), postgres)
    async with Stopwatch() as watch:
        for end in await asyncio.gather(*reads, return_exceptions=True):
            assert isinstance(end, Unavailable)
        assert watch.seconds() < READ_SECONDS
    postgres.go_on()


@pytest.mark.parametrize("how", ["stopped", "swallowed", "reset", "forgotten"])
async def test_readyz_and_metrics_answer_in_time_without_postgres(
    api: Api, address: Address, postgres: Postgres, how: str
) -> None:
    away(how, address, postgres)
    for _ in range(3):
        looks = await asyncio.gather(*(timed(api, path) for path in ("/readyz", "/metrics") * 4))
        for status, seconds, body in looks[::2]:
            parts = msgspec.json.decode(body)
            assert (status, parts["redis"]) == (200, True)
            assert parts["postgres"] is False or how == "forgotten"
            assert seconds < READY_SECONDS
        for status, seconds, body in looks[1::2]:
            assert status == 200 and b"clock_redis_up 1.0" in body
            assert b"clock_postgres_up 0.0" in body or how == "forgotten"
            assert seconds < WATCH_SECONDS
    assert len(api.service.looks) == 5
    postgres.go_on()


@pytest.mark.parametrize("how", ["swallowed", "reset", "forgotten"])
@pytest.mark.parametrize("both", [False, True])
async def test_readyz_and_metrics_answer_in_time_without_redis(
    api: Api, address: Address, redis_address: Address, postgres: Postgres, how: str, both: bool
) -> None:
    away(how, redis_address)
    if both:
        away("stopped", address, postgres)
    for _ in range(2):
        ready, metrics = await asyncio.gather(timed(api, "/readyz"), timed(api, "/metrics"))
        parts = msgspec.json.decode(ready[2])
        assert parts["postgres"] is (not both)
        assert parts["redis"] is (ready[0] == 200)
        assert ready[0] == 503 or how == "forgotten"
        assert ready[1] < READY_SECONDS
        assert metrics[0] == 200 and metrics[1] < WATCH_SECONDS
    postgres.go_on()
