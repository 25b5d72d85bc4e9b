"""Overload: twice the capacity. How much throughput remains, how refusals behave, and whether memory grows.

Open model. The capacity is measured in a closed loop on the same number of connections, because a request costs more
with thousands of them than with hundreds (docs/capacity.md). Users repeat, so most answers are replays.
"""

import asyncio

from bench.check_in import herd, once
from bench.load import Job, Report, side
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, Cpu, Scene, fire, rss_mib, staged
from clock.load.plots import Line, Plot

USERS = 40_000
CONNECTIONS = 6_000
MORE_CONNECTIONS = 17_500
"""More than both API processes together let in at once."""
DONE = {"200 checked_in", "200 already_checked_in"}
REFUSED = "503 busy"


async def run(scale: Scale) -> Result:
    result, capacities = Result(name="overload"), []
    kept: list[float] = []
    growth: list[float] = []
    async with staged(**MORNING) as scene:
        port = await scene.serve("service")
        job = await herd(scene, port, USERS, CONNECTIONS)
        await once(scene, job)
        job.warm_up = 0
        loads = [
            (1.25, CONNECTIONS, scale.of(20, 5)),
            *[(2.0, CONNECTIONS, scale.of(60, 10))] * scale.of(3, 1),
            (2.0, MORE_CONNECTIONS, scale.of(20, 8)),
        ]
        for factor, connections, seconds in loads:
            before = await _capacity(job, scale)
            job.count, job.rate, job.connections = int(factor * before * seconds), factor * before, connections
            job.most_s = 1.5 * seconds
            report, sizes, cpu = await _watched(scene, job)
            assert set(report.codes) <= {*DONE, REFUSED} and not report.lost, (report.codes, report.lost)
            assert report.retry_after == report.codes.get(REFUSED, 0)
            after = await _capacity(job, scale)
            capacities += [before, after]
            _note(result, f"{factor:g} times the load, {connections:,} connections", (before + after) / 2, report)
            if connections == MORE_CONNECTIONS:
                _judge(result, connections, [_kept(report, (before + after) / 2)])
                _judge_refusals(result, report)
            elif factor == 2.0:
                kept.append(_kept(report, (before + after) / 2))
                growth.append(_growth(sizes))
                result.plots = [_plot(report)]
            _note_cost(result, f"{factor:g} times the load, {connections:,} connections", report, sizes, cpu)
    _judge(result, CONNECTIONS, kept)
    load = f"2 times the load, {CONNECTIONS:,} connections"
    result.targets.append(target(f"the API's size after {load}", "at its beginning", growth, "<=", 1.05))
    result.figures[f"capacity with {CONNECTIONS:,} connections, requests/s"] = spread(capacities)
    return result


def _kept(report: Report, capacity: float) -> float:
    return sum(report.codes.get(code, 0) for code in DONE) / report.seconds / capacity


def _judge(result: Result, connections: int, kept: list[float]) -> None:
    load = f"2 times the load, {connections:,} connections"
    result.targets.append(target(f"answers a second at {load}", "at capacity", kept, ">=", 0.9))


def _judge_refusals(result: Result, report: Report) -> None:
    load = f"2 times the load, {MORE_CONNECTIONS:,} connections"
    refusals = (report.since_sent.get(REFUSED) or side([])).percentiles["p99"]
    result.targets.append(target(f"refusals at {load}, p99 since sent", "–", [refusals], "<=", 100.0, "ms"))


def _growth(sizes: list[float]) -> float:
    """The largest size in the last third, relative to the largest in the first."""
    third = max(1, len(sizes) // 3)
    return max(sizes[-third:]) / max(sizes[:third])


def _plot(report: Report) -> Plot:
    lines = [Line(code, side.curve) for code, side in report.by_code.items()]
    title = "Twice the load: latency from the planned instant"
    return Plot(name="overload", title=title, x="percentile", y="ms", lines=lines, percentiles=True, log_y=True)


def _note(result: Result, load: str, capacity: float, report: Report) -> None:
    refused = report.codes.get(REFUSED, 0)
    result.figures |= {
        f"{load}: sent, of what was planned": spread([report.answered / (report.answered + report.unsent)]),
        f"{load}: done, of capacity": spread([_kept(report, capacity)]),
        f"{load}: refused with 503 and Retry-After, of capacity": spread([refused / report.seconds / capacity]),
    }
    for code, waits in report.since_sent.items():
        for name in ("p50", "p99", "max"):
            result.figures[f"{load}: {code}, {name}, ms since it was sent"] = spread([waits.percentiles[name]])


def _note_cost(result: Result, load: str, report: Report, sizes: list[float], cpu: dict[str, float]) -> None:
    result.figures |= {
        **{f"{load}: {part}, CPU µs a request": spread([1e6 * s / report.answered]) for part, s in cpu.items()},
        f"{load}: the generator, CPU µs a request": spread([1e6 * report.cpu_s / report.answered]),
        f"{load}: the API's processes, MiB": spread(sizes),
    }


async def _capacity(job: Job, scale: Scale) -> float:
    """Requests a second in a closed loop, users repeating."""
    count = scale.of(120_000, 60_000)
    closed = Job(port=job.port, requests=job.requests, count=count, connections=CONNECTIONS, warm_up=count // 5)
    return (await fire(closed)).per_second


async def _watched(scene: Scene, job: Job) -> tuple[Report, list[float], dict[str, float]]:
    """The report, the API's size each second, and the CPU seconds that each part took."""
    sizes: list[float] = []

    async def watch() -> None:
        while True:
            sizes.append(rss_mib(scene.pids["service"]))
            await asyncio.sleep(1)

    watcher: list[asyncio.Task[None]] = []
    cpu = Cpu(scene.pids)
    report = await fire(job, lambda: watcher.append(asyncio.create_task(watch())))
    used = cpu.used()
    watcher[0].cancel()
    return report, sizes, {part: used[part] for part in ("service", "redis")}
