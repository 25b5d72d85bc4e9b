"""Check-ins whose answers have a receipt, against those whose answers have none: the same service, in turns."""

from bench.check_in import CONNECTIONS, PATH, once, ratios
from bench.load import Job
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, Cpu, Scene, staged

KINDS = {"without": False, "with": True}


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(20_000, 15_000), scale.of(15, 3)  # pairs differ by a tenth on a shared host
    speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with staged(**MORNING) as scene:
        port = await scene.serve("service")
        await once(scene, await _herd(scene, port, users // 4, receipt=True))  # each process learns the salt key
        for turn in range(repetitions):
            for kind in sorted(KINDS, reverse=bool(turn % 2)):
                job = await _herd(scene, port, users, receipt=KINDS[kind])
                cpu = Cpu(scene.pids)
                report = await once(scene, job)
                speeds[kind].append(report.per_second)
                costs[kind].append(1e6 * cpu.used()["service"] / users)
    return Result(
        name="receipts",
        targets=[
            target(
                "check-ins with a receipt", "check-ins without", ratios(speeds["with"], speeds["without"]), ">=", 0.85
            )
        ],
        figures={
            **{f"{kind} a receipt, requests/s": spread(speeds[kind]) for kind in KINDS},
            **{f"{kind} a receipt, the service's CPU µs a request": spread(costs[kind]) for kind in KINDS},
        },
    )


async def _herd(scene: Scene, port: int, count: int, *, receipt: bool) -> Job:
    """As :func:`bench.check_in.herd`; both bodies have the field."""
    uids = scene.uids(count)
    await scene.members(scene.yesterday, uids)
    await scene.forget_outbox()
    requests = scene.of_users(PATH, uids, lambda _: {"receipt": receipt})
    return Job(port=port, requests=requests, count=count, connections=CONNECTIONS, warm_up=count // 5)
