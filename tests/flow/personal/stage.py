"""Where in all the servers a user is named."""

import time
from typing import Any

import msgspec

from clock.channels.platform import PaymentCallback, PaymentExtra
from clock.domain.outcomes import Answer
from clock.operators.acts import By
from clock.operators.records.forget import forget
from tests.flow.stage import People
from tests.payments import paid

ANNA = By("anna", "127.0.0.1")


def names_of(uid: int) -> list[str]:
    """As :class:`People` call themselves."""
    return [f"138{uid:08}", f"用户 {uid}", f"open-{uid}"]


async def named_in_postgres(people: People, uid: int) -> set[str]:
    """Tables with a row that has one of the names in any column; partitions by the name of their table."""
    found = set()
    tables = await people.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class c WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace"
    )
    for name in names_of(uid):
        texts = [f"%{name}%", f"%{name.encode().hex()}%"]
        for table in tables:
            statement = f"SELECT count(*) AS count FROM {table['name']} t WHERE t::text LIKE ANY(%s)"
            [row] = await people.rows(statement, texts)
            if row["count"]:
                found.add(table["name"])
    return found


async def named_in_redis(people: People, uid: int) -> set[str]:
    """The last part of keys whose value has one of the names."""
    redis: Any = people.service.redis
    found = set()
    for key in await redis.keys("*"):
        kind = (await redis.type(key)).decode()
        read = {"string": redis.get, "hash": redis.hgetall, "stream": redis.xrange}.get(kind)
        value = await read(key) if read else await redis.lrange(key, 0, -1)
        if any(name.encode() in flat(value) for name in names_of(uid)):
            found.add(key.decode().rsplit(":", 1)[1])
    return found


def flat(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"|".join(flat(part) for pair in value.items() for part in pair)
    return b"|".join(flat(part) for part in value) if isinstance(value, list | tuple) else b""


async def wrong_callback(people: People, uid: int, amount: int) -> None:
    """A signed callback that is kept aside, and names who has paid."""
    extra = PaymentExtra(amount=amount, transactionId=f"wrong {amount}", buyerId=f"open-{uid}")
    callback = PaymentCallback(people.orders[uid], extra)
    raw = msgspec.json.encode(callback)
    assert (
        await people.service.incoming.pay(paid(callback, raw), "platform", time.monotonic())
    ).word == "amount_mismatch"


async def forgotten(people: People, uid: int) -> Answer:
    return await forget(people.service, ANNA, uid, "asked by letter")


def kept(answer: Answer) -> set[tuple[str, str]]:
    return {(one["place"], one["why"]) for one in answer.data["kept"]}


async def paid_out(people: People) -> None:
    """All money has arrived."""
    await people.rows("UPDATE outgoing SET state = 'done', ended_at = now() WHERE state <> 'done'")


async def long_ago(people: People) -> None:
    """The keys of the rounds have expired."""
    redis: Any = people.service.redis
    await people.rows("UPDATE rounds SET finished_at = now() - interval '15 days' WHERE finished_at IS NOT NULL")
    for key in await redis.keys("clock:{*}:2*"):
        await redis.delete(key)
