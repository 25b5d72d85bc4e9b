"""The double, and the channel that calls it."""

from collections.abc import AsyncIterator

import pytest

from clock.channels.wechat import WeChat
from tests.unit.wechat.stage import Double, Waits, settings


@pytest.fixture
async def double() -> AsyncIterator[Double]:
    started = Double()
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def channel(double: Double, waits: Waits) -> AsyncIterator[WeChat]:
    made = WeChat(settings(wechat_url=double.url), waits)
    yield made
    await made.close()
