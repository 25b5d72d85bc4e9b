"""Redis is gone: everything is unavailable, nothing is half done, and all of it comes back."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from clock.config import Settings
from clock.runtime import embedded, processes
from tests.conftest import DAY, Api, at
from tests.flow.http.stage import EXTRA, ME, OTHER, ask, json, kept, user_verbs
from tests.raw import raw


class TestRedisGone:
    @pytest.fixture
    async def settings(self, settings: Settings) -> AsyncIterator[Settings]:
        """With a Valkey of the test's own."""
        with embedded.scratch() as place:
            self.valkey = embedded.Valkey(place)
            self.process = await embedded.start(self.valkey)
            yield msgspec.structs.replace(settings, redis_url=self.valkey.url)
            await processes.stop(self.process, self.valkey.stop_signal)

    async def test_everything_is_unavailable_nothing_is_half_done_and_all_of_it_comes_back(self, api: Api) -> None:
        api.service.time.stop_at(at("20:00"))
        await api.member(ME)
        order_no = (await api.join(OTHER))["data"]["order_no"]
        api.service.time.stop_at(at("05:00", 1))
        before = await kept(raw(api.service.redis))
        await processes.stop(self.process, self.valkey.stop_signal)

        for path in user_verbs(api):
            reply = await ask(api, "POST", path, json({"uid": ME, "extra": EXTRA}), **api.token(ME))
            assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "unavailable", "2"), path
            assert reply.body["status"] == 0
        status, envelope = await api.pay(order_no, OTHER)
        assert (status, envelope["code"]) == (503, "unavailable")
        reply = await ask(api, "GET", f"/ops/rounds/{DAY}", **api.token(ME, "operator"))
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "unavailable", "2")
        assert (await api.send("GET", "/healthz"))[0] == 200
        assert (await api.send("GET", "/readyz"))[0] == 503

        self.process = await embedded.launch(self.valkey, same_port=True)
        await embedded.wait_ready(self.valkey, 10)
        assert await kept(raw(api.service.redis)) == before
        reply = await ask(api, "POST", "/api/check-in", json({"uid": ME}), **api.token(ME))
        assert (reply.code, reply.body["data"]) == ("checked_in", {"money": 100})
        status, envelope = await api.pay(order_no, OTHER, notify_time="2026-11-22 20:00:00")
        assert (status, envelope["code"]) == (200, "paid")
