"""Calls a second to a provider are shared by all who make them."""

import asyncio
import time

import pytest

from clock.channels import TooManyCalls
from clock.config import Settings
from clock.game import limits
from clock.game.client.calls import connect
from clock.game.gametime import GameTime
from clock.game.limits import Limits
from clock.service import Service


async def test_two_processes_together_keep_the_limit(service: Service, settings: Settings) -> None:
    """Each on a connection of its own: 40 calls of 100 a second take 0.3 s, 10 of them at once."""
    other = connect(settings.redis_url)
    both = [Limits(service.redis, service.time), Limits(other, GameTime(5_000))]
    began = time.monotonic()
    await asyncio.gather(*(both[n % 2].wait("double.refund", 100) for n in range(40)))
    took = time.monotonic() - began
    await other.aclose()
    assert 0.29 <= took < 20


async def test_whoever_would_wait_too_long_is_told_and_sends_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_WAIT_MS", 0)
    one = Limits(service.redis, service.time)
    await one.wait("double.slow", 1)
    with pytest.raises(TooManyCalls):
        await one.wait("double.slow", 1)


async def test_without_redis_nothing_is_sent(service: Service) -> None:
    away = connect("redis://127.0.0.1:1")
    with pytest.raises(TooManyCalls):
        await Limits(away, service.time).wait("double.refund", 100)
    await away.aclose()
