"""Settling a round of a million winners, against a bare COPY of a million packets and a bare pipelined RPUSH of them.

A quarter as many members did not check in.
"""

import asyncio
import random
import socket
from itertools import pairwise
from time import monotonic

import hiredis
import psycopg
from psycopg import sql

from bench.check_in import ratios
from bench.closing import write_books
from bench.measure import Result, Scale, spread, target
from bench.scene import SETTLED, Scene, staged
from bench.settler import ended
from clock.game.client.pipe import packed

CHUNK = 500


async def run(scale: Scale) -> Result:
    winners, repetitions = scale.of(1_000_000, 200_000), scale.of(3, 2)
    whole, steps, bare, holds, sizes = [], [], [], [], []
    parts: dict[str, list[float]] = {name: [] for name in ("close", "seal", "split", "publish", "open claiming")}
    for _ in range(repetitions):
        async with staged(**SETTLED) as scene:
            await write_books(scene, winners * 5 // 4, winners)
            await scene.redis.config_set("slowlog-log-slower-than", 200)
            await scene.redis.config_set("slowlog-max-len", 100_000)
            await scene.redis.slowlog_reset()
            took = await ended(scene, "settle")
            holds.append(await _longest_hold(scene))
            at = took.states
            for name, seconds in zip(parts, _differences(at), strict=True):
                parts[name].append(seconds)
            whole.append(at["settled"])
            steps.append(at["published"] - at["sealed"])
            sizes.append(took.most_mib)
            bare.append(await _bare(scene, winners))
    return Result(
        name="settle",
        targets=[
            target(
                f"split, manifest and publishing of {winners:,} packets",
                "bare COPY and RPUSH",
                ratios(steps, bare),
                "<=",
                2.0,
            ),
            target("the longest hold of Redis in settlement", "–", holds, "<=", 5.0, "ms"),
            target("the worker's largest size in settlement", "–", sizes, "<=", 500.0, "MiB"),
        ],
        figures={
            "from open to settled, s": spread(whole),
            "bare COPY and RPUSH, s": spread(bare),
            **{f"{name}, s": spread(seconds) for name, seconds in parts.items()},
        },
    )


def _differences(at: dict[str, float]) -> list[float]:
    times = [0.0, *(at[state] for state in ("closed", "sealed", "split", "published", "settled"))]
    return [after - before for before, after in pairwise(times)]


async def _longest_hold(scene: Scene) -> float:
    """Duration of the longest Redis command in ms, without the SLOWLOG commands themselves."""
    slow = await scene.redis.slowlog_get(100_000)
    return float(max([0, *(one["duration"] for one in slow if not one["command"].startswith(b"SLOWLOG"))]) / 1000)


async def _bare(scene: Scene, winners: int) -> float:
    """Seconds for a COPY of so many packets, and for pushing them in chunks, from prepared bytes."""
    fens = [random.randrange(1, 50) for _ in range(winners)]
    day = scene.yesterday.isoformat()
    data = "".join(f"{day}\t0\t{index}\t{fen}\n" for index, fen in enumerate(fens)).encode()
    pushes = [packed("RPUSH", "bare", *fens[start : start + CHUNK]) for start in range(0, winners, CHUNK)]
    async with await psycopg.AsyncConnection.connect(scene.settings.database_url) as connection:
        source = sql.Identifier(scene.partition("packets"))
        await connection.execute(sql.SQL("CREATE TABLE bare_packets (LIKE {} INCLUDING ALL)").format(source))
        await connection.commit()
        began = monotonic()
        async with connection.cursor().copy("COPY bare_packets FROM STDIN") as copy:
            await copy.write(data)
        await connection.commit()
        copied = monotonic() - began
    return copied + await asyncio.to_thread(_push, scene, pushes)


def _push(scene: Scene, pushes: list[bytes]) -> float:
    valkey = scene.valkey
    with socket.create_connection(("127.0.0.1", valkey.port)) as connection:
        connection.sendall(packed("AUTH", valkey.password))
        assert connection.recv(100) == b"+OK\r\n"
        reader, answered = hiredis.Reader(), 0
        began = monotonic()
        for start in range(0, len(pushes), 8):
            connection.sendall(b"".join(pushes[start : start + 8]))
            while answered < min(len(pushes), start + 8):
                reader.feed(connection.recv(65_536))
                while reader.gets() is not False:
                    answered += 1
        return monotonic() - began
