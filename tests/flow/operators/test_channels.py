"""Whether a payment provider accepts our keys: asked by hand, and at the start."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from clock.channels import Silent
from clock.channels.platform import Platform
from clock.config import BadSetting, Settings
from clock.domain.rulebook import Change, Terms
from clock.runtime import channel_check
from clock.runtime.channel_check import require_channels
from clock.runtime.start_check import start_check
from clock.service import Service
from tests.conftest import DAY, WEBHOOK_SECRET
from tests.flow.operators.stage import clock

CHECK = ("channel", "check")


@asynccontextmanager
async def answering(status: int, body: object) -> AsyncIterator[str]:
    """A provider that says the same to everything; its URL."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_post("/{action}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_check_says_in_words_what_works_or_what_does_not(settings: Settings) -> None:
    async with answering(404, {"state": "not_found"}) as good, answering(200, {}) as bad:
        found = await asyncio.gather(
            *(
                clock(msgspec.structs.replace(settings, platform_url=url), *CHECK, "platform")
                for url in (good, bad, "")
            ),
            clock(settings, *CHECK, "wechat"),
        )
    assert [status for status, _ in found] == [0, 1, 1, 1]
    said = [text for _, text in found]
    assert said[0] == "the platform answers a signed question\n"
    assert said[1] == f"clock: platform: {bad} does not answer a signed question\n"
    assert "CLOCK_PLATFORM_URL" in said[2]
    assert "CLOCK_WECHAT_" in said[3]
    assert not any("Traceback" in text for text in said)


async def test_the_channels_are_listed_with_the_way_that_money_leaves(settings: Settings) -> None:
    status, said = await clock(settings, "channel", "list")
    (platform,) = [one for one in json.loads(said)["channels"] if one["name"] == "platform"]
    assert status == 0
    assert (platform["way"], platform["default"], platform["least_transfer_fen"]) == ("push", True, 1)


class Provider(Platform):
    """A provider of our own: what its check does is chosen."""

    def __init__(self, name: str, does: Exception | None = None, seconds: float = 0.0) -> None:
        super().__init__("", WEBHOOK_SECRET)
        self.name = name
        self.does = does
        self.seconds = seconds

    async def check(self) -> list[str]:
        await asyncio.sleep(self.seconds)
        if self.does:
            raise self.does
        return [f"{self.name} answers"]


async def test_production_does_not_start_with_keys_that_a_provider_refuses() -> None:
    refused = BadSetting("CLOCK_WECHAT_SERIAL: the merchant has no such certificate")
    with pytest.raises(BadSetting, match="no such certificate"):
        await require_channels({"wechat": Provider("wechat", refused), "alipay": Provider("alipay")})


async def test_production_starts_without_a_provider_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_check, "ANSWER_SECONDS", 0.05)
    channels = {
        "platform": Provider("platform", BadSetting("is not asked")),
        "wechat": Provider("wechat", Silent("no connection")),
        "alipay": Provider("alipay", seconds=60),
    }
    with capture_logs() as said:
        await require_channels(channels)
    warned = {line["channel"]: line["reason"] for line in said if line["event"] == "channel_not_checked"}
    assert warned == {"wechat": "no connection", "alipay": "no answer within 0 s"}


async def test_a_stake_that_could_not_be_paid_back_is_refused_at_the_start_and_by_the_book(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Platform, "least_transfer_fen", 10)
    low = msgspec.structs.replace(settings, stake_fen=9)
    await start_check(settings)
    with pytest.raises(BadSetting, match=r"a stake of 9 fen could not be paid back by platform.*CLOCK_STAKE_FEN"):
        await start_check(low)
    change = Change(first_day=DAY, changes=Terms(stake_fen=9))
    answer = await service.planning.plan(change, "anna", "cheap", DAY)
    assert (answer.word, "below 10 fen" in answer.data.get("why", "")) == ("rules_misfit", True)

    monkeypatch.setattr(Platform, "least_transfer_fen", 1)
    assert (await service.planning.plan(change, "anna", "cheap", DAY)).word == "planned"
    monkeypatch.setattr(Platform, "least_transfer_fen", 10)
    with pytest.raises(BadSetting, match="clock rules"):
        await start_check(settings)
    monkeypatch.setattr(Platform, "pulls", True)
    await start_check(settings)
