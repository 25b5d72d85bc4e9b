"""Whatever a server has lost, and whenever that is found: one command ends it, with every fen accounted for."""

import pytest

from clock.audit.mend import mend
from clock.config import Settings
from tests.conftest import DAY
from tests.flow.carried_on.stage import MOMENTS, Books, Server, agree, counted, to_the_end
from tests.flow.stage import People, Scripted, forget
from tests.model.world import new_world

pytestmark = pytest.mark.long


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("lost", ["redis", "books"])
async def test_one_command_ends_it(shared: Settings, lost: str, moment: str, shards: int) -> None:
    async with new_world(shared, shards=shards) as service:
        people = People(service)
        people.use(Scripted())
        await service.opener.open_round(DAY)
        server = Server(people) if lost == "redis" else Books(people)

        async def drained_and_saved() -> None:
            await people.drain()
            await server.save()

        await MOMENTS[moment](people, drained_and_saved)
        await people.drain()
        await server.go_back()
        forget(people)
        await mend(service, DAY)
        assert await counted(people) == []
        await to_the_end(people)
        await agree(people)
        found = await people.rows("SELECT count(*) AS claims FROM claims")
        assert found == [{"claims": 12}]
