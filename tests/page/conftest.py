"""One service and one browser for all tests of the pages; each test has visitors, players and days of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from clock.runtime import embedded
from tests.conftest import in_memory
from tests.page.visitor import House, Visitor, chromium, visitor
from tests.page.visitor import house as started

_days = count(0, 3)
_uids = count(1000, 100)


@pytest.fixture(scope="package")
async def place() -> AsyncIterator[Path]:
    """The directory of the service's data."""
    with embedded.scratch(in_memory()) as data_dir:
        yield data_dir


@pytest.fixture(scope="package")
async def house(place: Path) -> AsyncIterator[House]:
    async with started(place) as house:
        yield house


@pytest.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
def day() -> date:
    """A day whose rounds, and those around it, nobody has played in; each is later than the ones before."""
    return date(2030, 1, 1) + timedelta(days=next(_days))


@pytest.fixture
def uid() -> int:
    """The first of a hundred users that nobody else is."""
    return next(_uids)


@pytest.fixture
async def visits(house: House, browser: Browser) -> AsyncIterator[Callable[..., Any]]:
    """``await visits(language="en", dark=True)``: another visitor, until the test ends."""
    async with AsyncExitStack() as stack:

        async def visit(**options: Any) -> Visitor:
            someone: AbstractAsyncContextManager[Visitor] = visitor(browser, house, **options)
            return await stack.enter_async_context(someone)

        yield visit
