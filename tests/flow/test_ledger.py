"""The ledger: what moves money is posted once, every transaction and every ended pool is zero, and the database
itself refuses what a ledger must not hold."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from clock.books import outbox
from clock.channels import BillLine, Channel, OrderState, Result
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.domain.shapes import Extra, PaymentCallback, PaymentExtra
from clock.game import keys
from clock.rounds.settling import Settlement
from clock.runtime.ports import free_port
from clock.service import Service
from tests.conftest import DAY, JWT_SECRET, WEBHOOK_SECRET, Servers, at
from tests.model.world import forgetful, new_world

STAKE = 100
IN_TIME = f"{DAY} 20:00:00"
NEXT_DAY = DAY + timedelta(days=1)


class People:
    """Users of a service without HTTP, on a clock that stands where the test puts it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.day = DAY
        self.orders: dict[int, str] = {}
        self.it_is("20:00")

    def use(self, channel: Channel) -> None:
        """Money comes and goes through this channel."""
        self.service.channels["platform"] = channel
        self.service.questions._channel = channel

    def it_is(self, time_of_day: str, days: int = 0) -> None:
        """A moment into the minute, on the round's day plus ``days``."""
        self.service.time.stop_at(at(time_of_day, (self.day - DAY).days + days, 10))

    async def join(self, *uids: int) -> None:
        async def join(uid: int) -> None:
            extra = Extra(mobile=f"138{uid:08}", nickname=f"用户 {uid}", openId=f"open-{uid}")
            answer = await self.service.verbs.join(uid, extra, time.monotonic())
            self.orders[uid] = answer.data["order_no"]

        await asyncio.gather(*(join(uid) for uid in uids))

    async def pay(self, uid: int, transaction: str = "", paid_at: str = "", channel: str = "platform") -> str:
        """The callback of a good payment; its word."""
        number = self.orders[uid]
        extra = PaymentExtra(
            amount=STAKE,
            buyerId=f"open-{uid}",
            notify_time=paid_at or None,
            transactionId=transaction or f"S{number}0",
        )
        callback = PaymentCallback(number, extra)
        return (
            await self.service.incoming.pay(callback, channel, msgspec.json.encode(callback), time.monotonic())
        ).word

    async def members(self, *uids: int) -> None:
        await self.join(*uids)
        assert set(await asyncio.gather(*(self.pay(uid) for uid in uids))) <= {"paid"}

    async def check_in(self, *uids: int) -> None:
        answers = await asyncio.gather(*(self.service.verbs.check_in(uid, time.monotonic()) for uid in uids))
        assert {answer.word for answer in answers} <= {"checked_in"}

    async def claim(self, *uids: int) -> list[int]:
        """Packets in fen."""
        answers = [await self.service.verbs.claim(uid, time.monotonic()) for uid in uids]
        assert {answer.word for answer in answers} <= {"claimed"}, answers
        return [answer.data["assign"]["money"] for answer in answers]

    async def drain(self) -> None:
        for shard in range(self.service.settings.shards):
            await outbox.drain(self.service.store, self.service.redis, self.day, shard)
        await outbox.drain(self.service.store, self.service.redis, keys.USERS, 0)

    async def settle(self) -> None:
        self.it_is("08:05", 1)
        assert await self.service.settlement.settle(self.day) == "settled"

    async def finish(self) -> None:
        self.it_is("00:00", 2)
        assert await self.service.settlement.finish(self.day)

    async def morning(self, winners: int = 0) -> None:
        """At six, and the first ``winners`` of those who ordered are awake."""
        self.it_is("06:00", 1)
        await self.check_in(*sorted(self.orders)[:winners])

    async def rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        async with self.service.store.transaction() as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def tamper(self, statement: str, *parameters: Any) -> None:
        """As somebody could who switches the triggers off."""
        async with self.service.store.transaction() as connection:
            await connection.execute("SET LOCAL session_replication_role = replica")
            assert (await connection.execute(statement.encode(), parameters)).rowcount > 0, "nothing was changed"

    async def balances(self) -> dict[str, int]:
        """Every account that is not zero."""
        found = await self.rows("SELECT account, sum(amount_fen)::bigint AS fen FROM postings GROUP BY account")
        return {row["account"]: row["fen"] for row in found if row["fen"]}

    async def balance(self, account: str) -> int:
        return (await self.balances()).get(account, 0)

    async def transfers(self) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM transfers ORDER BY day, kind, cause")


class Scripted:
    """A provider that answers what the test says; what it was asked is in ``calls``. Down unless told otherwise."""

    name = "platform"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.order: Callable[[str], Awaitable[OrderState]] = self._unknown
        self.result: Callable[[str, str], Awaitable[Result]] = self._down
        self.lines: dict[str, list[BillLine]] | None = None

    async def _unknown(self, _: str) -> OrderState:
        return OrderState("unknown")

    async def _down(self, _action: str, _no: str) -> Result:
        return Result("again", "no connection")

    def pay_with(self, order_no: str, amount_fen: int) -> dict[str, Any]:
        return {}

    def verify(self, raw: bytes, headers: Any) -> None:
        return

    async def query_order(self, order_no: str) -> OrderState:
        self.calls.append(("query_order", order_no))
        return await self.order(order_no)

    async def close_order(self, order_no: str) -> OrderState:
        self.calls.append(("close_order", order_no))
        return await self.order(order_no)

    async def refund(self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int) -> Result:
        self.calls.append(("refund", refund_no, order_no, transaction_id, amount_fen))
        return await self.result("refund", refund_no)

    async def query_refund(self, refund_no: str) -> Result:
        self.calls.append(("query_refund", refund_no))
        return await self.result("query_refund", refund_no)

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result:
        self.calls.append(("transfer", transfer_no, open_id, amount_fen))
        return await self.result("transfer", transfer_no)

    async def query_transfer(self, transfer_no: str) -> Result:
        self.calls.append(("query_transfer", transfer_no))
        return await self.result("query_transfer", transfer_no)

    async def bill(self, day: str) -> list[BillLine] | None:
        self.calls.append(("bill", day))
        return None if self.lines is None else self.lines.get(day, [])

    async def close(self) -> None:
        return


@asynccontextmanager
async def one_database(servers: Servers, data_dir: Path) -> AsyncIterator[Settings]:
    """Settings over one database for the tests of a file: each begins with ``new_world``, which empties it."""
    name = f"shared_{free_port()}"
    settings = Settings(
        env="dev",
        port=free_port(),
        data_dir=data_dir,
        redis_url=servers.redis_url,
        database_url=servers.database_url(name),
        jwt_secret=JWT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
    )
    async with await psycopg.AsyncConnection.connect(servers.admin_url, autocommit=True) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template".encode())
        async with forgetful(settings):
            yield settings
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
async def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("ledger")) as settings:
        yield settings


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared) as service:
        yield People(service)


# -- posted once


async def test_every_event_is_posted_through_the_rules_once_however_often_it_is_read(people: People) -> None:
    stream = keys.name(DAY, 0, "outbox")
    await people.members(1, 2, 3, 4)
    assert await people.pay(1, "again") == "refund_due"
    await people.join(5)
    await people.morning(winners=2)
    assert await people.pay(5, paid_at=IN_TIME) == "paid"  # late, and sleeps on
    entries = await people.service.redis.xrange(stream)
    await people.settle()
    await people.claim(1)
    entries += await people.service.redis.xrange(stream)
    people.it_is("00:00", 2)
    await people.finish()
    posted = await people.transfers()
    expected = {"stake": 5, "unwanted": 1, "refund": 1, "stake_back": 2, "packet": 2, "payout": 2}
    assert Counter(row["kind"] for row in posted) == expected
    assert {row["amount_fen"] for row in posted if row["kind"] == "stake"} == {STAKE}
    assert {row["cause"] for row in posted if row["kind"] in ("stake_back", "packet", "payout")} == {"1", "2"}
    assert sum(row["amount_fen"] for row in posted if row["kind"] == "packet") == 2 * STAKE
    assert sum(row["amount_fen"] for row in posted if row["kind"] == "payout") == 4 * STAKE
    for _, fields in entries * 2:
        await people.service.redis.xadd(stream, fields)
    await people.drain()
    assert await people.service.redis.xlen(stream) == 0
    assert await people.transfers() == posted
    assert len(await people.rows("SELECT * FROM outgoing")) == 4  # two payouts, two refunds


async def test_every_transaction_sums_to_zero(people: People) -> None:
    await people.members(1, 2, 3)
    await people.morning(winners=1)
    await people.settle()
    await people.claim(1)
    await people.drain()
    sums = await people.rows("SELECT day, kind, cause, sum(amount_fen) AS fen, count(*) FROM postings GROUP BY 1, 2, 3")
    assert len(sums) == 6  # three stakes; stake_back, packet, payout
    assert {(row["fen"], row["count"]) for row in sums} == {(0, 2)}
    assert sum((await people.balances()).values()) == 0


# -- what the database itself refuses


async def refused(people: People, statement: str) -> str:
    """The SQLSTATE's name with which Postgres refuses the statement, and nothing has changed."""
    before = await people.transfers()
    with pytest.raises(psycopg.Error) as caught:
        await people.rows(statement)
    assert await people.transfers() == before
    return type(caught.value).__name__


def insert(amount_fen: int = 1, to_account: str = "fee", cause: str = "x") -> str:
    return (
        "INSERT INTO transfers (day, kind, cause, from_account, to_account, amount_fen, at_ms)"
        f" VALUES ('{DAY}', 'stake', '{cause}', 'carry', '{to_account}', {amount_fen}, 0)"
    )


@pytest.fixture
async def posted(people: People) -> People:
    await people.members(1)
    await people.drain()
    return people


@pytest.mark.parametrize("amount_fen", [0, -1])
async def test_the_database_refuses_to_move_nothing_or_less(posted: People, amount_fen: int) -> None:
    assert await refused(posted, insert(amount_fen)) == "CheckViolation"


async def test_the_database_refuses_an_account_that_pays_itself(posted: People) -> None:
    assert await refused(posted, insert(to_account="carry")) == "CheckViolation"


async def test_the_database_refuses_the_same_cause_twice(posted: People) -> None:
    [row] = await posted.transfers()
    assert await refused(posted, insert(cause=row["cause"])) == "UniqueViolation"


@pytest.mark.parametrize("table", ["transfers", f"transfers_{DAY:%Y%m%d}"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET amount_fen = 1", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_database_refuses_to_change_or_forget_what_was_posted(
    posted: People, statement: str, table: str
) -> None:
    assert await refused(posted, statement.format(table)) == "RestrictViolation"


# -- every fen of a round that has ended has left its pool


async def winners_and_sleepers(people: People) -> None:
    await people.members(*range(1, 8))
    await people.morning(winners=3)
    await people.settle()
    await people.claim(2)
    await people.finish()


async def everybody_wakes(people: People) -> None:
    await people.members(1, 2, 3)
    await people.morning(winners=3)
    await people.settle()
    await people.finish()


async def nobody_wakes(people: People) -> None:
    await people.members(1, 2, 3)
    await people.settle()
    await people.finish()


async def nobody_comes(people: People) -> None:
    await people.service.opener.open_round(people.day)
    await people.settle()
    await people.finish()


async def late_members(people: People) -> None:
    """7 and 8 pay in time and are heard of in the morning; 7 checks in, 8 does not. 9's money comes too late."""
    await people.members(1, 2, 3)
    await people.join(7, 8, 9)
    await people.morning(winners=1)
    assert [await people.pay(uid, paid_at=IN_TIME) for uid in (7, 8)] == ["paid", "paid"]
    assert await people.pay(9, paid_at=f"{NEXT_DAY} 00:00:01") == "refund_due"
    await people.check_in(7)
    await people.settle()
    await people.finish()


async def refused_payments(people: People) -> None:
    """Paid twice, paid with two transactions, paid after everything was over."""
    await people.members(1, 2)
    assert [await people.pay(1), await people.pay(1, "second")] == ["already_paid", "refund_due"]
    await people.join(3)
    await people.morning(winners=1)
    await people.settle()
    assert await people.pay(3, paid_at=IN_TIME) == "refund_due"
    await people.finish()


async def carried_into_the_next(people: People) -> None:
    await nobody_wakes(people)
    assert await people.balance("carry") == 270
    people.day, people.orders = NEXT_DAY, {}
    people.it_is("20:00")
    await winners_and_sleepers(people)


async def capped(people: People) -> None:
    """Four forfeit 400; two packets of at most 50 leave 300 for later."""
    await people.members(*range(1, 7))
    await people.morning(winners=2)
    await people.settle()
    await people.finish()


async def capped_then_carried(people: People) -> None:
    await capped(people)
    people.day, people.orders = NEXT_DAY, {}
    people.it_is("20:00")
    await people.members(1, 2)
    await people.morning(winners=1)
    await people.settle()
    await people.finish()


def void_after(state: str) -> Callable[[People], Awaitable[None]]:
    """Settlement stops after ``state``, where the operator calls the round off."""
    steps = {"closed": "_split", "split": "_publish"}

    async def stopped(_: Settlement, round_: Any) -> str:
        raise Unavailable("the power is out")

    async def play(people: People) -> None:
        await people.members(*range(1, 6))
        await people.join(7)
        await people.morning(winners=2)
        assert await people.pay(7, paid_at=IN_TIME) == "paid"
        with pytest.MonkeyPatch.context() as patch:
            if state in steps:
                patch.setattr(Settlement, steps[state], stopped)
                with pytest.raises(Unavailable):
                    await people.settle()
        assert await people.service.settlement.void(people.day, "an outage") == "ok"
        assert [row["state"] for row in await people.rows("SELECT state FROM rounds WHERE day = %s", people.day)] == [
            "void"
        ]
        await people.finish()

    return play


async def carried_then_void_then_carried(people: People) -> None:
    """What a voided round had taken from an earlier one goes into the round after it."""
    await nobody_wakes(people)
    people.day, people.orders = NEXT_DAY, {}
    people.it_is("20:00")
    await void_after("split")(people)
    assert await people.balance("carry") == 270
    people.day, people.orders = NEXT_DAY + timedelta(days=1), {}
    people.it_is("20:00")
    await people.members(1, 2)
    await people.morning(winners=1)
    await people.settle()
    await people.finish()


Play = Callable[[People], Awaitable[None]]

SCENARIOS: dict[str, tuple[Play, dict[str, Any], dict[str, int]]] = {
    # name                          play                 settings, and what must be left on which account
    "winners and sleepers": (winners_and_sleepers, {}, {"owed:payout": 700}),
    "a fee of 10 %": (winners_and_sleepers, {"fee_bps": 1000}, {"fee": 40, "owed:payout": 660}),
    "a fee rounded down": (winners_and_sleepers, {"fee_bps": 33}, {"fee": 1, "owed:payout": 699}),
    "a fee of everything": (winners_and_sleepers, {"fee_bps": 10_000}, {"fee": 400, "owed:payout": 300}),
    "equal packets": (winners_and_sleepers, {"split": "equal"}, {"owed:payout": 700}),
    "lucky packets": (winners_and_sleepers, {"lucky_count": 2, "lucky_bps": 5000}, {"owed:payout": 700}),
    "eight shards": (winners_and_sleepers, {"shards": 8, "fee_bps": 1000}, {"fee": 40, "owed:payout": 660}),
    "everybody wakes": (everybody_wakes, {"fee_bps": 1000}, {"owed:payout": 300}),
    "nobody wakes, refunded": (nobody_wakes, {"fee_bps": 1000}, {"owed:refund": 300}),
    "nobody wakes, carried": (nobody_wakes, {"nobody": "carry"}, {"carry": 300}),
    "nobody wakes, carried less the fee": (
        nobody_wakes,
        {"nobody": "carry", "fee_bps": 1000},
        {"carry": 270, "fee": 30},
    ),
    "nobody comes": (nobody_comes, {}, {}),
    "late members": (late_members, {}, {"owed:payout": 400, "owed:refund": 200}),
    "refused payments": (refused_payments, {}, {"owed:payout": 200, "owed:refund": 200}),
    "carried into the next": (
        carried_into_the_next,
        {"nobody": "carry", "fee_bps": 1000},
        {"fee": 70, "owed:payout": 930},
    ),
    "a cap": (capped, {"packet_cap_fen": 50}, {"carry": 300, "owed:payout": 300}),
    "a cap, then carried": (capped_then_carried, {"packet_cap_fen": 50}, {"carry": 350, "owed:payout": 450}),
    "void while joining": (void_after("open"), {"fee_bps": 1000}, {"owed:refund": 600}),
    "void after closed": (void_after("closed"), {"fee_bps": 1000}, {"owed:refund": 600}),
    "void after split": (void_after("split"), {"fee_bps": 1000}, {"owed:refund": 600}),
    "void after split, carried": (
        carried_then_void_then_carried,
        {"nobody": "carry", "fee_bps": 1000},
        {"fee": 40, "owed:refund": 600, "owed:payout": 460},
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_pool_of_an_ended_round_is_zero_and_every_fen_is_where_it_belongs(
    shared: Settings, name: str
) -> None:
    play, changes, expected = SCENARIOS[name]
    async with new_world(shared, **changes) as service:
        people = People(service)
        await play(people)
        await people.drain()
        balances = await people.balances()
        assert {account: fen for account, fen in balances.items() if not account.startswith("channel:")} == expected
        assert balances.get("channel:platform", 0) == -sum(expected.values())
        rounds = await people.rows(
            "SELECT state, day, coalesce(carried_to > day, true) AS ahead, fee_fen, carried_in_fen, carried_out_fen"
            " FROM rounds WHERE finished_at IS NOT NULL"
        )
        assert balances.get("fee", 0) == sum(row["fee_fen"] for row in rounds)
        assert balances.get("carry", 0) == sum(row["carried_out_fen"] - row["carried_in_fen"] for row in rounds)
        assert all(row["ahead"] for row in rounds)
        assert {row["state"] for row in rounds} <= {"finished", "void"}
        assert date.fromordinal(people.day.toordinal()) in {row["day"] for row in rounds}


async def test_a_round_whose_pool_is_not_empty_does_not_finish(people: People) -> None:
    await people.members(1, 2)
    await people.morning(winners=1)
    await people.settle()
    await people.claim(1)
    await people.drain()
    await people.tamper("UPDATE transfers SET amount_fen = amount_fen - 1 WHERE kind = 'packet'")
    people.it_is("00:00", 2)
    with pytest.raises(Exception, match="pool of 2026-11-22 still holds 1 fen"):
        await people.service.settlement.finish(DAY)
    assert [row["finished_at"] for row in await people.rows("SELECT finished_at FROM rounds WHERE day = %s", DAY)] == [
        None
    ]
