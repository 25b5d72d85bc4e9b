"""Twice what it can carry, for a minute: what it still does, how the rest is refused, and whether anything grows.

An open model on so many connections that the generator never waits for one. Users repeat, so that most answers are a
replay's; capacity is measured with the same ones.
"""

import asyncio

from bench.check_in import herd, once, ratios
from bench.load import Job, Report
from bench.measure import Line, Plot, Result, Scale, spread, target
from bench.stack import MORNING, Cpu, Scene, Stack, fire, rss_mib

USERS = 40_000
CONNECTIONS = 6_000
STEADY = 512
SECONDS, QUICK_SECONDS = 60, 10
DONE = {"200 checked_in", "200 already_checked_in"}
REFUSED = "503 busy"


async def run(stack: Stack, scale: Scale) -> Result:
    seconds = scale.of(SECONDS, QUICK_SECONDS)
    async with stack.scene(**MORNING) as scene:
        port = await scene.serve("service")
        first = await herd(scene, port, USERS, STEADY)
        await once(scene, first)
        before = await _capacity(first, scale)
        offered = 2 * before
        job = Job(
            port=port,
            requests=first.requests,
            count=int(offered * seconds),
            connections=CONNECTIONS,
            rate=offered,
            most_s=seconds + 30.0,
        )
        report, sizes, cpu = await _watched(scene, job)
        after = await _capacity(first, scale)
    assert set(report.codes) <= {*DONE, REFUSED} and not report.lost, (report.codes, report.lost)
    kept = sum(report.codes.get(code, 0) for code in DONE) / report.seconds
    refusals, third = report.by_code[REFUSED], max(1, len(sizes) // 3)
    assert report.retry_after == refusals.answered
    return Result(
        name="overload",
        targets=[
            target("answers a second at twice the load", "at capacity", ratios([kept] * 2, [before, after]), ">=", 0.9),
            target("refusals at twice the load, p99", "–", [refusals.percentiles["p99"]], "<=", 100.0, "ms"),
            target(
                "the API's size at the end of it",
                "at its beginning",
                [max(sizes[-third:]) / max(sizes[:third])],
                "<=",
                1.05,
            ),
        ],
        figures={
            "capacity before and after, requests/s": spread([before, after]),
            "offered, requests/s": spread([offered]),
            "sent, requests/s": spread([report.answered / report.seconds]),
            "done, requests/s": spread([kept]),
            "refused with 503 and Retry-After, requests/s": spread([refusals.answered / report.seconds]),
            **{
                f"refusals, {name}, ms from the planned instant": spread([ms])
                for name, ms in refusals.percentiles.items()
            },
            **{f"{part}, CPU µs a request offered": spread([1e6 * s / report.answered]) for part, s in cpu.items()},
            "the generator, CPU µs a request offered": spread([1e6 * report.cpu_s / report.answered]),
            "the API's processes, MiB": spread(sizes),
        },
        plots=[
            Plot(
                name="overload",
                title="Twice the load: latency from the planned instant",
                x="percentile",
                y="ms",
                lines=[Line(code, side.curve) for code, side in report.by_code.items()],
                percentiles=True,
                log_y=True,
            )
        ],
    )


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
