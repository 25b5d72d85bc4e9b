"""Recreating Redis for a day of a million members from the books, against a bare pipelined HSET of as many records."""

from time import monotonic

from bench.auditor import Took
from bench.check_in import ratios
from bench.measure import Result, Scale, spread, target
from bench.reconcile import audited, played
from bench.scene import Scene
from clock.game import keys

CHUNK, CHUNKS = 500, 10


async def run(scale: Scale) -> Result:
    members, repetitions = scale.of(1_000_000, 100_000), scale.of(3, 2)
    whole, bare, sizes = [], [], []
    async with played(members) as (scene, _):
        records = await scene.redis.hgetall(keys.name(scene.yesterday, 0, "members"))
        for _ in range(repetitions):
            took = await _rebuilt(scene)
            whole.append(took.seconds)
            sizes.append(took.most_mib)
            assert await scene.redis.hlen(keys.name(scene.yesterday, 0, "members")) == len(records)
            bare.append(await _bare(scene, list(records.items())))
    return Result(
        name="rebuild",
        targets=[
            target(f"rebuilding {members:,} members", "a bare pipelined HSET", ratios(whole, bare), "<=", 4.0),
            target("the process' largest size in a rebuild", "–", sizes, "<=", 300.0, "MiB"),
        ],
        figures={"rebuilding, s": spread(whole), "bare HSET, s": spread(bare)},
    )


async def _rebuilt(scene: Scene) -> Took:
    await scene.redis.flushall()
    took = await audited(scene, "rebuild")
    assert took.count >= 1
    return took


async def _bare(scene: Scene, records: list[tuple[bytes, bytes]]) -> float:
    """Seconds for writing the same records from memory, in the same chunks, with the same client."""
    await scene.redis.flushall()
    began = monotonic()
    for start in range(0, len(records), CHUNK * CHUNKS):
        pipe = scene.redis.pipeline(transaction=False)
        for first in range(start, min(start + CHUNK * CHUNKS, len(records)), CHUNK):
            words = [word for record in records[first : first + CHUNK] for word in record]
            pipe.execute_command("HSET", "bare", *words)
        await pipe.execute()
    return monotonic() - began
