"""A double of the gateway for each test, and the channel that calls it."""

from collections.abc import AsyncIterator

import pytest

from clock.channels.alipay import Alipay
from tests.unit.alipay.stage import Double, channel, double, settings


@pytest.fixture
async def gateway() -> AsyncIterator[Double]:
    async with double() as told:
        yield told


@pytest.fixture
async def alipay(gateway: Double) -> AsyncIterator[Alipay]:
    calls = channel(settings(alipay_url=gateway.url))
    yield calls
    await calls.close()
