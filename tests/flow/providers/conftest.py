"""Keys once for all; a service and a double for each test."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from clock.config import Settings
from clock.http import openapi
from tests.conftest import settings_over
from tests.flow.providers.merchants import AlipayMerchant, Merchant
from tests.flow.providers.stage import Provider, Town, answering, double_of, town_of, with_double


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
async def town(
    settings: Settings, provider: Provider, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    monkeypatch.setattr(openapi, "describe", lambda app: None)
    async with town_of(settings, provider, keys) as town:
        yield town


@pytest.fixture
def apart(tmp_path: Path, keys: Path) -> Settings:
    """Settings of a double whose service is not there."""
    nowhere = settings_over("redis://127.0.0.1:9", "postgresql://127.0.0.1:9/none", tmp_path)
    return with_double(nowhere, "wechat", keys)


@pytest.fixture
async def merchant(apart: Settings, keys: Path) -> AsyncIterator[Merchant]:
    double, url = double_of(apart, keys)
    async with answering(double, url), aiohttp.ClientSession() as session:
        yield Merchant(session, url, keys, f"{apart.public_url}/callbacks/wechat")


@pytest.fixture
async def alipay_merchant(tmp_path: Path, keys: Path) -> AsyncIterator[AlipayMerchant]:
    nowhere = settings_over("redis://127.0.0.1:9", "postgresql://127.0.0.1:9/none", tmp_path)
    double, url = double_of(with_double(nowhere, "alipay", keys), keys)
    async with answering(double, url), aiohttp.ClientSession() as session:
        yield AlipayMerchant(session, url, keys, "http://127.0.0.1:9/callbacks/alipay")
