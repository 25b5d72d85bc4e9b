"""The home page while everybody checks in: ``/api/summary`` and ``/api/check-in`` in turns on the same connections."""

from bench.load import Job
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, Scene, fire, staged
from clock.load.plots import Line, Plot

CONNECTIONS = 128
KINDS = ("summary", "check-in")


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(20_000, 8_000), scale.of(5, 3)
    waits: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    async with staged(**MORNING) as scene:
        port = await scene.serve("service")
        for _ in range(repetitions):
            report = await fire(await _mixed(scene, port, users))
            assert set(report.codes) == {"200 checked_in", "200 ok"}, report.codes
            for kind, side in zip(KINDS, report.kinds, strict=True):
                waits[kind].append(side.percentiles)
    both = list(zip(waits["summary"], waits["check-in"], strict=True))
    return Result(
        name="summary",
        targets=[
            target(f"summary under check-ins, {name}", "check-in", [s[name] / c[name] for s, c in both], "<=", 1.0)
            for name in ("p50", "p99")
        ],
        figures={
            f"{kind}, {name}, ms": spread([one[name] for one in waits[kind]])
            for kind in KINDS
            for name in ("p50", "p99", "p99.9")
        },
        plots=[
            Plot(
                name="summary",
                title="Summary and check-in side by side, 128 connections",
                x="percentile",
                y="ms",
                lines=[Line(kind, side.curve) for kind, side in zip(KINDS, report.kinds, strict=True)],
                percentiles=True,
                log_y=True,
            )
        ],
    )


async def _mixed(scene: Scene, port: int, users: int) -> Job:
    """Every user does both requests, half in the opposite order, so that uncached tokens are shared between the two."""
    uids = scene.uids(users)
    await scene.members(scene.yesterday, uids)
    await scene.forget_outbox()
    looks, taps = scene.of_users("/api/summary", uids), scene.of_users("/api/check-in", uids)
    taps = taps[users // 2 :] + taps[: users // 2]
    requests = [one for pair in zip(looks, taps, strict=True) for one in pair]
    return Job(
        port=port, requests=requests, count=2 * users, connections=CONNECTIONS, kinds=2, warm_up=2 * (users // 5)
    )
