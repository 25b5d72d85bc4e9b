"""Claim, pay and join over HTTP, each user once, against the same baselines; every answer fsynced.

Joining is measured after the settlement of yesterday's round and, as a figure, before it, when each join first has
to ask whether the user still has a packet to come.
"""

from collections.abc import Awaitable, Callable

from bench.check_in import CONNECTIONS, SERVERS, ratios
from bench.load import Job
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, SETTLED, Cpu, Scene, extra, fire, staged
from clock.load.plots import Line, Plot

Prepare = Callable[[Scene, int], Awaitable[list[bytes]]]


async def claims(scene: Scene, count: int) -> list[bytes]:
    return scene.of_users("/api/claim", scene.winners_left(count))


async def joins(scene: Scene, count: int) -> list[bytes]:
    return scene.of_users("/api/join", scene.uids(count), extra)


async def payments(scene: Scene, count: int) -> list[bytes]:
    uids = scene.uids(count)
    return scene.callbacks(await scene.join(scene.today, uids), uids)


VERBS: dict[str, tuple[Prepare, str]] = {
    "claim": (claims, "200 claimed"),
    "pay": (payments, "200 paid"),
    "join": (joins, "200 ordered"),
}


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(20_000, 6_000), scale.of(5, 2)
    result = Result(name="verbs")
    bars: dict[str, list[float]] = {which: [] for which in SERVERS}
    async with staged(**SETTLED) as scene:
        await scene.many_winners(repetitions * (2 * users + users // 4))
        ports = {which: await scene.serve(which) for which in SERVERS}
        for verb in VERBS:
            speeds = await _verb(scene, ports, verb, users, repetitions, result)
            for which in SERVERS:
                bars[which].append(spread(speeds[which]).median)
    async with staged(**MORNING) as scene:
        port = await scene.serve("service")
        speed = [await _once(scene, port, "join", users) for _ in range(repetitions)]
        result.figures["join before yesterday's settlement, service, requests/s"] = spread(speed)
    lines = [Line(which, [(float(place), y) for place, y in enumerate(bars[which])]) for which in SERVERS]
    title = "Requests a second by verb"
    result.plots.append(Plot(name="verbs", title=title, x="|".join(VERBS), y="requests/s", lines=lines, bars=True))
    return result


async def _verb(
    scene: Scene, ports: dict[str, int], verb: str, users: int, repetitions: int, result: Result
) -> dict[str, list[float]]:
    """Measure one verb on the three servers in turns, and record the results."""
    speeds: dict[str, list[float]] = {which: [] for which in SERVERS}
    costs: dict[str, list[float]] = {which: [] for which in SERVERS}
    for _ in range(repetitions):
        for which in SERVERS:
            count = users // 4 if which == "ordinary" else users
            speeds[which].append(await _once(scene, ports[which], verb, count, costs[which], which))
    bare, ordinary, service = (speeds[which] for which in SERVERS)
    result.targets += [
        target(f"{verb} over HTTP", "bare ASGI handler", ratios(service, bare), ">=", 0.50),
        target(f"{verb} over HTTP", "ordinary Litestar handler", ratios(service, ordinary), ">=", 3.0),
    ]
    for which in SERVERS:
        result.figures[f"{verb}, {which}, requests/s"] = spread(speeds[which])
        result.figures[f"{verb}, {which}, server's CPU µs a request"] = spread(costs[which])
    return speeds


async def _once(
    scene: Scene, port: int, verb: str, count: int, costs: list[float] | None = None, which: str = "service"
) -> float:
    prepare, expected = VERBS[verb]
    requests = await prepare(scene, count)
    await scene.forget_outbox()
    cpu = Cpu(scene.pids)
    job = Job(port=port, requests=requests, count=count, connections=CONNECTIONS, warm_up=count // 5)
    report = await fire(job)
    assert set(report.codes) == {expected}, report.codes
    if costs is not None:
        costs.append(1e6 * cpu.used()[which] / count)
    return report.per_second
