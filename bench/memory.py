"""Redis memory per member over a whole day, with everything that stays: order, state, payment, claim, packet.

After each step the stream is emptied; what its entries take is a separate figure. Drained ones are kept, up to
:data:`clock.books.outbox.KEPT_BYTES` a shard.
"""

from collections.abc import AsyncIterator

from bench.measure import Result, Scale, spread, target
from bench.scene import SETTLED, Scene, staged
from clock.load.plots import Line, Plot

STEPS = ("ordered", "paid", "checked in", "published", "claimed")


async def run(scale: Scale) -> Result:
    members = scale.of(1_000_000, 100_000)
    async with staged(**SETTLED) as scene:
        before = await _used(scene)
        each, waiting = [], []
        async for _ in _day(scene, members):
            full = await _used(scene)
            await scene.forget_outbox()
            left = await _used(scene)
            each.append((left - before) / members)
            waiting.append((full - left) / members)
    points = [(float(place), value) for place, value in enumerate(each)]
    return Result(
        name="memory",
        targets=[
            target(
                f"Redis memory a member, {members:,} members, the fullest moment",
                "–",
                [max(each)],
                "<=",
                200.0,
                "bytes",
            )
        ],
        figures={
            **{f"{step}, bytes a member": spread([value]) for step, value in zip(STEPS, each, strict=True)},
            **{
                f"the step's events in the stream, {step}, bytes a member": spread([v])
                for step, v in zip(STEPS, waiting, strict=True)
            },
        },
        plots=[
            Plot(
                name="memory",
                title="Redis memory a member",
                x="|".join(STEPS),
                y="bytes",
                lines=[Line("", points)],
                bars=True,
            )
        ],
    )


async def _day(scene: Scene, members: int) -> AsyncIterator[None]:
    """The day of so many members, step by step."""
    day, uids = scene.yesterday, scene.uids(members)
    numbers = await scene.join(day, uids)
    yield
    await scene.pay(day, uids, numbers)
    yield
    del numbers
    await scene.check_in(day, uids)
    yield
    await scene.settled(day, members)
    yield
    claims = ((uid, 0) for uid in uids)
    results = await scene.vectors("claim", day, claims, scene.at(day).settle_ms + 2, ["user"])
    assert {word for word, _, _ in results} == {b"claimed"}
    yield


async def _used(scene: Scene) -> int:
    return int((await scene.redis.info("memory"))["used_memory"])
