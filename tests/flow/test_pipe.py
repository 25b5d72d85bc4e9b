"""The pipe: replies go to their callers in order, and trouble is told to those who wait, and to nobody later."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoReply

from clock.game.client.pipe import Pipe
from clock.game.client.pool import Pool
from tests.conftest import Servers

SOON = 5.0
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def pipe_to(url: str, seconds: float = SOON) -> Pipe:
    pool = Pool.of(url)
    return Pipe(pool, seconds, pool.doubt)


@pytest.fixture
async def pipe(servers: Servers, redis: Any) -> AsyncIterator[Pipe]:
    pipe = pipe_to(servers.redis_url)
    yield pipe
    await pipe.aclose()


async def stub(talk: Talk) -> tuple[asyncio.Server, str]:
    """A server that answers the greeting of the pipe and then does as ``talk`` says."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted = b""
        while greeted.count(b"SETINFO") < 2:
            greeted += await reader.read(4096)
        writer.write(b"+OK\r\n" * 2)
        asked = b""
        while b"server" not in asked:
            asked += await reader.read(4096)
        writer.write(b"$11\r\nrun_id:stub\r\n")
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    return server, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_each_caller_gets_the_reply_to_its_own_call(pipe: Pipe) -> None:
    texts = [f"{number:05}" * (1 + number % 700) for number in range(2_000)]
    assert await asyncio.gather(*(pipe.execute("ECHO", text) for text in texts)) == [text.encode() for text in texts]


async def test_errors_of_redis_are_told_apart_and_disturb_nobody_else(pipe: Pipe) -> None:
    calls = [
        pipe.execute("EVALSHA", "0" * 40, 0),
        pipe.execute("ECHO", "a"),
        pipe.execute("INCR"),
        pipe.execute("ECHO", 1),
    ]
    unknown, echoed, wrong, number = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(unknown, NoScriptError)
    assert isinstance(wrong, ResponseError) and not isinstance(wrong, NoScriptError)
    assert (echoed, number) == (b"a", b"1")


async def test_a_caller_who_leaves_does_not_shift_the_replies(pipe: Pipe) -> None:
    await pipe.execute("PING")
    calls = [asyncio.create_task(pipe.execute("ECHO", number)) for number in range(50)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    assert [await call for call in calls[1::2]] == [b"%d" % number for number in range(1, 50, 2)]
    assert await pipe.execute("ECHO", "after") == b"after"


async def test_a_connection_that_is_killed_fails_who_waits_and_the_next_call_works(pipe: Pipe, redis: Any) -> None:
    own = await pipe.execute("CLIENT", "ID")
    waiting = asyncio.create_task(pipe.execute("BLPOP", "never", 0))
    while b"blpop" not in (await redis.execute_command("CLIENT", "LIST", "ID", own)).lower():
        await asyncio.sleep(0.01)
    await redis.execute_command("CLIENT", "KILL", "ID", own)
    with pytest.raises(LostConnection):
        await asyncio.wait_for(waiting, SOON)
    assert await pipe.execute("ECHO", "again") == b"again"
    assert await pipe.execute("CLIENT", "ID") != own


async def test_a_server_that_stays_silent_is_left_after_a_while() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass

    server, url = await stub(silent)
    pipe = pipe_to(url, 0.2)
    for _ in range(2):
        calls: list[Any] = [pipe.execute("PING") for _ in range(3)]
        for end in await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), SOON):
            assert isinstance(end, NoReply)
    await pipe.aclose()
    server.close()


@pytest.mark.parametrize("reply", [b"?nonsense\r\n", b"+one\r\n+one too many\r\n", b"-READONLY a replica now\r\n"])
async def test_a_connection_in_doubt_is_dropped(reply: bytes) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(4096)
        writer.write(reply)
        await reader.read()

    server, url = await stub(talk)
    pipe = pipe_to(url)
    for number in (1, 2):
        with pytest.raises(RedisError) if not reply.startswith(b"+") else pytest.raises(AssertionError):
            assert await asyncio.wait_for(pipe.execute("PING"), SOON) is None
        assert connections == number
        await asyncio.sleep(0.05)
    await pipe.aclose()
    server.close()
