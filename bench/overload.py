"""Twice what it can carry, for a minute: what it still does, how the rest is refused, and whether anything grows.

An open model on so many connections that the generator never waits for one. Users repeat, so that most answers are a
replay's; capacity is measured with the same ones.
"""

import asyncio

from bench.check_in import CONNECTIONS as STEADY
from bench.check_in import herd, once
from bench.load import Job, Report, side
from bench.measure import Line, Plot, Result, Scale, spread, target
from bench.stack import MORNING, Cpu, Scene, Stack, fire, rss_mib

USERS = 40_000
CONNECTIONS = 6_000
DONE = {"200 checked_in", "200 already_checked_in"}
REFUSED = "503 busy"


async def run(stack: Stack, scale: Scale) -> Result:
    result = Result(name="overload")
    async with stack.scene(**MORNING) as scene:
        port = await scene.serve("service")
        job = await herd(scene, port, USERS, STEADY)
        await once(scene, job)
        job.warm_up = 0
        before = await _capacity(job, scale)
        for factor, seconds in ((1.25, scale.of(20, 5)), (2.0, scale.of(60, 10))):
            job.count, job.rate, job.connections = int(factor * before * seconds), factor * before, CONNECTIONS
            job.most_s = 1.5 * seconds
            report, sizes, cpu = await _watched(scene, job)
            assert set(report.codes) <= {*DONE, REFUSED} and not report.lost, (report.codes, report.lost)
            assert report.retry_after == report.codes.get(REFUSED, 0)
            after = await _capacity(job, scale)
            _note(result, factor, (before + after) / 2, report, sizes, cpu)
    result.figures["capacity before and after, requests/s"] = spread([before, after])
    return result


def _note(
    result: Result, factor: float, capacity: float, report: Report, sizes: list[float], cpu: dict[str, float]
) -> None:
    load = f"{factor:g} times the load"
    kept = sum(report.codes.get(code, 0) for code in DONE) / report.seconds
    refusals = report.by_code.get(REFUSED) or side([])
    if factor == 2.0:
        third = max(1, len(sizes) // 3)
        growth = max(sizes[-third:]) / max(sizes[:third])
        result.targets = [
            target(f"answers a second at {load}", "at capacity", [kept / capacity], ">=", 0.9),
            target(f"refusals at {load}, p99", "–", [refusals.percentiles["p99"]], "<=", 100.0, "ms"),
            target(f"the API's size after {load}", "at its beginning", [growth], "<=", 1.05),
        ]
        lines = [Line(code, side.curve) for code, side in report.by_code.items()]
        title = "Twice the load: latency from the planned instant"
        result.plots = [
            Plot(name="overload", title=title, x="percentile", y="ms", lines=lines, percentiles=True, log_y=True)
        ]
    result.figures |= {
        f"{load}: sent, of what was planned": spread([report.answered / (report.answered + report.unsent)]),
        f"{load}: done, of capacity": spread([kept / capacity]),
        f"{load}: refused with 503 and Retry-After, of capacity": spread(
            [refusals.answered / report.seconds / capacity]
        ),
        **{
            f"{load}: refusals, {name}, ms from the planned instant": spread([ms])
            for name, ms in refusals.percentiles.items()
        },
        **{f"{load}: {part}, CPU µs a request sent": spread([1e6 * s / report.answered]) for part, s in cpu.items()},
        f"{load}: the generator, CPU µs a request sent": spread([1e6 * report.cpu_s / report.answered]),
        f"{load}: the API's processes, MiB": spread(sizes),
    }


async def _capacity(job: Job, scale: Scale) -> float:
    """Requests a second in a closed loop, users repeating."""
    count = scale.of(120_000, 40_000)
    report = await fire(Job(port=job.port, requests=job.requests, count=count, connections=STEADY, warm_up=count // 5))
    return report.per_second


async def _watched(scene: Scene, job: Job) -> tuple[Report, list[float], dict[str, float]]:
    """The report, the API's size each second, and the CPU seconds that each part took."""
    sizes: list[float] = []

    async def watch() -> None:
        while True:
            sizes.append(rss_mib(scene.stack.pids["service"]))
            await asyncio.sleep(1)

    watcher: list[asyncio.Task[None]] = []
    cpu = Cpu(scene.stack.pids)
    report = await fire(job, lambda: watcher.append(asyncio.create_task(watch())))
    used = cpu.used()
    watcher[0].cancel()
    return report, sizes, {part: used[part] for part in ("service", "redis")}
