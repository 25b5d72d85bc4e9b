"""A shard's packets in Redis: lists of :data:`~clock.game.keys.PIECE` fen each, in the order of rank."""

from collections.abc import Sequence
from datetime import date

from clock.game import keys
from clock.game.commands import Commands


async def write(redis: Commands, day: date, shard: int, fens: Sequence[int]) -> None:
    """The first packets of a shard, whatever was there."""
    for number, name in enumerate(keys.pieces(keys.name(day, shard, "packets"), len(fens))):
        await redis.delete(name)
        await redis.rpush(name, *fens[number * keys.PIECE : (number + 1) * keys.PIECE])


async def read(redis: Commands, day: date, shard: int) -> list[int]:
    """As many as the shard says are published."""
    published = int(await redis.hget(keys.name(day, shard, "totals"), "published") or 0)
    found: list[int] = []
    for name in keys.pieces(keys.name(day, shard, "packets"), published):
        found += [int(fen) for fen in await redis.lrange(name, 0, -1)]
    return found
