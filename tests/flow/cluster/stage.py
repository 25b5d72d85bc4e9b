"""A service on a cluster, and people who play on it whatever happens to its nodes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import msgspec
import psycopg

from clock.config import Settings
from clock.game import keys
from clock.runtime import embedded
from tests.cluster import Cluster, Node, cluster
from tests.conftest import DAY, Api, in_memory
from tests.flow.operators.stage import operate
from tests.flow.switch.stage import seconds_until

SHARDS = 8
SECONDS = 30.0
AT_ONCE = 24
"""How many people of a crowd wait for an answer at the same time."""


async def it_is(api: Api, instant: str) -> None:
    status, reply = await api.send("PUT", "/dev/time", {"now": f"{instant}+08:00"})
    assert status == 200, reply


async def slot_of(six: Cluster, shard: int, day: date = DAY) -> int:
    found: int = await six.tell(six.running[0], "CLUSTER", "KEYSLOT", keys.name(day, shard, "round"))
    return found


async def owners(cluster: Cluster, day: date = DAY) -> list[Node]:
    """Of each shard of the round."""
    return [await cluster.owner(await slot_of(cluster, shard, day)) for shard in range(SHARDS)]


class Crowd:
    """People who ask again for as long as they are told ``unavailable``. Any other answer than the good ones ends the
    test."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.good: list[tuple[float, int]] = []
        """When each good answer came, and whose."""
        self.unavailable: list[float] = []
        """When each 503 came."""
        self.longest_s = 0.0
        """The longest time until any answer."""
        self.receipts: list[dict[str, Any]] = []
        """Of check-ins."""

    async def check_in(self, uid: int) -> None:
        said = await self._until("/api/check-in", uid, "checked_in", "already_checked_in", receipt=True)
        self.receipts += [said["receipt"]] if "receipt" in said else []

    async def is_checked_in(self, uid: int) -> None:
        """Whoever was told so before is told nothing else."""
        await self._until("/api/check-in", uid, "already_checked_in")

    async def become_member(self, uid: int) -> None:
        extra = {"mobile": f"138{uid:08}", "nickname": f"user {uid}", "openId": f"open-{uid}"}
        order = await self._until("/api/join", uid, "ordered", "order_pending", extra=extra)

        async def pay() -> tuple[int, dict[str, Any]]:
            return await self.api.pay(order["order_no"], uid)

        await self._ask(pay, uid, "paid", "already_paid")

    async def claim(self, uid: int) -> None:
        """And once more: the packet is the same."""
        first = await self._until("/api/claim", uid, "claimed", "already_claimed")
        assert await self._until("/api/claim", uid, "already_claimed") == first

    async def _until(self, path: str, uid: int, *good: str, **body: Any) -> dict[str, Any]:
        headers = self.api.token(uid)

        async def send() -> tuple[int, dict[str, Any]]:
            return await self.api.send("POST", path, {"uid": uid, **body}, headers)

        return await self._ask(send, uid, *good)

    async def _ask(
        self, send: Callable[[], Coroutine[Any, Any, tuple[int, dict[str, Any]]]], uid: int, *good: str
    ) -> dict[str, Any]:
        while True:
            began = time.monotonic()
            status, reply = await send()
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - began)
            if status == 200 and reply["code"] in good:
                self.good.append((now, uid))
                data: dict[str, Any] = reply["data"]
                return data
            assert (status, reply["code"]) in ((503, "unavailable"), (503, "busy")), (uid, status, reply)
            self.unavailable.append(now)
            await asyncio.sleep(0.05)

    async def all(
        self, act: Callable[[int], Coroutine[Any, Any, None]], uids: Sequence[int], pause_s: float = 0.0
    ) -> None:
        """So many at once as :data:`AT_ONCE`; whoever has had their answer is followed by somebody after a pause."""

        async def one_after_the_other(own: Iterator[int]) -> None:
            for uid in own:
                await act(uid)
                await asyncio.sleep(pause_s)

        waiting = iter(uids)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(AT_ONCE):
                lanes.create_task(one_after_the_other(waiting))

    async def heard(self, count: int) -> None:
        """Wait for so many good answers more."""
        count += len(self.good)

        async def enough() -> bool:
            return len(self.good) >= count

        await seconds_until(enough, SECONDS)

    async def first_good(self, after: float, uids: Collection[int]) -> float:
        """When the first of these people had a good answer after this moment."""

        async def found() -> list[float]:
            return [at for at, uid in self.good if at > after and uid in uids]

        await seconds_until(found, SECONDS)
        return min(await found())


async def rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(settings.database_url) as connection:
        return await (await connection.execute(statement.encode())).fetchall()


async def drawn_after(api: Api, day: date, ends: Callable[[], Awaitable[object]]) -> None:
    """C is there at 08:01, then something ``ends``, and at 08:04 the draw is had all the same."""
    morning = day + timedelta(1)
    await it_is(api, f"{morning}T08:01:00")

    async def decided() -> tuple[Any, ...]:
        [row] = await rows(api.settings, f"SELECT state, draw FROM rounds WHERE day = '{day}'")
        return row

    async def sealed() -> bool:
        return await decided() == ("sealed", None)

    await seconds_until(sealed, SECONDS)
    await ends()
    assert await sealed()

    async def is_later() -> bool:
        return (await api.send("PUT", "/dev/time", {"now": f"{morning}T08:04:00+08:00"}))[0] == 200

    await seconds_until(is_later, SECONDS)

    async def drawn() -> bool:
        return (await decided())[1] not in (None, "missing", "late")

    await seconds_until(drawn, SECONDS)


async def books_agree(api: Api, members: Collection[int], winners: Collection[int], day: date = DAY) -> None:
    """The round settles, everybody claims once, and books, Redis and every sum say the same. Where a shard was away
    when the clock jumped, hours of silence make its check-in longer: by an hour at most."""
    await it_is(api, f"{day + timedelta(1)}T09:06:00")

    async def settled() -> bool:
        return str((await operate(api, "GET", f"/ops/rounds/{day}"))[1]["data"].get("state")) == "settled"

    await seconds_until(settled, SECONDS)
    crowd = Crowd(api)
    await crowd.all(crowd.claim, [*winners])

    async def drained() -> bool:
        return len(await rows(api.settings, "SELECT FROM claims")) == len(winners)

    await seconds_until(drained, SECONDS)
    for table, expected in (("members", members), ("check_ins", winners), ("claims", winners)):
        found = [uid for (uid,) in await rows(api.settings, f"SELECT uid FROM {table} ORDER BY uid")]
        assert found == sorted(expected), table
    figures = (await operate(api, "GET", f"/ops/rounds/{day}"))[1]["data"]
    assert (figures["members"], figures["winners"], figures["pool"]) == (len(members), len(winners), 100 * len(members))
    assert (figures["packets_claimed"], figures["packets_claimed_fen"]) == (len(winners), figures["pot"])
    status, reconciled = await operate(api, "POST", f"/ops/reconcile/{day}")
    assert status == 200, reconciled
    found = [one for report in reconciled["data"]["reports"] for one in report["differences"]]
    assert [one for one in found if one["what"] != "bill_missing"] == []


@asynccontextmanager
async def on_six_nodes(settings: Settings) -> AsyncIterator[Settings]:
    """The same settings over a cluster of the test's own, in eight shards; arq's queue stays where the rounds were."""
    with embedded.scratch(in_memory()) as data_dir:
        async with cluster(data_dir) as six:
            yield msgspec.structs.replace(settings, redis_url=six.url, queue_url=settings.redis_url, shards=SHARDS)
