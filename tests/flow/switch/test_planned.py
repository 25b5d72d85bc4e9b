"""An address that means another server now, or that has forgotten its connections: back within two seconds."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as NoReply

from clock.game import keys
from clock.game.client import pipe as pipe_file
from clock.game.client.calls import connect
from clock.game.client.node import Node
from clock.game.client.pipe import PROBE_SECONDS, Pipe
from clock.game.client.pool import COMMAND_SECONDS
from tests.conftest import DAY, Api
from tests.flow.pair import Address, Pair
from tests.flow.postgres_at_work.stage import Stopwatch
from tests.flow.stage import working
from tests.flow.switch.stage import books_have, is_primary, says, seconds_until

pytestmark = pytest.mark.long

SECONDS = 6.0
"""Two are meant. The machine may be busy."""


async def by_failover(two: Pair) -> None:
    """The planned switch. The demoted primary keeps its connections and answers READONLY."""
    await two.redis.execute_command("FAILOVER")
    await seconds_until(lambda: is_primary(two.copy), 20)


async def by_replicaof(two: Pair) -> None:
    await two.copy.execute_command("REPLICAOF", "NO", "ONE")
    await two.redis.execute_command("REPLICAOF", "127.0.0.1", two.replica.port)


async def play_to_six(api: Api, uids: range) -> None:
    await api.send("PUT", "/dev/time", {"now": "2026-11-22T20:00:00+08:00"})
    await asyncio.gather(*(api.member(uid) for uid in uids))
    await api.send("PUT", "/dev/time", {"now": "2026-11-23T06:00:00+08:00"})
    await seconds_until(lambda: books_have(api.settings, "members", uids[-1]), 20)


async def everything_is_back(api: Api, redis: Any, uid: int) -> dict[str, float]:
    """After how many seconds a user is checked in, another orders, the worker's heart beats, and the books follow.
    ``redis`` is the server that the address means now."""
    extra = {"mobile": "13800000001", "nickname": "a", "openId": "a"}
    await redis.delete(keys.HEARTBEAT)

    async def checked_in() -> bool:
        return await says(api, "/api/check-in", uid) in ("checked_in", "already_checked_in")

    async def ordered() -> bool:
        return await says(api, "/api/join", uid + 100, extra=extra) in ("ordered", "order_pending")

    async def drained() -> bool:
        return await books_have(api.settings, "check_ins", uid)

    async def beats() -> bool:
        return bool(await redis.exists(keys.HEARTBEAT))

    parts = {"check-in": checked_in, "join": ordered, "heartbeat": beats, "books": drained}
    waited = await asyncio.gather(*(seconds_until(part, SECONDS + 10) for part in parts.values()))
    return dict(zip(parts, waited, strict=True))


@pytest.mark.parametrize("switch", [by_failover, by_replicaof])
@pytest.mark.parametrize("durability", ["fsync", "replica"])
async def test_a_planned_switch_is_followed_though_no_connection_is_cut(
    api: Api, two: Pair, address: Address, switch: Callable[[Pair], Awaitable[None]], durability: str
) -> None:
    async with working(api.settings) as worker:
        await play_to_six(api, range(1, 4))
        await switch(two)
        address.to_port = two.replica.port
        waited = await everything_is_back(api, two.copy, 1)
        print(switch.__name__, durability, {part: round(seconds, 1) for part, seconds in waited.items()})
        assert max(waited.values()) < SECONDS
        assert worker.returncode is None  # the same process, all the time
        assert await two.copy.hget(keys.name(DAY, 0, "members"), 1)


async def test_forgotten_connections_are_left_behind(api: Api, two: Pair, address: Address) -> None:
    async with working(api.settings) as worker:
        await play_to_six(api, range(1, 4))
        address.forget()
        waited = await everything_is_back(api, two.redis, 1)
        print("forgotten", {part: round(seconds, 1) for part, seconds in waited.items()})
        assert max(waited.values()) < SECONDS
        assert worker.returncode is None  # the same process, all the time


# -- the pool


@pytest.fixture
async def client(url: str) -> AsyncIterator[Node]:
    client: Any = connect(url)
    yield client
    await client.aclose()


async def ports(client: Any, count: int) -> set[int]:
    """Which servers answer so many commands at once."""
    found = await asyncio.gather(*(client.info("server") for _ in range(count)))
    return {one["tcp_port"] for one in found}


async def by_command(client: Any) -> None:
    with pytest.raises(ReadOnlyError):
        await client.set("a", 1)


async def by_pipeline(client: Any) -> None:
    pipeline = client.pipeline(transaction=False)
    pipeline.get("a")
    pipeline.set("a", 1)
    assert isinstance((await pipeline.execute(raise_on_error=False))[1], ReadOnlyError)


async def by_transaction(client: Any) -> None:
    """As arq does, which passes over the error."""
    pipeline = client.pipeline(transaction=True)
    pipeline.set("a", 1)
    with pytest.raises(RedisError):
        await pipeline.execute()


async def by_script(client: Any) -> None:
    with pytest.raises(ReadOnlyError):
        await client.eval("#!lua\nreturn redis.call('SET', KEYS[1], 1)", 1, "a")


@pytest.mark.parametrize("told", [by_command, by_pipeline, by_transaction, by_script])
async def test_one_answer_of_a_demoted_primary_is_enough(
    client: Any, two: Pair, address: Address, told: Callable[[Any], Awaitable[None]]
) -> None:
    assert await ports(client, 5) == {two.primary.port}
    await client.eval("return 1", 0)
    await by_replicaof(two)
    address.to_port = two.replica.port
    assert await ports(client, 5) == {two.primary.port}  # nobody has said anything yet
    await told(client)
    assert await ports(client, 5) == {two.replica.port}
    await client.set("a", 1)
    await client.eval("return redis.call('SET', KEYS[1], 2)", 1, "a")
    assert await two.copy.get("a") == b"2"


async def test_one_silent_connection_of_the_pool_is_enough(client: Any, address: Address) -> None:
    await ports(client, 5)
    address.forget()
    async with Stopwatch() as watch:
        with pytest.raises(NoReply):
            await client.get("a")
        assert watch.seconds() < COMMAND_SECONDS + 1
    async with Stopwatch() as watch:
        await ports(client, 5)
        assert watch.seconds() < COMMAND_SECONDS


# -- the pipe


@pytest.fixture
async def pipe(client: Node) -> Pipe:
    pipe = client._pipe
    assert await pipe.execute("ECHO", 1) == b"1"
    return pipe


async def test_a_forgotten_pipe_is_noticed_by_asking_the_server(pipe: Pipe, address: Address) -> None:
    address.forget()
    async with Stopwatch() as watch:
        calls = [asyncio.create_task(pipe.execute("ECHO", number)) for number in range(3)]
        for end in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(end, NoReply)
        assert PROBE_SECONDS * 0.9 <= watch.seconds() < PROBE_SECONDS + 1
    assert await pipe.execute("ECHO", 2) == b"2"


async def test_an_idle_pipe_is_tried_so_that_the_first_call_finds_it_alive(
    url: str, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe_file, "KEEP_SECONDS", 0.2)
    client: Any = connect(url)
    await client.eval("return 1", 0)
    forgotten = client._pipe._transport
    address.forget()
    async with asyncio.timeout(10):
        while client._pipe._transport is forgotten:
            await asyncio.sleep(0.02)
    async with Stopwatch() as watch:
        assert await client.eval("return 2", 0) == 2
        assert watch.seconds() < PROBE_SECONDS / 2
    await client.aclose()


async def test_idle_connections_are_kept_alive_by_the_system(client: Any) -> None:
    await client.eval("return 1", 0)
    pooled = await client.connection_pool.get_connection()
    for transport in (client._pipe._transport, pooled._writer.transport):
        connection = transport.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
    await client.connection_pool.release(pooled)


async def test_a_slow_server_is_waited_for(pipe: Pipe, two: Pair) -> None:
    """As one that waits for its disk: it answers no other connection either."""
    os.kill(two.first.pid, signal.SIGSTOP)
    try:
        call = asyncio.create_task(pipe.execute("ECHO", "late"))
        await asyncio.sleep(3 * PROBE_SECONDS + 0.5)
        assert not call.done()
    finally:
        os.kill(two.first.pid, signal.SIGCONT)
    assert await call == b"late"


async def test_who_waits_for_a_connection_shares_its_failure(pipe: Pipe, two: Pair, address: Address) -> None:
    """A server that takes connections and says nothing: sixteen callers do not try one after the other."""
    address.forget()
    await asyncio.gather(pipe.execute("ECHO", 1), return_exceptions=True)
    os.kill(two.first.pid, signal.SIGSTOP)
    try:
        async with Stopwatch() as watch:
            calls: list[Any] = [pipe.execute("ECHO", number) for number in range(16)]
            for end in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(end, RedisError)
            assert watch.seconds() < COMMAND_SECONDS + 1
    finally:
        os.kill(two.first.pid, signal.SIGCONT)
    assert await pipe.execute("ECHO", 3) == b"3"
