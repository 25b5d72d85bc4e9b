"""What comes back: identifiers, long and strange texts, what was kept aside, what still waits, and many users."""

import asyncio
import time
from typing import Any

from clock.audit.rebuild import rebuild_lost
from clock.books import outbox
from clock.config import Settings
from clock.domain import order_no
from clock.domain.outcomes import Answer
from clock.domain.shapes import Extra
from clock.game import keys
from tests.conftest import DAY
from tests.flow.rebuild.stage import USERS, joining, lose, memory
from tests.flow.stage import People
from tests.model.world import new_world


async def test_new_orders_after_a_rebuild_have_new_ids(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await joining(people)
        await people.drain()
        await lose(people)
        await rebuild_lost(service)
        await people.join(101, 102)
        await people.drain()
        ids = await people.rows("SELECT order_id FROM orders")
        assert len({row["order_id"] for row in ids}) == len(ids) == len(USERS) + 2


async def test_what_is_long_or_strange_comes_back_byte_for_byte(shared: Settings) -> None:
    """MessagePack has several forms for texts and numbers; the scripts' library and ours must choose the same."""
    async with new_world(shared) as service:
        people = People(service)
        for uid, open_id in ((2**53 - 1, "o" * 31), (2, "o" * 32), (3, "微" * 42), (4, "x" * 128), (5, "\U0001f305")):
            extra = Extra(mobile="1", nickname="n", openId=open_id)
            answer = await service.verbs.join(uid, extra, time.monotonic())
            people.orders[uid] = answer.data["order_no"]
        for uid in range(10, 300):
            people.orders[uid] = ""
        await people.join(*range(10, 300))  # numbers that need two bytes
        assert await people.pay(10, "t" * 128) == "paid"
        await people.drain()
        before = await memory(people)
        await lose(people)
        await rebuild_lost(service)
        assert await memory(people) == before


async def test_the_count_of_callbacks_that_were_kept_aside_comes_back(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await people.join(1)
        for raw in (b"one", b"other"):
            await service.incoming.quarantine("platform", "malformed", "", raw, time.monotonic())
        await people.drain()
        before = await memory(people)
        assert before[keys.name(DAY, 0, "totals")][b"quarantined"] == b"2"
        await lose(people)
        await rebuild_lost(service)
        assert await memory(people) == before


async def test_what_still_waits_in_a_stream_is_taken_along(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await joining(people)
        await people.drain()
        await people.join(101)
        redis: Any = service.redis
        before = await memory_of_members(people)
        await redis.delete(*keys.names(DAY, 0, ("round", "members", "totals", "payments")))
        await rebuild_lost(service)
        assert await memory_of_members(people) == before
        assert await outbox.depth(redis, DAY, 1) == 0


async def memory_of_members(people: People) -> Any:
    redis: Any = people.service.redis
    return await redis.hgetall(keys.name(DAY, 0, "members"))


async def test_who_joined_a_moment_ago_is_rebuilt_in_no_time(settings: Settings) -> None:
    """Postgres looks how large a table is once a minute at most. Planned as if nobody were there, this takes a
    quarter of a minute, and for a hundred thousand some minutes."""
    async with new_world(settings) as service:
        people, first = People(service), order_no.first_order_id(DAY, 0)
        await service.opener.open_round(DAY)
        await people.rows(
            "INSERT INTO orders SELECT %s, uid, 'TTC' || lpad(uid::text, 26, '0'), uid + %s, 100, 'open', 0"
            " FROM generate_series(1, 20000) AS uid",
            DAY,
            first,
        )
        await people.rows(
            "INSERT INTO payments SELECT day, order_no, uid, uid, 100, 0, 0, 'paid', 'platform', '' FROM orders"
        )
        await people.rows("INSERT INTO members SELECT day, uid, 100, false, 0 FROM orders")
        await people.rows("INSERT INTO check_ins SELECT day, uid, 0, uid FROM orders")
        await people.rows("INSERT INTO outbox_positions VALUES (%s, 0, '0-1')", DAY)
        await lose(people)
        async with asyncio.timeout(5):
            assert await rebuild_lost(service) == [f"{DAY}.0"]
        people.it_is("06:00", 1)
        assert await service.verbs.check_in_status(20_000, time.monotonic()) == Answer("ok", {"is_check_in": 1})
