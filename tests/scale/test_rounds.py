"""A round of many: a page reads no more than itself, and nothing is lost or repeated, whoever dies between two."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from clock.books.partitions import measure
from clock.books.store import by_key, queries
from clock.channels import OrderState
from clock.config import Settings
from clock.domain import progress
from clock.domain.outcomes import Unavailable
from clock.payments import questions
from clock.rounds import finishing, refunding
from clock.rounds.ending import BooksDiffer
from clock.service import Service
from tests.conftest import DAY, at
from tests.flow.stage import Scripted
from tests.model.world import forgetful, new_world
from tests.raw import raw
from tests.scale.crowd import FIRST_UID, Crowd, load


@pytest.fixture
async def service(shared: Settings) -> AsyncIterator[Service]:
    async with forgetful(shared), new_world(shared) as service:
        yield service
        await raw(service.redis).flushall()


class Crash(Exception):
    """The process dies here."""


@contextmanager
def dying(step: str, at: int) -> Iterator[None]:
    """Whoever works dies after the ``at``-th page of a step, from 1 on."""
    pages = 0

    def heard(name: str, _: int, __: int | None) -> None:
        nonlocal pages
        pages += name == step
        if pages == at:
            raise Crash

    with progress.heard(heard), pytest.raises(Crash):
        yield


async def query(service: Service, statement: str, *parameters: object) -> list[dict[str, Any]]:
    async with service.store.transaction() as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


async def count(service: Service, rows: str) -> int:
    return int((await query(service, f"SELECT count(*) AS n FROM {rows}"))[0]["n"])


async def state(service: Service) -> str:
    return str((await query(service, "SELECT state FROM rounds WHERE day = %s", DAY))[0]["state"])


async def expect_refunded_once(service: Service, users: int) -> None:
    """Each has one refund, which is posted and queued, and nobody else has any."""
    for table in ("refunds", "outgoing WHERE kind = 'refund'", "transfers WHERE kind = 'refund'"):
        source, _, condition = table.partition(" WHERE ")
        assert await count(service, table) == users
        assert await count(service, f"(SELECT DISTINCT uid FROM {source} WHERE {condition or 'true'}) AS one") == users


async def pool_fen(service: Service) -> int:
    return int((await service.store.all("pool_balance", day=DAY))[0]["fen"])


# -- unpaid orders


async def test_a_provider_that_answers_nothing_holds_up_settlement_as_long_as_the_gate_says(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "GATE_SECONDS", 0.5)
    monkeypatch.setattr(questions, "PAGE", 5_000)
    await load(service, Crowd(winners=10, sleepers=10, unpaid=20_000))
    provider, transactions = Scripted(), Counter[str]()

    async def hang(_: str) -> OrderState:
        await asyncio.sleep(60)
        return OrderState("unpaid")

    provider.order = hang
    service.channels["platform"] = provider
    transaction = service.store.transaction

    @asynccontextmanager
    async def counted() -> AsyncIterator[Any]:
        transactions["all"] += 1
        async with transaction() as connection:
            yield connection

    service.store.transaction = counted  # type: ignore[method-assign]
    began = time.monotonic()
    assert await service.settling.settle(DAY) == "settled"
    assert time.monotonic() - began < 0.5 + 10
    assert transactions["all"] < 80  # of these, pages of unanswered orders take eight and a last look
    assert len(provider.calls) <= questions.IN_FLIGHT
    row = (await query(service, "SELECT unanswered_orders FROM rounds WHERE day = %s", DAY))[0]
    assert row["unanswered_orders"] == 20_000
    listed = await service.store.all("list_unanswered", day=DAY, limit=100, offset=19_950)
    assert len(listed) == 50
    service.time.stop_at(at("00:00", 2))
    assert await service.finishing.finish(DAY)
    assert await count(service, "unpaid") == 0


async def test_a_gate_that_was_left_half_way_goes_on_and_asks_about_no_order_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "GATE_PAGE", 100)
    await load(service, Crowd(winners=1, sleepers=1, unpaid=250))
    provider = Scripted()

    async def unpaid(_: str) -> OrderState:
        return OrderState("unpaid")

    provider.order = unpaid
    service.channels["platform"] = provider
    for _ in range(2):
        with dying("unpaid orders", at=1):
            await service.settling.settle(DAY)
    assert await state(service) == "sealed"
    assert len(provider.calls) == 200
    assert await service.settling.settle(DAY) == "settled"
    asked = Counter(call[1] for call in provider.calls)
    assert (len(asked), max(asked.values())) == (250, 1)
    row = (await query(service, "SELECT unanswered_orders FROM rounds WHERE day = %s", DAY))[0]
    assert row["unanswered_orders"] == 0


async def test_a_gate_whose_time_was_over_when_it_was_left_asks_nobody(service: Service) -> None:
    await load(service, Crowd(winners=1, sleepers=1, unpaid=250))
    await query(service, "UPDATE rounds SET sweep_began_at = now() - interval '1 hour' WHERE day = %s", DAY)
    provider = Scripted()
    service.channels["platform"] = provider
    assert await service.settling.settle(DAY) == "settled"
    assert provider.calls == []
    row = (await query(service, "SELECT unanswered_orders FROM rounds WHERE day = %s", DAY))[0]
    assert row["unanswered_orders"] == 250


async def test_settlement_asks_about_orders_that_the_table_of_unpaid_ones_lacks(service: Service) -> None:
    """As those of an older version that drains until the last moment."""
    await load(service, Crowd(winners=1, sleepers=1, unpaid=3))
    await query(service, "DELETE FROM unpaid WHERE uid = %s", FIRST_UID + 4)
    provider = Scripted()
    service.channels["platform"] = provider
    assert await service.settling.settle(DAY) == "settled"
    assert len(provider.calls) == 3


# -- refunds and claims


async def test_refunds_and_forgotten_claims_go_on_after_any_page_and_nobody_has_two(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "PAGE", 500)
    crowd = Crowd(winners=1_500, late_sleepers=10_500, sleepers=6_000)
    await load(service, crowd)
    for page in (1, 2, 3, 4):  # 5,000 members each: 3,500 late sleepers are in the first one
        with dying("refunds", at=page):
            await service.settling.settle(DAY)
        assert await state(service) == "split"
        await expect_refunded_once(service, (3_500, 8_500, 10_500, 10_500)[page - 1])
    assert await service.settling.settle(DAY) == "settled"
    await expect_refunded_once(service, 10_500)
    service.time.stop_at(at("00:00", 2))
    for page in (1, 1, 3):
        with dying("credits", at=page):
            await service.finishing.finish(DAY)
    assert await service.finishing.finish(DAY)
    assert await pool_fen(service) == 0
    assert await count(service, "claims WHERE by = 'system'") == crowd.winners
    assert await count(service, "outgoing WHERE kind = 'payout'") == crowd.winners
    await expect_refunded_once(service, 10_500)


async def test_voiding_goes_on_after_any_page_also_where_settlement_has_refunded_some(service: Service) -> None:
    """Only a round that was opened before there were statements can be called off after its split."""
    await load(service, Crowd(winners=2_000, late_sleepers=8_000, sleepers=2_000))
    async with service.store.transaction() as connection:
        await connection.execute("UPDATE rounds SET salt_key = NULL")
    with dying("refunds", at=1):
        await service.settling.settle(DAY)
    assert await count(service, "refunds") == 3_000
    for page in (1, 2, 3):
        with dying("refunds", at=page):
            await service.voiding.void(DAY, "rain")
        assert await state(service) == "voiding"
        assert await service.settling.settle(DAY) == "round_void"
    assert await service.voiding.void(DAY, "rain") == "ok"
    await expect_refunded_once(service, 12_000)
    assert await count(service, "packets") == await pool_fen(service) == 0
    service.time.stop_at(at("00:00", 2))
    assert await service.finishing.finish(DAY)
    await expect_refunded_once(service, 12_000)


async def test_no_packet_is_published_where_somebody_who_is_refunded_has_become_a_winner(service: Service) -> None:
    await load(service, Crowd(winners=2, late_sleepers=2, sleepers=2))
    with dying("refunds", at=1):
        await service.settling.settle(DAY)
    mended = "INSERT INTO check_ins VALUES (%s, %s, 0, 3)"
    await query(service, mended, DAY, FIRST_UID + 3)
    with pytest.raises(BooksDiffer, match="1 winners"):
        await service.settling.settle(DAY)
    assert await state(service) == "split"


async def test_a_settler_whose_round_was_voided_meanwhile_refunds_no_page_more(service: Service) -> None:
    await load(service, Crowd(winners=2, late_sleepers=2, sleepers=2))
    with dying("refunds", at=1):
        await service.settling.settle(DAY)
    await query(service, "UPDATE rounds SET state = 'voiding', salt_key = NULL WHERE day = %s", DAY)
    with pytest.raises(Unavailable):
        await refunding.refund(service.store, DAY, "split", "late_member", 0, everybody=False)


# -- what a page reads


PAGE = 2_000
MIDDLE = FIRST_UID + 5_000
USERS = {"after": MIDDLE, "last": MIDDLE + PAGE, "limit": PAGE}
ORDERS = {"after": "N20261122000000005000", "last": "N20261122000000007000", "limit": PAGE}
REFUND = {"reason": "void", "at_ms": 0}
PAGES: dict[str, dict[str, Any]] = {
    "unpaid_last": {**USERS, "after": FIRST_UID + 20_100},
    "lock_unpaid_page": {**USERS, "after": FIRST_UID + 20_100},
    "lock_unpaid_due": {**USERS, "now_ms": 2**60},
    "mark_unanswered": {**USERS, "after": FIRST_UID + 20_100, "last": FIRST_UID + 20_100 + PAGE},
    "forget_unpaid": {**USERS, "after": FIRST_UID + 20_100, "last": FIRST_UID + 20_100 + PAGE},
    "note_asked": {"uids": [FIRST_UID + 20_001 + n for n in range(questions.AT_ONCE)], "now_ms": 0, "again_ms": None},
    "members_last": USERS,
    "payments_last": ORDERS,
    "refund_late": {"after": FIRST_UID + 14_000, "last": FIRST_UID + 14_000 + PAGE, **REFUND},
    "refund_paid": {**ORDERS, **REFUND},
    "packets_last": {"shard": 0, "after": 5_000, "limit": PAGE},
    "drop_packets": {"shard": 0, "after": 5_000, "last": 5_000 + PAGE},
    "manifest_page": {"shard": 0, "first": 5_000, "limit": PAGE, "chunk": 100},
    "unclaimed": USERS,
    "tally_page": USERS,
    "tally": {**USERS, "previous": None},
    "credit_page": USERS,
    "credit": USERS,
}


def rows_read(plan: dict[str, Any]) -> int:
    """The rows of tables that a plan has looked at, also those that it left out."""
    looked = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    here = sum(plan.get(name, 0) for name in looked) * plan["Actual Loops"] if "Scan" in plan["Node Type"] else 0
    return int(here if "Relation Name" in plan else 0) + sum(rows_read(one) for one in plan.get("Plans", []))


async def test_a_page_reads_no_more_of_the_round_than_itself(service: Service) -> None:
    await load(service, Crowd(winners=14_000, late_sleepers=2_000, sleepers=4_000, unpaid=10_000))
    packets = "INSERT INTO packets SELECT %s, 0, n, 1 FROM generate_series(0, 13999) AS n"
    await query(service, packets, DAY)
    claims = "INSERT INTO claims SELECT day, uid, 0, rank - 1, 1, 100, 'user', 0 FROM check_ins WHERE rank %% 2 = 0"
    await query(service, claims)
    await measure(service.store, DAY)
    await query(service, "ANALYZE unpaid")
    read: dict[str, int] = {}
    for name, given in PAGES.items():
        async with service.store.transaction() as connection:
            await by_key(connection)
            statement = f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {queries()[name]}"
            found = await (await connection.execute(statement.encode(), {"day": DAY, **given})).fetchall()
            plan = found[0]["QUERY PLAN"]
            read[name] = rows_read((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
            await connection.execute("ROLLBACK AND CHAIN")
    assert {name: rows for name, rows in read.items() if rows > 3 * PAGE + 10} == {}
    assert all(rows > 0 for rows in read.values()), read
