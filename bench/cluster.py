"""Check-in over HTTP on three primaries with eight shards, against one server with one shard; what waiting for replicas
costs there; and one node with the connections of a hundred API processes, against those of two."""

import asyncio
import selectors
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic

import hiredis

from bench.check_in import CONNECTIONS, herd, once, ratios
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, VECTOR, Cpu, Scene, staged, staged_on
from clock.game import keys
from clock.game.client.pipe import packed
from clock.game.gametime import SKEW_MS
from clock.game.scripts import load, of_users
from clock.runtime import embedded
from tests.cluster import cluster

SHARDS = 8
FEW, MANY = 2, 100
"""API processes, each with a connection and one call in flight."""


class Runs:
    """Repetitions of one side of a ratio."""

    def __init__(self, scene: Scene, port: int, role: str) -> None:
        self.scene, self.port, self.role = scene, port, role
        self.speeds: list[float] = []
        self.api_us: list[float] = []
        """CPU of the API's processes, by request."""
        self.redis_us: list[float] = []
        """CPU of all primaries, by request."""

    async def once(self, count: int) -> None:
        job = await herd(self.scene, self.port, count, CONNECTIONS)
        cpu = Cpu(self.scene.pids)
        report = await once(self.scene, job)
        used = cpu.used()
        self.speeds.append(report.per_second)
        self.api_us.append(1e6 * used[self.role] / count)
        self.redis_us.append(1e6 * sum(used[role] for role in used if role.startswith("redis")) / count)

    @property
    def both_us(self) -> list[float]:
        return [api + redis for api, redis in zip(self.api_us, self.redis_us, strict=True)]


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(30_000, 6_000), scale.of(5, 2)
    async with staged(**MORNING) as scene:
        async with _on_cluster((0, 0, 0)) as three:
            sides = [Runs(each, await each.serve("service"), "service") for each in (scene, three)]
            one, spread_out = await _in_turns(sides, users, repetitions)
        nodes = {count: [await _node(scene, count, scale) for _ in range(repetitions)] for count in (FEW, MANY)}
    async with _on_cluster((1, 1, 1)) as six:
        sides = [Runs(six, await six.serve("service", mode, durability=mode), mode) for mode in ("fsync", "replica")]
        alone, safe = await _in_turns(sides, users, repetitions)
    named = {"one server": one, "three primaries": spread_out, "three with replicas": alone, "replica": safe}
    return Result(
        name="cluster",
        targets=[
            target(
                "CPU of API and Redis a check-in, 3 primaries and 8 shards",
                "1 server and 1 shard",
                ratios(spread_out.both_us, one.both_us),
                "<=",
                1.15,
            ),
            target(
                f"check-ins a second in one node, {MANY} API processes",
                f"{FEW} API processes",
                ratios(nodes[MANY], nodes[FEW]),
                ">=",
                0.8,
            ),
        ],
        figures={
            **{f"{name}, requests/s": spread(runs.speeds) for name, runs in named.items()},
            **{f"{name}, API's CPU µs a request": spread(runs.api_us) for name, runs in named.items()},
            **{f"{name}, Redis' CPU µs a request": spread(runs.redis_us) for name, runs in named.items()},
            "CLOCK_DURABILITY=replica, requests/s against fsync": spread(ratios(safe.speeds, alone.speeds)),
            "CLOCK_DURABILITY=replica, CPU against fsync": spread(ratios(safe.both_us, alone.both_us)),
            **{f"{count} API processes, check-ins/s in one node": spread(values) for count, values in nodes.items()},
        },
    )


@asynccontextmanager
async def _on_cluster(replicas: Sequence[int]) -> AsyncIterator[Scene]:
    with embedded.scratch() as data_dir:
        async with cluster(data_dir, replicas) as nodes:
            primaries = await nodes.primaries()
            pids = {f"redis{number}": nodes.processes[node].pid for number, node in enumerate(primaries)}
            async with staged_on(nodes.url, pids, shards=SHARDS, **MORNING) as scene:
                yield scene


async def _in_turns(sides: list[Runs], users: int, repetitions: int) -> list[Runs]:
    for _ in range(repetitions):
        for side in sides:
            await side.once(users)
    return sides


async def _node(scene: Scene, connections: int, scale: Scale) -> float:
    """Check-ins a second of fresh members, :data:`VECTOR` a call, with so many connections."""
    uids = scene.uids(scale.of(256_000, 51_200))
    await scene.members(scene.yesterday, uids)
    await scene.forget_outbox()
    script = load("check_in")
    await scene.redis.execute_command("SCRIPT", "LOAD", script.source)
    names = keys.names(scene.yesterday, 0, script.nouns)
    calls = []
    for start in range(0, len(uids), VECTOR):
        args = of_users(script, [(uid, 0) for uid in uids[start : start + VECTOR]])
        now_ms = scene.service.time.now_ms()
        calls.append(packed("EVALSHA", script.sha, len(names), *names, "", now_ms, SKEW_MS, *args))
    return len(uids) / await asyncio.to_thread(_talk, scene, calls, connections)


def _talk(scene: Scene, calls: list[bytes], connections: int) -> float:
    """Seconds until all calls are answered; each connection sends its next one when its last is."""
    poll, waiting = selectors.DefaultSelector(), iter(calls)
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", scene.valkey.port))
        connection.sendall(packed("AUTH", scene.valkey.password))
        assert connection.recv(100) == b"+OK\r\n"
        poll.register(connection, selectors.EVENT_READ, hiredis.Reader())
    began, answered = monotonic(), 0
    for key in list(poll.get_map().values()):
        key.fileobj.sendall(next(waiting))  # type: ignore[union-attr]
    while answered < len(calls):
        for key, _ in poll.select():
            key.data.feed(key.fileobj.recv(262_144))  # type: ignore[union-attr]
            if (reply := key.data.gets()) is False:
                continue
            assert isinstance(reply[-1], int), reply
            answered += 1
            if call := next(waiting, b""):
                key.fileobj.sendall(call)  # type: ignore[union-attr]
    seconds = monotonic() - began
    for key in list(poll.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    return seconds
