"""One API host is cut off from a server, which goes on without it: the other host does not notice."""

import time

import msgspec
import pytest

from clock.config import Settings
from tests.conftest import DAY, Api, at, serving
from tests.flow.hosts.stage import Network
from tests.flow.postgres_at_work.stage import timed
from tests.flow.switch.stage import says, seconds_until

READY_SECONDS = 2.0
"""The bound of docs/operations.md."""


@pytest.mark.long
@pytest.mark.parametrize("server", ["redis", "postgres"])
async def test_a_host_that_is_cut_off_alone_says_so_and_comes_back(
    api: Api, settings: Settings, network: Network, server: str
) -> None:
    """From Redis: it should get no traffic. From Postgres: check-ins go on without it."""
    async with serving(network.of(settings)) as cut:
        for one in (api, cut):
            one.service.time.stop_at(at("20:00"))
            await one.service.opener.open_around(DAY)
        assert [(await timed(one, "/readyz"))[0] for one in (api, cut)] == [200, 200]

        network.falls_silent(server)
        for number in range(3):
            began = time.monotonic()
            status, seconds, body = await timed(cut, "/readyz")
            parts = msgspec.json.decode(body)
            assert (status, parts["ready"], parts[server]) == (503 if server == "redis" else 200, status == 200, False)
            assert seconds < READY_SECONDS, "the balancer does not wait longer"
            status, _, body = await timed(api, "/readyz")
            assert (status, msgspec.json.decode(body)[server]) == (200, True)
            assert await says(api, "/api/check-in/status", 1) == "ok" and time.monotonic() - began < 4
            assert (await cut.join(10 + number))["code"] == "ordered" if server == "postgres" else True

        network.is_back()

        async def back() -> bool:
            status, _, body = await timed(cut, "/readyz")
            known = status == 200 and msgspec.json.decode(body)[server] is True
            return known and await says(cut, "/api/check-in/status", 20) == "ok"

        print(server, "back after", round(await seconds_until(back, 30), 1), "s")
