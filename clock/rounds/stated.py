"""C and the draw of a round, kept in Redis, beside the packets that follow from them.

Postgres may lose a settlement that Redis has: a backup is put back, a standby lagged. C written anew would have another
instant, so everybody would have another packet than the one that was published, paid and witnessed. So C is in Redis
before a packet is, and books that went back find it there (docs/decisions/0083-what-was-stated-is-found-again.md).
"""

import msgspec

from clock.game import keys
from clock.game.client.commands import Commands
from clock.game.scripts import Value
from clock.rounds.recorded import Recorded

FIELD = "stated"


class Stated(msgspec.Struct, frozen=True):
    """The text of C, and what P says of the draw; None: not decided, or none was promised."""

    closed: str
    draw: str | None


async def kept(redis: Commands, round_: Recorded) -> Stated | None:
    """None where nothing was: the round was not sealed, or by a version that kept nothing."""
    found = await redis.hget(_name(round_), FIELD)
    return msgspec.json.decode(found, type=Stated) if found else None


async def keep(redis: Commands, round_: Recorded, closed: str) -> None:
    """Before the round is split. A draw that is kept already with the same C stays."""
    stated, known = Stated(closed, round_.draw), await kept(redis, round_)
    if known != stated and (round_.draw is not None or known is None or known.closed != closed):
        await redis.hset(_name(round_), items=fields(round_, closed))


def fields(round_: Recorded, closed: str) -> list[Value]:
    """What is kept of a round whose C is in the books, as field, value; they belong to the round hash of shard 0."""
    return [FIELD, msgspec.json.encode(Stated(closed, round_.draw))]


def _name(round_: Recorded) -> str:
    return keys.name(round_.day, 0, "round")
