"""A shard's packets in Redis: lists of :data:`~clock.game.keys.PIECE` fen each, in the order of rank."""

from collections.abc import Sequence
from datetime import date

from clock.game import keys
from clock.game.client.commands import Commands, Pipeline
from clock.game.scripts import Value


def write(pipe: Pipeline, day: date, shard: int, number: int, fens: Sequence[Value]) -> None:
    """The list of packets with this number, from 0, whatever was there."""
    name = keys.piece(keys.name(day, shard, "packets"), number)
    pipe.execute_command("DEL", name)
    pipe.execute_command("RPUSH", name, *fens)


async def read(redis: Commands, day: date, shard: int) -> list[int]:
    """As many as the shard says are published."""
    published = int(await redis.hget(keys.name(day, shard, "totals"), "published") or 0)
    found: list[int] = []
    for name in keys.pieces(keys.name(day, shard, "packets"), published):
        found += [int(fen) for fen in await redis.lrange(name, 0, -1)]
    return found
