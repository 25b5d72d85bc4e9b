"""drained: the position moves only from where it was read, to an entry that this server has."""

from tests.lua.stage import Stage


async def drained(stage: Stage, before: str, last_id: str, entries: int = 1) -> str:
    return str((await stage.call("drained", before=before, last_id=last_id, entries=entries))[0])


async def test_the_position_moves_on(stage: Stage) -> None:
    await stage.join(1)
    first = await stage.last_id()
    assert await drained(stage, "", first) == "drained"
    await stage.join(2)
    assert await drained(stage, f"{first} 1", await stage.last_id(), 2) == "drained"
    assert await stage.redis.get(stage.key("position")) == f"{await stage.last_id()} 2".encode()


async def test_not_from_another_position(stage: Stage) -> None:
    await stage.join(1)
    assert await drained(stage, "", await stage.last_id()) == "drained"
    async with stage.nothing_changes():
        assert await drained(stage, "", await stage.last_id()) == "moved"
        assert await drained(stage, "1-1 1", await stage.last_id()) == "moved"


async def test_not_to_an_entry_of_another_server(stage: Stage) -> None:
    await stage.join(1)
    async with stage.nothing_changes():
        assert await drained(stage, "", "9999999999999-0") == "moved"
        assert await drained(stage, "", "1-1") == "moved"


async def test_it_lives_as_long_as_the_round(stage: Stage) -> None:
    await stage.join(1)
    assert await drained(stage, "", await stage.last_id()) == "drained"
    await stage.redis.pexpire(stage.key("position"), 50_000)
    first = await stage.last_id()
    await stage.join(2)
    assert await drained(stage, f"{first} 1", await stage.last_id(), 2) == "drained"
    assert 0 < await stage.redis.pttl(stage.key("position")) <= 50_000
