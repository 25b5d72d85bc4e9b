"""From Redis' records to entries of the outbox: for what the books lost and the streams do not hold any more.

A record does not say when something happened, nor who the user is. Times are those of now; name and mobile number stay
unknown until the user gives them again.
"""

from collections.abc import Iterator, Sequence

import msgspec

from clock.audit import packets
from clock.audit.contents import packed_rank
from clock.books import outbox
from clock.domain import order_no
from clock.game import events, keys
from clock.rounds.recorded import Recorded
from clock.service import Service


class Known(msgspec.Struct, array_like=True):
    """A record after its first byte, as the scripts' prelude describes it."""

    tail: str
    number: int
    open_id: str
    transaction_id: str = ""
    rank: int = 0


def known(record: bytes) -> tuple[str, Known] | None:
    """The state's letter, and the rest; ``None`` for a record of an older version, which has no rank."""
    letter = chr(record[0])
    if letter != "O" and record[-5] != packed_rank(0)[0]:
        return None
    count = 3 if letter == "O" else 5
    return letter, msgspec.msgpack.decode(bytes([0x90 + count]) + record[1:], type=Known)


async def retell(service: Service, round_: Recorded, shard: int, uids: Sequence[int]) -> int:
    """Append what the records of these users of a shard say to its outbox, and drain it; how many entries. What the
    books know already is written once, by its natural keys."""
    members, stream = keys.names(round_.day, shard, ("members", "outbox"))
    fens = await packets.read(service.redis, round_.day, shard)
    written = 0
    for uid in uids:
        record = await service.redis.hget(members, str(uid))
        told = known(record) if record else None
        if told is None or keys.shard_of(uid, round_.rules.shards) != shard:
            continue
        for event in _events(service, round_, shard, uid, told, fens):
            await service.redis.xadd(stream, {"e": msgspec.msgpack.encode(event)})
            written += 1
    await outbox.drain(service.store, service.redis, round_.day, shard)
    return written


def _events(
    service: Service, round_: Recorded, shard: int, uid: int, told: tuple[str, Known], fens: Sequence[int]
) -> Iterator[events.Event]:
    letter, one = told
    stake, now_ms = round_.rules.stake_fen, service.time.now_ms()
    place = order_no.Place(round_.day, shard, uid, one.tail)
    number = order_no.make(round_.rules.order_prefix, place)
    order_id = order_no.first_order_id(round_.day, shard) + one.number
    yield events.Ordered(now_ms, [(uid, number, order_id, stake, one.open_id, "", "")])
    if letter != "O":
        outcome: events.PaymentOutcome = "paid_late" if letter == "L" else "paid"
        yield events.Payment(now_ms, [(uid, number, one.transaction_id, stake, now_ms, outcome, place.channel, "")])
    if letter in "CP":
        at_ms = min(now_ms, round_.at.check_in_closes_ms - 1)
        yield events.CheckedIn(at_ms, one.rank, [uid])
    if letter == "P":
        yield events.Claimed(now_ms, "user", stake, [one.rank - 1], [uid], [fens[one.rank - 1]])
