"""Where there is no IPv4: Redis, Postgres and the service itself at addresses in brackets."""

import msgspec
import pytest

from clock.books import outbox
from clock.config import Settings
from clock.http import openapi
from tests.conftest import DAY, at, serving
from tests.flow.pair import Address
from tests.flow.postgres_at_work.conftest import port_of


async def test_a_day_is_played_without_ipv4(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi, "describe", lambda app: None)
    redis, postgres = Address(port_of(settings.redis_url)), Address(port_of(settings.database_url))
    async with redis.serving("::1"), postgres.serving("::1"):
        moved = msgspec.structs.replace(
            settings,
            host="::1",
            redis_url=settings.redis_url.replace(f"127.0.0.1:{port_of(settings.redis_url)}/", f"[::1]:{redis.port}/"),
            database_url=settings.database_url.replace(
                f"127.0.0.1:{port_of(settings.database_url)}/", f"[::1]:{postgres.port}/"
            ),
        )
        assert "[::1]" in moved.redis_url and "[::1]" in moved.database_url
        async with serving(moved) as api:
            assert api.url == f"http://[::1]:{moved.port}"
            api.service.time.stop_at(at("20:00"))
            await api.member(1)
            api.service.time.stop_at(at("05:00", 1))
            assert (await api.post("/api/check-in", 1))["code"] == "checked_in"
            assert await outbox.drain(api.service.store, api.service.redis, DAY, 0) > 0
            assert (await api.send("GET", "/readyz"))[0] == 200
