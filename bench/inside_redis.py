"""Check-ins inside Redis, 128 users a call, against pipelined SET of as many keys. Same server, every write fsynced.

Both are prebuilt bytes on one socket with the same number of users in flight, so that the client costs little.
"""

import asyncio
import socket
from time import monotonic

import hiredis

from bench.check_in import ratios
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, VECTOR, Cpu, Scene, staged
from clock.game import keys
from clock.game.client.pipe import packed as command
from clock.game.gametime import SKEW_MS
from clock.game.scripts import load, of_users
from clock.load.plots import Line, Plot

IN_FLIGHT = 4
"""Script calls, or vectors of SETs, in flight."""

VECTORS = (1, 8, 32, 128, 256)


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(256_000, 64_000), scale.of(7, 3)
    sets: list[float] = []
    check_ins: list[float] = []
    costs: dict[str, list[float]] = {"SET": [], "check-in": []}
    async with staged(**MORNING) as scene:
        await scene.redis.execute_command("SCRIPT", "LOAD", load("check_in").source)
        for _ in range(repetitions):
            uids = scene.uids(users)
            sets.append(await _timed(scene, _sets(uids, VECTOR), VECTOR, users, costs["SET"]))
            check_ins.append(await _check_ins(scene, users, VECTOR, costs["check-in"]))
        curve = []
        for vector in VECTORS:
            # Whole vectors only, and as many calls as give a steady figure.
            count = scale.of(64_000, 16_000) // (8 if vector == 1 else 1) // vector * vector
            curve.append((float(vector), await _check_ins(scene, count, vector, [])))
    return Result(
        name="inside_redis",
        targets=[target("check-ins, 128 users a call", "pipelined SET", ratios(check_ins, sets), ">=", 0.65)],
        figures={
            "SET/s": spread(sets),
            "check-ins/s": spread(check_ins),
            "Redis' CPU µs a SET": spread(costs["SET"]),
            "Redis' CPU µs a check-in": spread(costs["check-in"]),
        },
        plots=[
            Plot(
                name="vectors",
                title="Check-ins a second inside Redis over users a call",
                x="users a call",
                y="check-ins/s",
                lines=[Line("one connection, 4 calls in flight", curve)],
                log_x=True,
            )
        ],
    )


async def _check_ins(scene: Scene, users: int, vector: int, costs: list[float]) -> float:
    """Check-ins a second of fresh members."""
    uids = scene.uids(users)
    await scene.members(scene.yesterday, uids)
    await scene.forget_outbox()
    script = load("check_in")
    names = keys.names(scene.yesterday, 0, script.nouns)
    packed, expected_ms = [], scene.service.time.now_ms()
    for start in range(0, users, vector):
        waited_ms = 0
        args = of_users(script, [(uid, waited_ms) for uid in uids[start : start + vector]])
        packed.append(command("EVALSHA", script.sha, len(names), *names, "", expected_ms, SKEW_MS, *args))
    return await _timed(scene, packed, 1, users, costs)


def _sets(uids: range, vector: int) -> list[bytes]:
    return [
        b"".join(command("SET", f"k{uid}", "C") for uid in uids[start : start + vector])
        for start in range(0, len(uids), vector)
    ]


async def _timed(scene: Scene, packed: list[bytes], replies: int, users: int, costs: list[float]) -> float:
    """Users a second; ``packed`` pieces each have so many replies. Redis' CPU µs a user go to ``costs``."""
    cpu = Cpu(scene.pids)
    seconds = await asyncio.to_thread(_talk, scene, packed, replies)
    costs.append(1e6 * cpu.used()["redis"] / users)
    return users / seconds


def _talk(scene: Scene, packed: list[bytes], replies: int) -> float:
    valkey = scene.valkey
    with socket.create_connection(("127.0.0.1", valkey.port)) as connection:
        connection.sendall(command("AUTH", valkey.password))
        assert connection.recv(100) == b"+OK\r\n"
        reader, waiting, sent = hiredis.Reader(), 0, 0
        began = monotonic()
        while sent < len(packed) or waiting:
            while sent < len(packed) and waiting <= (IN_FLIGHT - 1) * replies:
                connection.sendall(packed[sent])
                sent, waiting = sent + 1, waiting + replies
            reader.feed(connection.recv(262_144))
            while (reply := reader.gets()) is not False:
                if isinstance(reply, Exception):
                    raise reply
                assert reply == b"OK" or isinstance(reply[-1], int)
                waiting -= 1
        return monotonic() - began
