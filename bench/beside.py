"""What others ask while everybody checks in: the page, the same again (304), and a scrape of ``/metrics``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import aiohttp

from bench.check_in import CONNECTIONS, herd, once
from bench.load import percentile
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, Scene, staged

PATHS = ("/", "/ again", "/metrics")
PAUSE_S = 0.1
"""Between two questions about one path: a scrape is far more seldom, a first opening of the page is not."""


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(60_000, 30_000), scale.of(5, 3)
    waits: dict[str, list[float]] = {path: [] for path in PATHS}
    alone, beside = [], []
    async with staged(**MORNING) as scene:
        port = await scene.serve("service")
        for _ in range(repetitions):
            alone.append((await once(scene, await herd(scene, port, users, CONNECTIONS))).kinds[0].percentiles["p99"])
            job = await herd(scene, port, users, CONNECTIONS)
            async with _asking(scene, port, waits):
                beside.append((await once(scene, job)).kinds[0].percentiles["p99"])
    ratios = [one / other for one, other in zip(beside, alone, strict=True)]
    return Result(
        name="beside",
        targets=[target("check-in beside the page and /metrics, p99", "alone", ratios, "<=", 1.25)],
        figures={
            "check-in alone, p99, ms": spread(alone),
            "check-in beside them, p99, ms": spread(beside),
            **{
                f"{path}, {name}, ms": spread([percentile(sorted(waits[path]), percent)])
                for path in PATHS
                for name, percent in (("p50", 50.0), ("p99", 99.0))
            },
        },
    )


@asynccontextmanager
async def _asking(scene: Scene, port: int, waits: dict[str, list[float]]) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.get("/") as reply:
            tag = reply.headers["etag"]
        token = {"authorization": f"Bearer {scene.settings.metrics_token}"}
        asked = {"/": {}, "/ again": {"if-none-match": tag}, "/metrics": token}
        tasks = [asyncio.create_task(_ask(session, path, asked[path], waits[path])) for path in PATHS]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(session: aiohttp.ClientSession, path: str, headers: dict[str, str], waits: list[float]) -> None:
    while True:
        began = monotonic()
        async with session.get(path.partition(" ")[0], headers=headers) as reply:
            assert reply.status in (200, 304), (path, reply.status)
            await reply.read()
        waits.append(1000 * (monotonic() - began))
        await asyncio.sleep(PAUSE_S)
