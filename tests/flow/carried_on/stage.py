"""Servers that lose what they had: Redis falls behind the books, the books behind Redis, or each behind the other."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from clock.audit.counts import Counting
from clock.audit.reconcile import reconcile
from clock.domain.outcomes import Unavailable
from clock.rounds.settling import Settling
from tests.conftest import DAY
from tests.flow.stage import IN_TIME, People

WINNERS, SLEEPERS, LATE_COMERS = range(1, 9), range(9, 13), range(13, 17)
"""Users; those who come late win, too, and what they do is what a server loses."""


class Server:
    """Redis, whose past a test can bring back."""

    def __init__(self, people: People) -> None:
        self._redis: Any = people.service.redis
        self._keys: dict[bytes, bytes] = {}

    async def save(self) -> None:
        self._keys = {name: await self._redis.dump(name) async for name in self._redis.scan_iter(count=1000)}

    async def go_back(self) -> None:
        await self._redis.flushall()
        for name, value in self._keys.items():
            await self._redis.restore(name, 0, value)


class Books:
    """Postgres, whose past a test can bring back."""

    def __init__(self, people: People) -> None:
        self._people = people

    async def _tables(self) -> list[str]:
        found = await self._people.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname <> 'migrations'"
        )
        return [row["relname"] for row in found]

    async def save(self) -> None:
        await self._people.rows("DROP SCHEMA IF EXISTS past CASCADE")
        await self._people.rows("CREATE SCHEMA past")
        for table in await self._tables():
            await self._people.rows(f"CREATE TABLE past.{table} AS TABLE public.{table}")

    async def go_back(self) -> None:
        async with self._people.service.store.transaction() as connection:
            await connection.execute("SET LOCAL session_replication_role = replica")
            for table in await self._tables():
                await connection.execute(f"DELETE FROM public.{table}".encode())
                await connection.execute(
                    f"INSERT INTO public.{table} OVERRIDING SYSTEM VALUE SELECT * FROM past.{table}".encode()
                )


# -- what a server loses: the last that was done before the moment at which it is found


async def evening(people: People, uids: range) -> None:
    people.it_is("20:00")
    await people.join(*uids)
    for uid in uids:
        assert await people.pay(uid, paid_at=IN_TIME) == "paid"


async def forgets(server: Server | Books, people: People, kept: range, lost: range) -> None:
    """All of them have paid, and the server has forgotten those in ``lost``."""
    await evening(people, kept)
    await people.drain()
    await server.save()
    await evening(people, lost)
    await people.drain()
    await server.go_back()


async def six_o_clock(people: People, uids: range) -> None:
    people.it_is("06:00", 1)
    await people.check_in(*uids)


async def before_five(people: People, lost: Callable[[], Awaitable[None]]) -> None:
    await evening(people, range(1, 13))
    await lost()
    await evening(people, LATE_COMERS)


async def at_five(people: People, lost: Callable[[], Awaitable[None]]) -> None:
    await evening(people, range(1, 17))
    await six_o_clock(people, range(1, 5))
    await lost()
    await six_o_clock(people, LATE_COMERS)


async def after_closing(people: People, lost: Callable[[], Awaitable[None]]) -> None:
    await at_five(people, lost)
    await six_o_clock(people, range(5, 9))
    people.it_is("08:05", 1)
    with pytest.MonkeyPatch.context() as patch:

        async def stop(*_: Any) -> str:
            raise Unavailable("the power is out")

        patch.setattr(Settling, "_seal", stop)
        with suppress(Unavailable):
            await people.service.settling.settle(DAY)


async def after_settling(people: People, lost: Callable[[], Awaitable[None]]) -> None:
    await evening(people, range(1, 17))
    await six_o_clock(people, WINNERS)
    await six_o_clock(people, LATE_COMERS)
    await lost()
    await people.settle()


async def after_claims(people: People, lost: Callable[[], Awaitable[None]]) -> None:
    await evening(people, range(1, 17))
    await six_o_clock(people, WINNERS)
    await six_o_clock(people, LATE_COMERS)
    await people.settle()
    await people.claim(1, 2)
    await lost()
    await people.claim(13, 14, 15, 16)


MOMENTS = {
    "before five": before_five,
    "at five": at_five,
    "after closing": after_closing,
    "after settling": after_settling,
    "after claims": after_claims,
}


async def to_the_end(people: People) -> None:
    """Whoever has not done so wakes, the round is settled, everybody claims, it is finished."""
    state = (await people.rows("SELECT state FROM rounds WHERE day = %s", DAY))[0]["state"]
    if state == "open":
        people.it_is("06:30", 1)
        for uid in (*WINNERS, *LATE_COMERS):
            await people.service.verbs.check_in(uid, 0.0)
    await people.settle()
    for uid in (*WINNERS, *LATE_COMERS):
        await people.service.verbs.claim(uid, 0.0)
    await people.finish()


async def agree(people: People) -> None:
    """Everything that is recorded says the same, but for the bill that a scripted provider does not send."""
    report = await reconcile(people.service, DAY)
    assert report is not None
    assert [one for one in report.differences if one.what != "bill_missing"] == []
    assert await people.balance(f"pool:{DAY}") == 0


async def counted(people: People) -> list[Any]:
    """What a worker says that has just found another server."""
    return await Counting(people.service).look() or []
