"""One round is played for the tests of a file; each test finds it as it ended."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from clock.payments import outgoing
from tests.flow.reconcile.channels import Stage, staged
from tests.flow.reconcile.stage import Ended, play
from tests.flow.stage import People, sandbox
from tests.model.world import new_world


@pytest.fixture(scope="module")
async def played(shared: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ended]:
    path = tmp_path_factory.mktemp("provider") / "sandbox.sqlite"
    async with (
        sandbox(path) as channel,
        new_world(shared, fee_bps=1000, platform_url="http://provider") as service,
    ):
        people = People(service)
        people.use(channel)
        await play(people, channel)
        await people.finish()
        while await outgoing.send_some(service.store, service.channels):
            pass
        ended = Ended(people, channel)
        await ended.save()
        yield ended


@pytest.fixture
async def ended(played: Ended) -> AsyncIterator[Ended]:
    await played.restore()
    yield played


@pytest.fixture
async def stage(shared: Settings) -> AsyncIterator[Stage]:
    async with staged(shared) as stage:
        yield stage
