"""Check-in over HTTP: each user once, with a token that is not cached; every answer is fsynced."""

from bench.load import Job, Report
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, Cpu, Scene, fire, staged
from clock.load.plots import Line, Plot

SERVERS = ("bare", "ordinary", "service")
PATH = "/api/check-in"
CONNECTIONS = 512
"""Enough to keep both processes busy during an fsync of Redis; the curve has fewer and more."""


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(30_000, 15_000), scale.of(5, 3)
    async with staged(**MORNING) as scene:
        ports = {which: await scene.serve(which) for which in SERVERS}
        speeds: dict[str, list[float]] = {which: [] for which in SERVERS}
        costs: dict[str, list[float]] = {f"{which} {part}": [] for which in SERVERS for part in ("server", "redis")}
        batches = []
        whole: dict[str, list[float]] = {which: [] for which in SERVERS}
        for _ in range(repetitions):
            for which in SERVERS:
                count = users // 4 if which == "ordinary" else users
                job = await herd(scene, ports[which], count, CONNECTIONS)
                cpu, calls = Cpu(scene.pids), await script_calls(scene)
                report = await once(scene, job)
                used = cpu.used()
                speeds[which].append(report.per_second)
                costs[f"{which} server"].append(1e6 * used[which] / count)
                costs[f"{which} redis"].append(1e6 * used["redis"] / count)
                whole[which].append(1e6 * (used[which] + used["redis"] + report.cpu_s) / count)
                if which == "service":
                    batches.append(count / (await script_calls(scene) - calls))
        curve = await _connections(scene, ports, scale)
    bare, ordinary, service = (speeds[which] for which in SERVERS)
    return Result(
        name="check_in",
        targets=[
            target("check-in over HTTP", "bare ASGI handler", ratios(service, bare), ">=", 0.60),
            target("check-in over HTTP", "ordinary Litestar handler", ratios(service, ordinary), ">=", 3.5),
        ],
        figures={
            **{f"{which}, requests/s": spread(speeds[which]) for which in SERVERS},
            **{f"{name}, CPU µs a request": spread(values) for name, values in costs.items()},
            **{
                f"the service's share of {which}, by CPU time of server, Redis and generator": spread(
                    ratios(whole[which], whole["service"])
                )
                for which in ("bare", "ordinary")
            },
            "users a call": spread(batches),
        },
        plots=[
            Plot(
                name="throughput",
                title="Check-ins a second over connections",
                x="connections",
                y="requests/s",
                lines=curve,
                log_x=True,
            )
        ],
    )


async def herd(scene: Scene, port: int, count: int, connections: int) -> Job:
    """``count`` fresh members who check in, in a closed loop; a fifth warms up."""
    uids = scene.uids(count)
    await scene.members(scene.yesterday, uids)
    await scene.forget_outbox()
    requests = scene.of_users(PATH, uids)
    return Job(port=port, requests=requests, count=count, connections=connections, warm_up=count // 5)


async def once(scene: Scene, job: Job) -> Report:
    report = await fire(job)
    assert set(report.codes) == {"200 checked_in"}, report.codes
    return report


async def _connections(scene: Scene, ports: dict[str, int], scale: Scale) -> list[Line]:
    """Throughput against connections."""
    sizes = (1, 16, 512) if scale.quick else (1, 8, 64, 256, 512, 1024)
    lines = []
    for which in SERVERS:
        points = []
        for connections in sizes:
            count = scale.of(12_000, 6_000) // (4 if which == "ordinary" or connections == 1 else 1)
            report = await once(scene, await herd(scene, ports[which], count, connections))
            points.append((float(connections), report.per_second))
        lines.append(Line(which, points))
    return lines


async def script_calls(scene: Scene) -> int:
    """Script calls that Redis has run."""
    stats = await scene.redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


def ratios(above: list[float], below: list[float]) -> list[float]:
    return [one / other for one, other in zip(above, below, strict=True)]
