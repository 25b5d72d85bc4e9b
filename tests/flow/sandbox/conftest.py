"""One provider for the tests of a file, without trouble at the start of each."""

from collections.abc import AsyncIterator

import pytest

from clock.runtime.ports import free_port
from tests.flow.sandbox.stage import Listener, Sandbox, listening, sandbox_for


@pytest.fixture(scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Sandbox, Listener]]:
    port = free_port()
    async with listening(port) as listener, sandbox_for(port, tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox, listener


@pytest.fixture
async def listener(both: tuple[Sandbox, Listener]) -> Listener:
    both[1].got.clear()
    both[1].answer = lambda _: 200
    return both[1]


@pytest.fixture
async def sandbox(both: tuple[Sandbox, Listener], listener: Listener) -> Sandbox:
    await both[0].trouble()
    return both[0]
