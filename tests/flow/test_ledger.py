"""The ledger: what moves money is posted once, every transaction and every ended pool is zero, and the database
itself refuses what a ledger must not hold."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from clock.audit.reconcile import reconcile
from clock.books import outbox
from clock.books.partitions import partition_of
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.game import keys
from clock.rounds.settling import Settling
from tests.conftest import DAY
from tests.flow.stage import IN_TIME, NEXT_DAY, STAKE, People
from tests.model.world import new_world, plan_bonus
from tests.raw import raw


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
        await raw(people.service.redis).xadd(stream, fields)
    await people.drain()
    assert not await outbox.depth(people.service.redis, DAY, 1)
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


@pytest.mark.parametrize("table", ["transfers", partition_of("transfers", DAY)])
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
    """Settlement stops after ``state``, where the operator calls the round off: after the split one that was opened
    before there were statements."""
    steps = {"closed": "_seal", "split": "_publish"}

    async def stopped(_: Settling, round_: Any) -> str:
        raise Unavailable("the power is out")

    async def play(people: People) -> None:
        await people.members(*range(1, 6))
        await people.join(7)
        await people.morning(winners=2)
        assert await people.pay(7, paid_at=IN_TIME) == "paid"
        if state == "split":
            await people.rows("UPDATE rounds SET salt_key = NULL")
        with pytest.MonkeyPatch.context() as patch:
            if state in steps:
                patch.setattr(Settling, steps[state], stopped)
                with pytest.raises(Unavailable):
                    await people.settle()
        assert await people.service.voiding.void(people.day, "an outage") == "ok"
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

BONUS = 1_003

WITH_BONUS: dict[str, tuple[Play, dict[str, Any], dict[str, int]]] = {
    "winners and sleepers": (
        winners_and_sleepers,
        {"fee_bps": 1000},
        {"fee": 40, "owed:payout": 660 + BONUS, "subsidy": -BONUS},
    ),
    "lucky packets": (
        winners_and_sleepers,
        {"lucky_count": 2, "lucky_bps": 5000},
        {"owed:payout": 700 + BONUS, "subsidy": -BONUS},
    ),
    "equal packets": (winners_and_sleepers, {"split": "equal"}, {"owed:payout": 700 + BONUS, "subsidy": -BONUS}),
    "everybody wakes": (everybody_wakes, {"fee_bps": 1000}, {"owed:payout": 300 + BONUS, "subsidy": -BONUS}),
    "nobody wakes, refunded": (nobody_wakes, {}, {"owed:refund": 300}),
    "nobody wakes, carried": (nobody_wakes, {"nobody": "carry", "fee_bps": 1000}, {"carry": 270, "fee": 30}),
    "nobody comes": (nobody_comes, {}, {}),
    "a cap": (capped, {"packet_cap_fen": 50}, {"carry": 300 + BONUS, "owed:payout": 300, "subsidy": -BONUS}),
    "carried into the next": (
        carried_into_the_next,
        {"nobody": "carry", "fee_bps": 1000},
        {"fee": 70, "owed:payout": 930 + BONUS, "subsidy": -BONUS},
    ),
    "void while joining": (void_after("open"), {}, {"owed:refund": 600}),
    "void after closed": (void_after("closed"), {}, {"owed:refund": 600}),
    "void after split": (void_after("split"), {}, {"owed:refund": 600}),
    "void after split, carried": (
        carried_then_void_then_carried,
        {"nobody": "carry", "fee_bps": 1000},
        {"fee": 40, "owed:refund": 600, "owed:payout": 460 + BONUS, "subsidy": -BONUS},
    ),
}

GAMES = {name: (*game, 0) for name, game in SCENARIOS.items()}
GAMES |= {f"a bonus, {name}": (*game, BONUS) for name, game in WITH_BONUS.items()}


@pytest.mark.parametrize("name", GAMES)
async def test_the_pool_of_an_ended_round_is_zero_and_every_fen_is_where_it_belongs(
    shared: Settings, name: str
) -> None:
    play, changes, expected, bonus_fen = GAMES[name]
    async with new_world(shared, **changes) as service:
        await plan_bonus(service, DAY, bonus_fen)
        people = People(service)
        await play(people)
        await people.drain()
        balances = await people.balances()
        assert {account: fen for account, fen in balances.items() if not account.startswith("channel:")} == expected
        assert balances.get("channel:platform", 0) == -sum(expected.values())
        report = await reconcile(service, people.day)
        assert report is not None and [one for one in report.differences if one.what.startswith("ledger_")] == []
        rounds = await people.rows(
            "SELECT state, day, coalesce(carried_to > day, true) AS ahead, fee_fen, carried_in_fen, carried_out_fen"
            " FROM rounds WHERE finished_at IS NOT NULL"
        )
        assert balances.get("fee", 0) == sum(row["fee_fen"] for row in rounds)
        assert balances.get("carry", 0) == sum(row["carried_out_fen"] - row["carried_in_fen"] for row in rounds)
        assert all(row["ahead"] for row in rounds)
        assert {row["state"] for row in rounds} <= {"finished", "void"}
        assert date.fromordinal(people.day.toordinal()) in {row["day"] for row in rounds}


@pytest.mark.parametrize(
    ("state", "moved"), [("open", []), ("closed", []), ("split", [("bonus", BONUS), ("bonus_back", BONUS)])]
)
async def test_a_bonus_moves_when_the_pot_is_split_and_back_when_the_round_is_void(
    people: People, state: str, moved: list[tuple[str, int]]
) -> None:
    await plan_bonus(people.service, DAY, BONUS)
    await void_after(state)(people)
    rows = await people.rows("SELECT kind, amount_fen FROM transfers WHERE kind LIKE 'bonus%%' ORDER BY kind")
    assert [(row["kind"], row["amount_fen"]) for row in rows] == moved


async def test_a_round_whose_pool_is_not_empty_does_not_finish(people: People) -> None:
    await people.members(1, 2)
    await people.morning(winners=1)
    await people.settle()
    await people.claim(1)
    await people.drain()
    await people.tamper("UPDATE transfers SET amount_fen = amount_fen - 1 WHERE kind = 'packet'")
    people.it_is("00:00", 2)
    with pytest.raises(Exception, match="pool of 2026-11-22 still holds 1 fen"):
        await people.service.finishing.finish(DAY)
    assert [row["finished_at"] for row in await people.rows("SELECT finished_at FROM rounds WHERE day = %s", DAY)] == [
        None
    ]
