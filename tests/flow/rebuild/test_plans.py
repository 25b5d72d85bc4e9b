"""What a rebuild reads of a large round, Postgres reads in one pass over each table."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from clock.audit.rebuild import rebuild_lost
from clock.audit.reconcile import reconcile
from clock.books import store
from clock.books.partitions import measure
from clock.books.store import queries
from clock.config import Settings
from clock.game import keys
from clock.service import Service
from tests.conftest import DAY
from tests.flow.rebuild.crowd import load_settled
from tests.model.world import new_world

pytestmark = pytest.mark.long

MEMBERS = 20_000
STREAMED = (
    *("rebuild_users", "rebuild_payments", "rebuild_checking", "packet_pieces"),
    *("rebuild_flags", "rebuild_flags_of_void"),
)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def reads_a_table_again_and_again(plan: dict[str, Any]) -> bool:
    """A nested loop whose inner side is a scan of a whole table: quadratic."""
    for node in nodes(plan):
        if node["Node Type"] == "Nested Loop":
            (inner,) = (part for part in node["Plans"] if part["Parent Relationship"] == "Inner")
            if any(below["Node Type"] == "Seq Scan" for below in nodes(inner)):
                return True
    return False


async def plan_of(service: Service, query: str, fraction: float) -> dict[str, Any]:
    async with service.store.transaction() as connection:
        await connection.execute(f"SET LOCAL cursor_tuple_fraction = {fraction}".encode())
        explained = f"EXPLAIN (FORMAT JSON) DECLARE c CURSOR FOR {queries()[query]}"
        found: Any = await (
            await connection.execute(
                explained.encode(), {"day": DAY, "uids": None, "order_nos": None, "piece": keys.PIECE}
            )
        ).fetchone()
        plan: dict[str, Any] = found["QUERY PLAN"][0]["Plan"]
        return plan


async def test_a_large_round_is_read_in_one_pass_and_comes_back_whole(shared: Settings) -> None:
    async with new_world(shared, shards=1) as service:
        await load_settled(service, MEMBERS)
        await measure(service.store, DAY)
        for query in STREAMED:
            assert not reads_a_table_again_and_again(await plan_of(service, query, 1)), query

        redis: Any = service.redis
        await redis.flushall()
        began = time.monotonic()
        assert await rebuild_lost(service) == [f"{DAY}.0"]
        rebuilt = time.monotonic()
        report = await reconcile(service, DAY)
        print(f"rebuilt in {rebuilt - began:.1f} s, reconciled in {time.monotonic() - rebuilt:.1f} s")
        assert report is not None
        assert report.differences == []


async def test_a_stream_is_planned_for_all_of_its_rows(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with new_world(shared) as service:
        monkeypatch.setattr(
            store, "queries", lambda: {"asked": "SELECT current_setting('cursor_tuple_fraction') AS is"}
        )
        assert [row async for row in service.store.stream("asked")] == [{"is": "1"}]
