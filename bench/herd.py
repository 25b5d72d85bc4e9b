"""05:00:00.000: all requests are due at the same instant. Open model: latency counts from the planned instant."""

import asyncio
from itertools import pairwise
from time import monotonic

from bench.check_in import CONNECTIONS as STEADY
from bench.check_in import herd, once, script_calls
from bench.load import SAMPLE_S, Job, Report
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, Scene, fire, staged
from clock.load.plots import Line, Plot

USERS, QUICK_USERS = 50_000, 15_000
CONNECTIONS = 2_000


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(USERS, QUICK_USERS), scale.of(3, 2)
    times, tails, steadies, ratios = [], [], [], []
    async with staged(**MORNING) as scene:
        port = await scene.serve("service")
        for _ in range(repetitions):
            steady = await once(scene, await herd(scene, port, users, STEADY))
            job = await herd(scene, port, users, CONNECTIONS)
            job.at_once, job.warm_up = True, 0
            report, batches = await _watched(scene, job)
            assert set(report.codes) == {"200 checked_in"}, report.codes
            steadies.append(steady.per_second)
            times.append(report.seconds)
            ratios.append(report.seconds / (users / steady.per_second))
            tails.append(report.kinds[0].percentiles)
    seconds = [(n * SAMPLE_S, count / SAMPLE_S) for n, count in enumerate(report.finished)]
    return Result(
        name="herd",
        targets=[
            target(
                f"the herd: {users:,} due at once on {CONNECTIONS:,} connections",
                "users ÷ steady throughput",
                ratios,
                "<=",
                1.3,
            )
        ],
        figures={
            "until the last is answered, s": spread(times),
            "steady throughput, requests/s": spread(steadies),
            **{f"{name} from the planned instant, ms": spread([tail[name] for tail in tails]) for name in tails[0]},
        },
        notes={"errors": "none: every answer was checked_in"},
        plots=[
            Plot(
                name="herd_latency",
                title="The herd: latency from the planned instant",
                x="percentile",
                y="ms",
                lines=[
                    Line("the herd", report.kinds[0].curve),
                    Line(f"{STEADY} connections, steady", steady.kinds[0].curve),
                ],
                percentiles=True,
                log_y=True,
            ),
            Plot(
                name="herd_rate", title="The herd: answers over time", x="s", y="answers/s", lines=[Line("", seconds)]
            ),
            Plot(
                name="herd_batches",
                title="The herd: users a call over time",
                x="s",
                y="users",
                lines=[Line("", batches)],
            ),
        ],
    )


async def _watched(scene: Scene, job: Job) -> tuple[Report, list[tuple[float, float]]]:
    """The report, and the mean users a call in each 50 ms, from Redis' own counters."""
    seen: list[tuple[float, int, int]] = []

    async def watch() -> None:
        began = monotonic()
        while True:
            totals = await scene.service.asking.totals.get(scene.yesterday, 1)
            seen.append((monotonic() - began, await script_calls(scene), totals.winners))
            await asyncio.sleep(SAMPLE_S)

    watcher: list[asyncio.Task[None]] = []
    report = await fire(job, lambda: watcher.append(asyncio.create_task(watch())))
    watcher[0].cancel()
    batches = [
        (at, (winners - before_winners) / (calls - before_calls))
        for (_, before_calls, before_winners), (at, calls, winners) in pairwise(seen)
        if calls > before_calls and winners > before_winners
    ]
    return report, batches
