"""Check-in over HTTP, beside compiled servers with the same script on the same Redis, in turns in the same run.

A peer that is not installed is left out; the result's notes say what it needs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from bench.check_in import herd, once, ratios
from bench.measure import Result, Scale, spread, target
from bench.peers.servers import PATH, WAYS, build, missing, start_go, start_nginx
from bench.scene import MORNING, Cpu, Scene, bearer, staged
from clock.domain.outcomes import Answer, envelope
from clock.game import keys

NAMES = {
    "service": "service",
    "bare": "bare ASGI handler",
    "pool": "Go, fasthttp, EVALSHA a request, pool of 64",
    "pipelined": "Go, fasthttp, EVALSHA a request, pipelined",
    "vectors": "Go, fasthttp, vectors",
    "nginx": "nginx with Lua, EVALSHA a request, no token",
}
REACH = {
    512: {"bare": 1.2, "pool": 2.0, "pipelined": 1.5, "nginx": 1.8, "vectors": 0.95},
    64: {"bare": 0.8, "pool": 1.5, "pipelined": 1.3, "nginx": 1.3, "vectors": 0.9},
}
"""By connections: the service's requests/s ÷ a peer's."""

SEEN_TRIES, SEEN_SECONDS = 40, 0.05
"""How often, and how far apart, a server is asked whether it knows the pool, which it may know 250 ms later."""


async def run(scale: Scale) -> Result:
    users, rounds = scale.of(20_000, 6_000), scale.of(4, 2)
    with TemporaryDirectory(prefix="clock-peers-") as folder:
        async with staged(**MORNING) as scene:
            ports = {which: await scene.serve(which) for which in ("service", "bare")}
            notes = await start_peers(scene, Path(folder), ports)
            await prove(scene, {which: port for which, port in ports.items() if which != "bare"})
            speeds: dict[tuple[int, str], list[float]] = {(size, which): [] for size in REACH for which in ports}
            costs: dict[tuple[int, str], list[float]] = {key: [] for key in speeds}
            for _ in range(rounds):
                for size, which in speeds:
                    speed, cost = await _measured(scene, which, ports[which], users, size)
                    speeds[size, which].append(speed)
                    costs[size, which].append(cost)
    sides = [(size, which, f"{NAMES[which]}, {size} connections") for size, which in speeds]
    return Result(
        name="peers",
        targets=[
            target(
                f"check-in over HTTP, {size} connections",
                NAMES[which],
                ratios(speeds[size, "service"], speeds[size, which]),
                ">=",
                REACH[size][which],
            )
            for size, which in speeds
            if which != "service"
        ],
        figures={
            **{f"{name}, requests/s": spread(speeds[size, which]) for size, which, name in sides},
            **{f"{name}, the server's CPU µs a request": spread(costs[size, which]) for size, which, name in sides},
        },
        notes=notes,
    )


async def start_peers(scene: Scene, folder: Path, ports: dict[str, int]) -> dict[str, str]:
    """Start what is installed, and add it to ``ports``; what is left out, and why."""
    notes = {f"left out: {tool}": lacking for tool in ("Go", "nginx") if (lacking := missing(tool))}
    if "left out: Go" not in notes:
        program = await build(folder)
        for way in WAYS:
            ports[way] = await start_go(scene, program, way)
    if "left out: nginx" not in notes:
        ports["nginx"] = await start_nginx(scene, folder)
    return notes


async def _measured(scene: Scene, which: str, port: int, users: int, size: int) -> tuple[float, float]:
    """Requests/s, and the server's CPU µs a request; every user is a winner in Redis afterwards."""
    job = await herd(scene, port, users, size)
    before, cpu = await _winners(scene), Cpu(scene.pids)
    report = await once(scene, job)
    cost = 1e6 * cpu.used()[which] / users
    assert await _winners(scene) - before == (0 if which == "bare" else users), which
    return report.per_second, cost


async def _winners(scene: Scene) -> int:
    return int(await scene.redis.hget(keys.name(scene.yesterday, 0, "totals"), "winners") or 0)


async def prove(scene: Scene, ports: dict[str, int]) -> None:
    """Every server plays the same game: the same words, the same bytes, and the user is a winner in Redis."""
    *members, stranger = scene.uids(len(ports) + 1)
    await scene.members(scene.yesterday, members)
    pool_fen = int(await scene.redis.hget(keys.name(scene.yesterday, 0, "totals"), "pool_fen"))
    again = envelope(Answer("already_checked_in", {"money": pool_fen}), "check_in", "zh")
    async with aiohttp.ClientSession() as session:
        for (which, port), uid in zip(ports.items(), members, strict=True):
            ask = partial(_ask, session, port)
            assert (await ask(uid, uid))[1].startswith(b'{"status":1,"code":"checked_in",'), which
            assert (await scene.redis.hget(keys.name(scene.yesterday, 0, "members"), uid)).startswith(b"C"), which
            assert await _seen(ask, uid, again), which
            assert await ask(stranger, stranger) == (200, envelope(Answer("not_joined"), "check_in", "zh")), which
            if which != "nginx":
                assert (await ask(uid, stranger))[0] == 403, which
                assert (await ask(uid, uid, "broken"))[0] == 401, which


async def _seen(ask: Callable[[int, int], Awaitable[tuple[int, bytes]]], uid: int, expected: bytes) -> bool:
    for _ in range(SEEN_TRIES):
        if await ask(uid, uid) == (200, expected):
            return True
        await asyncio.sleep(SEEN_SECONDS)
    return False


async def _ask(session: aiohttp.ClientSession, port: int, uid: int, caller: int, tail: str = "") -> tuple[int, bytes]:
    """Status and body of ``uid``'s check-in with the token of ``caller``, which ``tail`` may spoil."""
    headers = {"authorization": bearer(caller)["authorization"] + tail}
    async with session.post(f"http://127.0.0.1:{port}{PATH}", json={"uid": uid}, headers=headers) as response:
        return response.status, await response.read()
