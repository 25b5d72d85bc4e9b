"""Settling, voiding and finishing: where every fen goes, and that dying at any moment changes nothing of it."""

import asyncio
import hashlib
import os
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock.books import outbox
from clock.books.store import SETTLEMENT_LOCK
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import Rules
from clock.domain.shapes import Extra, PaymentCallback
from clock.domain.split import Split, split
from clock.game import keys
from clock.http import public
from clock.operators import ops
from clock.rounds import settling
from clock.rounds.settling import BooksDiffer
from clock.runtime import worker
from clock.service import Service
from tests.conftest import DAY
from tests.model.model import instant
from tests.model.world import arrived, exact_waits, forgetful, new_world, quiet, service_with

BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
STAKE = 100


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    exact_waits(monkeypatch)
    with quiet():
        yield


@pytest.fixture
async def process(settings: Settings) -> AsyncIterator[Service]:
    async with forgetful(settings), new_world(settings, shards=2) as service:
        yield service


# -- a round, played


@dataclass(frozen=True)
class Crowd:
    """How many take part, by what they do; uids count from 1 in this order."""

    winners: int = 0
    late_winners: int = 0
    sleepers: int = 0
    late_sleepers: int = 0

    @property
    def awake(self) -> range:
        return range(1, 1 + self.winners + self.late_winners)

    @property
    def everybody(self) -> range:
        return range(1, 1 + self.winners + self.late_winners + self.sleepers + self.late_sleepers)

    @property
    def late(self) -> list[int]:
        slept_late = self.everybody[len(self.everybody) - self.late_sleepers :]
        return [*self.awake[self.winners :], *slept_late]


CROWD = Crowd(winners=3, late_winners=1, sleepers=4, late_sleepers=1)


def stop(service: Service, day: date, time_of_day: str, milliseconds: int = 0) -> None:
    """``time_of_day`` on the round's check-in day."""
    service.time.stop_at(instant(day + timedelta(days=1), time_of_day) + milliseconds)


async def join(service: Service, uid: int) -> str:
    answer = await service.verbs.join(uid, Extra(f"138{uid:08}", f"user {uid}", f"open-{uid}"), arrived())
    assert answer.word == "ordered", answer
    number: str = answer.data["order_no"]
    return number


async def pay(service: Service, uid: int, number: str, paid_at: str, transaction: str = "") -> str:
    extra = {"amount": STAKE, "buyerId": f"open-{uid}", "transactionId": transaction or f"T{number}"}
    raw = msgspec.json.encode({"order_no": number, "extra": {**extra, "notify_time": paid_at}})
    callback = msgspec.json.decode(raw, type=PaymentCallback)
    return (await service.incoming.pay(callback, "platform", raw, arrived())).word


async def play(service: Service, day: date, crowd: Crowd) -> dict[int, str]:
    """Everything until check-in closes; the order numbers."""
    await service.opener.open_round(day)
    service.time.stop_at(instant(day, "20:00"))
    numbers = {uid: await join(service, uid) for uid in crowd.everybody}
    for uid in crowd.everybody:
        if uid not in crowd.late:
            assert await pay(service, uid, numbers[uid], f"{day} 20:00:00") == "paid"
    stop(service, day, "06:00")
    for uid in crowd.late:
        assert await pay(service, uid, numbers[uid], f"{day} 20:00:00") == "paid"
    taps = await asyncio.gather(*(service.verbs.check_in(uid, arrived()) for uid in crowd.awake))
    assert [tap.word for tap in taps] == ["checked_in"] * len(crowd.awake)
    return numbers


async def settled(service: Service, day: date, crowd: Crowd) -> dict[str, Any]:
    """Play and settle; the round's row."""
    await play(service, day, crowd)
    stop(service, day, "08:05")
    assert await service.settlement.settle(day) == "settled"
    return await audited(service, day)


# -- what can be seen


async def query(service: Service, statement: str, *parameters: object) -> list[dict[str, Any]]:
    async with service.store.transaction() as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


async def row_of(service: Service, day: date) -> dict[str, Any]:
    return (await query(service, "SELECT * FROM rounds WHERE day = %s", day))[0]


async def manifest(service: Service, day: date) -> list[int]:
    rows = await query(service, "SELECT fen FROM packets WHERE day = %s ORDER BY shard, index", day)
    return [row["fen"] for row in rows]


async def published(service: Service, day: date) -> list[int]:
    """The packets in Redis, shard after shard."""
    redis: Any = service.redis
    shards = msgspec.convert((await row_of(service, day))["rules"], Rules).shards
    lists = [await redis.lrange(keys.name(day, shard, "packets"), 0, -1) for shard in range(shards)]
    return [int(fen) for packets in lists for fen in packets]


async def refunds(service: Service, day: date) -> list[int]:
    """Who gets a stake back."""
    rows = await query(service, "SELECT uid, amount_fen FROM refunds WHERE day = %s ORDER BY uid", day)
    assert all(row["amount_fen"] == STAKE for row in rows)
    return [row["uid"] for row in rows]


async def audited(service: Service, day: date) -> dict[str, Any]:
    """A settled round's row, after checking that its sums agree and its packets can be recomputed."""
    row = await row_of(service, day)
    rules = msgspec.convert(row["rules"], Rules)
    stakes_back = row["winners"] * rules.stake_fen
    assert row["pool_fen"] == row["members"] * rules.stake_fen
    assert row["pool_fen"] == stakes_back + row["refunded_fen"] + row["forfeited_fen"]
    assert row["pot_fen"] == row["forfeited_fen"] - row["fee_fen"] + row["carried_in_fen"]
    how = Split(
        mode=rules.split,
        lucky_count=rules.lucky_count,
        lucky_bps=rules.lucky_bps,
        packet_cap_fen=rules.packet_cap_fen,
    )
    result = split(row["seed"], row["pot_fen"], row["winners"], how)
    assert await manifest(service, day) == list(result.packets_fen)
    assert row["carried_out_fen"] == result.carried_fen == row["pot_fen"] - sum(result.packets_fen)
    assert len(await refunds(service, day)) * rules.stake_fen == row["refunded_fen"]
    return row


async def finished(service: Service, day: date) -> list[dict[str, Any]]:
    """Finish the round; its claims, after checking that they are the manifest."""
    stop(service, day, "24:00")
    assert await service.settlement.finish(day)
    claims = await query(service, "SELECT * FROM claims WHERE day = %s ORDER BY shard, index", day)
    assert [claim["packet_fen"] for claim in claims] == await manifest(service, day)
    assert len({claim["uid"] for claim in claims}) == len(claims) == (await row_of(service, day))["winners"]
    assert await published(service, day) == []
    return claims


# -- where the money goes


@dataclass(frozen=True)
class Case:
    crowd: Crowd
    rules: dict[str, Any]
    refunded_fen: int = 0
    forfeited_fen: int = 0
    fee_fen: int = 0
    carried_out_fen: int = 0
    packets: tuple[int, ...] | None = None
    """Sorted, where the rules leave no choice."""


CASES = {
    "an empty round settles to nothing": Case(Crowd(), {}, packets=()),
    "the sleepers' stakes are shared": Case(Crowd(winners=3, sleepers=4), {}, forfeited_fen=400),
    "everybody checked in: the stake comes back": Case(Crowd(winners=4), {}, packets=(0, 0, 0, 0)),
    "one winner takes the pot": Case(Crowd(winners=1, sleepers=3), {}, forfeited_fen=300, packets=(300,)),
    "equal packets, odd fen one each": Case(
        Crowd(winners=3, sleepers=1), {"split": "equal"}, forfeited_fen=100, packets=(33, 33, 34)
    ),
    "fewer fen than winners": Case(
        Crowd(winners=5, sleepers=1), {"fee_bps": 9_700}, forfeited_fen=100, fee_fen=97, packets=(0, 0, 1, 1, 1)
    ),
    "nobody checked in, refund": Case(Crowd(sleepers=3, late_sleepers=1), {"fee_bps": 500}, refunded_fen=400),
    "nobody checked in, carry": Case(
        Crowd(sleepers=3, late_sleepers=1),
        {"nobody": "carry"},
        refunded_fen=100,
        forfeited_fen=300,
        carried_out_fen=300,
    ),
    "late members who slept are refunded, not forfeited": Case(
        Crowd(winners=1, late_winners=1, sleepers=2, late_sleepers=3), {}, refunded_fen=300, forfeited_fen=200
    ),
    "only late members slept: nothing is forfeited": Case(
        Crowd(winners=2, late_sleepers=2), {"fee_bps": 5_000}, refunded_fen=200, packets=(0, 0)
    ),
    "the fee is of forfeited money, rounded down": Case(
        Crowd(winners=2, sleepers=1), {"fee_bps": 199}, forfeited_fen=100, fee_fen=1
    ),
    "lucky winners have a part on top": Case(
        Crowd(winners=3, sleepers=3),
        {"split": "equal", "lucky_count": 1, "lucky_bps": 5_000},
        forfeited_fen=300,
        packets=(50, 50, 200),
    ),
    "the cap cuts, and what fits nowhere is carried": Case(
        Crowd(winners=2, sleepers=3),
        {"packet_cap_fen": 120},
        forfeited_fen=300,
        carried_out_fen=60,
        packets=(120, 120),
    ),
}


@pytest.mark.parametrize("shards", [1, 5])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_where_the_money_goes(settings: Settings, case: Case, shards: int) -> None:
    async with forgetful(settings), new_world(settings, shards=shards, **case.rules) as service:
        row = await settled(service, DAY, case.crowd)
        assert (row["members"], row["winners"]) == (len(case.crowd.everybody), len(case.crowd.awake))
        assert row["late"] == len(case.crowd.late)
        for name in ("refunded_fen", "forfeited_fen", "fee_fen", "carried_out_fen"):
            assert row[name] == getattr(case, name), name
        packets = await published(service, DAY)
        assert packets == await manifest(service, DAY)
        assert case.packets is None or tuple(sorted(packets)) == case.packets
        late_sleepers = case.crowd.everybody[len(case.crowd.everybody) - case.crowd.late_sleepers :]
        whole = not case.crowd.awake and not case.carried_out_fen
        assert await refunds(service, DAY) == list(case.crowd.everybody if whole else late_sleepers)
        await finished(service, DAY)


async def test_the_pot_that_nobody_won_goes_into_the_next_round_and_on_until_somebody_wins(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, nobody="carry", fee_bps=1_000) as service:
        first = await settled(service, BEFORE, Crowd(sleepers=2))
        assert (first["fee_fen"], first["carried_out_fen"]) == (20, 180)
        empty = await settled(service, DAY, Crowd())
        assert (empty["carried_in_fen"], empty["fee_fen"], empty["carried_out_fen"]) == (180, 0, 180)
        last = await settled(service, AFTER, Crowd(winners=1, sleepers=1))
        assert (last["carried_in_fen"], last["fee_fen"], last["carried_out_fen"]) == (180, 10, 0)
        assert await manifest(service, AFTER) == [270]


async def test_what_was_carried_is_taken_once(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, nobody="carry") as service:
        assert (await settled(service, BEFORE, Crowd(sleepers=2)))["carried_out_fen"] == 200
        assert (await settled(service, DAY, Crowd(winners=1)))["carried_in_fen"] == 200
        assert (await settled(service, AFTER, Crowd(winners=1)))["carried_in_fen"] == 0


async def test_what_did_not_fit_under_the_cap_is_in_the_next_pot(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, packet_cap_fen=150) as service:
        assert (await settled(service, BEFORE, Crowd(winners=1, sleepers=3)))["carried_out_fen"] == 150
        row = await settled(service, DAY, Crowd(winners=2, sleepers=1))
        assert (row["carried_in_fen"], row["pot_fen"], row["carried_out_fen"]) == (150, 250, 0)


# -- when


async def test_settlement_is_due_at_0805_and_not_a_millisecond_before(process: Service) -> None:
    await play(process, DAY, CROWD)
    for time_of_day, milliseconds in (("06:00", 0), ("08:00", 0), ("08:05", -1)):
        stop(process, DAY, time_of_day, milliseconds)
        assert await process.settlement.settle(DAY) == "not_due"
        assert (await process.verbs.check_in(1, arrived())).word == "already_checked_in"
    assert (await row_of(process, DAY))["state"] == "open"
    stop(process, DAY, "08:05")
    assert await process.settlement.settle(DAY) == "settled"


async def test_a_worker_that_starts_at_eleven_settles_what_was_due(process: Service) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "11:00")
    assert (await process.verbs.claim(1, arrived())).word == "not_settled"
    await worker.settle({"service": process})
    assert (await process.verbs.claim(1, arrived())).word == "claimed"
    await audited(process, DAY)


async def test_after_days_of_outage_everything_is_settled_and_finished_oldest_first(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, nobody="carry", shards=2) as service:
        await play(service, BEFORE, Crowd(sleepers=2))
        await play(service, DAY, Crowd(winners=1, sleepers=1))
        stop(service, AFTER, "12:00")
        await worker.settle({"service": service})
        assert [(await row_of(service, day))["state"] for day in (BEFORE, DAY)] == ["finished", "finished"]
        assert (await row_of(service, DAY))["pot_fen"] == 300
        claims = await query(service, "SELECT uid, packet_fen, by FROM claims")
        assert claims == [{"uid": 1, "packet_fen": 300, "by": "system"}]


async def test_a_day_without_a_round_is_not_found(process: Service) -> None:
    assert await process.settlement.settle(DAY) == "round_not_found"
    assert await process.settlement.void(DAY, "why") == "round_not_found"
    assert not await process.settlement.finish(DAY)


async def test_unclaimed_winners_are_credited_at_midnight_and_not_before(process: Service) -> None:
    await settled(process, DAY, CROWD)
    claimed = await process.verbs.claim(1, arrived())
    stop(process, DAY, "24:00", -1)
    assert not await process.settlement.finish(DAY)
    assert len(await published(process, DAY)) == 3
    claims = await finished(process, DAY)
    assert {claim["uid"]: claim["by"] for claim in claims} == {1: "user", 2: "system", 3: "system", 4: "system"}
    mine = next(claim for claim in claims if claim["uid"] == 1)
    assert mine["packet_fen"] == claimed.data["assign"]["money"]
    assert not await process.settlement.finish(DAY)


async def test_more_winners_than_one_call_credits_are_all_credited(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, shards=2) as service:
        await settled(service, DAY, Crowd(winners=620, sleepers=30))
        claims = await finished(service, DAY)
        assert len(claims) == 620
        assert sum(claim["packet_fen"] for claim in claims) == 30 * STAKE


# -- dying


class Crash(Exception):
    """The process dies here."""


class Fuse:
    """Kills the process at the ``at``-th call to a server: a command is not sent, a transaction not committed.

    That is every moment at which dying can make a difference: what is lost after a call is lost before the next.
    """

    def __init__(self, service: Service, at: int) -> None:
        self.calls, self.burnt, self._at = 0, False, at
        redis: Any = service.redis
        self._command, self._transaction = redis.execute_command, service.store.transaction
        service.redis.execute_command = self.command  # type: ignore[method-assign]
        service.store.transaction = self.transaction  # type: ignore[method-assign]

    def _is_hit(self) -> bool:
        self.calls += 1
        return self.calls == self._at

    def _burn(self) -> None:
        self.burnt = True
        raise Crash

    async def command(self, *args: Any, **options: Any) -> Any:
        """Any but TIME, which the process' own clock asks for in the background."""
        if args[0] != "TIME" and self._is_hit():
            self._burn()
        return await self._command(*args, **options)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        hit = self._is_hit()
        async with self._transaction() as connection:
            yield connection
            if hit:
                self._burn()


Act = Callable[[Service], Awaitable[object]]


async def dies(settings: Settings, living: Service, act: Act, at: int, **rules: Any) -> bool:
    """Whether a process of its own died on the way, at the ``at``-th call."""
    async with service_with(settings, **rules) as victim:
        victim.time.setting = living.time.setting
        fuse = Fuse(victim, at)
        with suppress(Crash):
            await act(victim)
        return fuse.burnt


RICH = {"shards": 2, "nobody": "carry", "fee_bps": 1_000, "packet_cap_fen": 150, "lucky_count": 1, "lucky_bps": 2_000}


async def carried_then_played(service: Service) -> None:
    await settled(service, BEFORE, Crowd(sleepers=3))
    await play(service, DAY, CROWD)
    stop(service, DAY, "08:05")


def expect_rich(row: dict[str, Any]) -> None:
    assert (row["members"], row["winners"], row["late"]) == (9, 4, 2)
    assert (row["refunded_fen"], row["forfeited_fen"], row["fee_fen"]) == (100, 400, 40)
    assert (row["carried_in_fen"], row["pot_fen"], row["carried_out_fen"]) == (270, 630, 30)


async def test_packets_are_published_in_the_order_of_the_manifest_page_after_page(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "PAGE", 5)
    monkeypatch.setattr(settling, "CHUNK", 2)
    monkeypatch.setattr(settling, "AT_ONCE", 2)
    async with forgetful(settings), new_world(settings, shards=2) as service:
        await settled(service, DAY, Crowd(winners=40, sleepers=30))
        assert len(await published(service, DAY)) == 40
        assert await published(service, DAY) == await manifest(service, DAY)


@pytest.mark.long
async def test_settlement_resumes_after_dying_at_any_call(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PAGE", 2)
    monkeypatch.setattr(settling, "CHUNK", 1)
    for at in count(1):
        async with forgetful(settings), new_world(settings, **RICH) as service:
            await carried_then_played(service)
            died = await dies(settings, service, lambda victim: victim.settlement.settle(DAY), at, **RICH)
            drawn = await manifest(service, DAY)
            taps = await asyncio.gather(*(service.verbs.claim(uid, arrived()) for uid in CROWD.awake))
            assert {tap.word for tap in taps} <= {"claimed", "not_settled"}
            assert await service.settlement.settle(DAY) == "settled"
            expect_rich(await audited(service, DAY))
            assert not drawn or drawn == await manifest(service, DAY)
            claimed = Counter(tap.data["assign"]["money"] for tap in taps if tap.word == "claimed")
            assert Counter(await published(service, DAY)) == Counter(await manifest(service, DAY)) - claimed
            await finished(service, DAY)
        if not died:
            break
    assert at > 30


@pytest.mark.long
async def test_crediting_resumes_after_dying_at_any_call(settings: Settings) -> None:
    for at in count(1):
        async with forgetful(settings), new_world(settings, shards=2) as service:
            await settled(service, DAY, CROWD)
            await service.verbs.claim(1, arrived())
            stop(service, DAY, "24:00")
            died = await dies(settings, service, lambda victim: victim.settlement.finish(DAY), at, shards=2)
            if (await row_of(service, DAY))["state"] == "settled":
                await finished(service, DAY)
            assert (await row_of(service, DAY))["state"] == "finished"
            claims = await query(service, "SELECT uid FROM claims WHERE day = %s ORDER BY uid", DAY)
            assert [claim["uid"] for claim in claims] == list(CROWD.awake)
        if not died:
            break
    assert at > 20


@pytest.mark.long
async def test_voiding_resumes_after_dying_at_any_call_and_gives_back_what_was_carried(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in count(1):
        async with forgetful(settings), new_world(settings, **RICH) as service:
            await carried_then_played(service)
            await settle_until(service, monkeypatch, "split")
            assert (await row_of(service, BEFORE))["carried_to"] == DAY
            died = await dies(settings, service, lambda victim: victim.settlement.void(DAY, "rain"), at, **RICH)
            assert await service.settlement.void(DAY, "rain") == "ok"
            await expect_void(service, CROWD)
            assert (await row_of(service, BEFORE))["carried_to"] is None
            assert (await settled(service, AFTER, Crowd(winners=2)))["carried_in_fen"] == 270
        if not died:
            break
    assert at > 15


STEPS = {"closed": "_split", "split": "_publish", "published": "_open_claiming"}


async def settle_until(service: Service, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Settlement dies right after the round has reached ``state``."""
    if state == "open":
        return

    async def die(_: Any) -> str:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(service.settlement, STEPS[state], die)
        with pytest.raises(Crash):
            await service.settlement.settle(DAY)
    assert (await row_of(service, DAY))["state"] == state


# -- dying for real


@asynccontextmanager
async def stalled_at(service: Service, state: str) -> AsyncIterator[None]:
    """Whoever brings a round to this state sleeps in the middle of it."""
    await query(
        service,
        "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'",
    )
    await query(
        service,
        "CREATE TRIGGER stall BEFORE UPDATE ON rounds FOR EACH ROW"
        f" WHEN (NEW.state = '{state}' AND OLD.state <> '{state}') EXECUTE FUNCTION stall()",
    )
    yield
    await query(service, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    await query(service, "DROP FUNCTION stall CASCADE")


async def start_command(settings: Settings, *command: str) -> asyncio.subprocess.Process:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CLOCK_")}
    for name in ("data_dir", "redis_url", "database_url", "jwt_secret", "webhook_secret"):
        environ["CLOCK_" + name.upper()] = str(getattr(settings, name))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "clock",
        *command,
        cwd=Path(__file__).parents[2],
        env=environ | {"CLOCK_ENV": "dev"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def killed_at(settings: Settings, service: Service, state: str, *command: str) -> None:
    """Run the command until it brings the round to the state, and kill it in the middle of that."""
    async with stalled_at(service, state):
        process = await start_command(settings, *command)
        async with asyncio.timeout(180):
            while not await query(service, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
                assert process.returncode is None, f"it ended before it came to {state}"
                await asyncio.sleep(0.02)
        process.kill()
        await process.wait()
    assert (await row_of(service, DAY))["state"] != state


async def move_other_processes(service: Service) -> None:
    """Processes that follow the moved clock are on this one's stopped time."""
    seconds, _ = await service.redis.time()
    await service.redis.set(keys.DEV_TIME, f"1 {service.time.now_ms() - seconds * 1000}")


@pytest.mark.long
async def test_a_settling_process_killed_in_every_state_is_taken_on_by_the_next(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, **RICH) as service:
        await carried_then_played(service)
        await move_other_processes(service)
        for state in ("closed", "split", "published", "settled"):
            await killed_at(settings, service, state, "settle", DAY.isoformat())
        drawn = await manifest(service, DAY)
        assert await service.settlement.settle(DAY) == "settled"
        assert await published(service, DAY) == await manifest(service, DAY) == drawn
        expect_rich(await audited(service, DAY))
        await finished(service, DAY)


@pytest.mark.long
async def test_a_voiding_process_killed_in_every_state_is_taken_on_by_the_worker(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, **RICH) as service:
        await carried_then_played(service)
        await move_other_processes(service)
        for state in ("voiding", "void"):
            await killed_at(settings, service, state, "void", DAY.isoformat(), "--reason", "rain")
        assert (await row_of(service, DAY))["state"] == "voiding"
        await worker.settle({"service": service})
        await expect_void(service, CROWD)


# -- voiding


async def expect_void(service: Service, crowd: Crowd) -> None:
    row = await row_of(service, DAY)
    assert (row["state"], row["void_reason"]) == ("void", "rain")
    assert row["refunded_fen"] == row["pool_fen"] == len(crowd.everybody) * STAKE
    assert [row[name] for name in ("forfeited_fen", "fee_fen", "carried_in_fen", "pot_fen", "carried_out_fen")] == [
        0
    ] * 5
    assert await refunds(service, DAY) == list(crowd.everybody)
    assert await manifest(service, DAY) == []


@pytest.mark.parametrize("state", ["open", "closed", "split"])
async def test_a_round_that_is_not_settled_can_be_voided(
    process: Service, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    numbers = await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, state)
    assert await process.settlement.void(DAY, "rain") == "ok"
    await expect_void(process, CROWD)
    assert await process.settlement.void(DAY, "another reason") == "ok"
    assert await process.settlement.settle(DAY) == "round_void"
    for verb in (process.verbs.check_in, process.verbs.claim):
        assert (await verb(1, arrived())).word == "voided"
    assert await pay(process, 1, numbers[1], f"{DAY} 20:00:00", "T-again") == "refund_due"
    stop(process, DAY, "24:00")
    assert await process.settlement.finish(DAY)
    assert await refunds(process, DAY) == sorted([*CROWD.everybody, 1])


async def test_a_round_is_voided_while_people_still_join(process: Service) -> None:
    await process.opener.open_round(DAY)
    process.time.stop_at(instant(DAY, "12:00"))
    numbers = {uid: await join(process, uid) for uid in (1, 2)}
    assert await pay(process, 1, numbers[1], f"{DAY} 12:00:00") == "paid"
    assert await process.settlement.void(DAY, "rain") == "ok"
    assert await pay(process, 2, numbers[2], f"{DAY} 12:00:00") == "refund_due"
    stop(process, DAY, "24:00")
    assert await process.settlement.finish(DAY)
    assert await refunds(process, DAY) == [1, 2]


@pytest.mark.parametrize("state", ["published", "settled", "finished"])
async def test_a_round_whose_packets_are_out_cannot_be_voided(
    process: Service, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    if state == "published":
        await settle_until(process, monkeypatch, state)
    else:
        assert await process.settlement.settle(DAY) == "settled"
    if state == "finished":
        await finished(process, DAY)
    before = await row_of(process, DAY)
    assert await process.settlement.void(DAY, "rain") == "round_settled"
    assert await row_of(process, DAY) == before
    assert await refunds(process, DAY) == CROWD.late[1:]


async def test_money_that_a_later_round_took_over_is_not_refunded_by_voiding_as_well(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DAY hangs with its manifest written; the next day is settled; then DAY is called off."""
    async with forgetful(settings), new_world(settings, nobody="carry") as service:
        await play(service, DAY, Crowd(sleepers=3))
        stop(service, DAY, "08:05")
        await settle_until(service, monkeypatch, "split")
        later = await settled(service, AFTER, Crowd(winners=1))
        word = await service.settlement.void(DAY, "rain")
        assert (word, later["carried_in_fen"]) in [("ok", 0), ("round_settled", 300)]


async def test_a_round_that_was_not_opened_in_every_shard_can_be_voided(process: Service) -> None:
    """The process that opened it died on the way."""
    await process.opener.open_round(DAY)
    await process.redis.delete(keys.name(DAY, 1, "round"))
    assert await process.settlement.void(DAY, "rain") == "ok"
    await expect_void(process, Crowd())


# -- several at once


async def test_of_two_settlers_at_once_one_settles_and_both_say_so(settings: Settings, process: Service) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    async with service_with(settings, shards=2) as other:
        other.time.setting = process.time.setting
        words = await asyncio.gather(process.settlement.settle(DAY), other.settlement.settle(DAY))
    assert list(words) == ["settled", "settled"]
    await audited(process, DAY)
    assert await published(process, DAY) == await manifest(process, DAY)


async def test_an_operator_who_asks_many_times_at_once_does_not_stop_settlement(process: Service) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    words = await asyncio.gather(*(process.settlement.settle(DAY) for _ in range(12)))
    assert words == ["settled"] * 12
    assert await published(process, DAY) == await manifest(process, DAY)


async def test_settling_and_voiding_at_once_does_one_of_them(settings: Settings, process: Service) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    async with service_with(settings, shards=2) as other:
        other.time.setting = process.time.setting
        words = tuple(await asyncio.gather(process.settlement.settle(DAY), other.settlement.void(DAY, "rain")))
    assert words in (("settled", "round_settled"), ("round_void", "ok"))


# -- when the books differ


@pytest.mark.parametrize("table", ["members", "check_ins"])
async def test_books_that_differ_stop_settlement_until_they_agree(process: Service, table: str) -> None:
    await play(process, DAY, CROWD)
    for shard in range(2):
        await outbox.drain(process.store, process.redis, DAY, shard)
    lost = await query(process, f"DELETE FROM {table} WHERE day = %s AND uid = 2 RETURNING *", DAY)
    stop(process, DAY, "08:05")
    for _ in range(2):
        with pytest.raises(BooksDiffer):
            await process.settlement.settle(DAY)
        assert (await row_of(process, DAY))["state"] == "open"
        assert await manifest(process, DAY) == await published(process, DAY) == []
        assert (await process.verbs.claim(1, arrived())).word == "not_settled"
    marks = ", ".join(["%s"] * len(lost[0]))
    await query(process, f"INSERT INTO {table} VALUES ({marks})", *lost[0].values())
    assert await process.settlement.settle(DAY) == "settled"
    await audited(process, DAY)


async def test_claiming_opens_nowhere_while_a_packet_is_missing_somewhere(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, "published")
    redis: Any = process.redis
    assert all([await redis.llen(keys.name(DAY, shard, "packets")) for shard in range(2)])
    await redis.rpop(keys.name(DAY, 1, "packets"))
    with pytest.raises(BooksDiffer):
        await process.settlement.settle(DAY)
    answers = await asyncio.gather(*(process.verbs.claim(uid, arrived()) for uid in CROWD.awake))
    assert {answer.word for answer in answers} == {"not_settled"}


async def test_a_claim_that_the_books_do_not_have_stops_finishing_loudly(process: Service) -> None:
    await settled(process, DAY, CROWD)
    await process.verbs.claim(1, arrived())
    for shard in range(2):
        await outbox.drain(process.store, process.redis, DAY, shard)
    await query(process, "DELETE FROM claims WHERE day = %s AND uid = 1", DAY)
    stop(process, DAY, "24:00")
    async with asyncio.timeout(60):
        with pytest.raises(BooksDiffer):
            await process.settlement.finish(DAY)


async def test_without_postgres_settlement_waits_and_says_so(process: Service, settings: Settings) -> None:
    await play(process, DAY, CROWD)
    async with service_with(settings, shards=2, database_url=settings.database_url + "_gone") as other:
        stop(other, DAY, "08:05")
        with pytest.raises(Unavailable):
            await other.settlement.settle(DAY)
    stop(process, DAY, "08:05")
    assert await process.settlement.settle(DAY) == "settled"


async def test_a_payment_into_an_ended_round_keeps_its_keys_no_longer_than_its_outbox_is_read(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the payment after it would be answered, and its refund never owed."""
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.2)
    numbers = await play(process, DAY, Crowd(winners=1))
    stop(process, DAY, "08:05")
    assert await process.settlement.settle(DAY) == "settled"
    await finished(process, DAY)
    await query(process, "UPDATE rounds SET finished_at = now() - interval '10 days' WHERE day = %s", DAY)
    shard = keys.shard_of(1, 2)
    outbox_, round_ = keys.names(DAY, shard, ("outbox", "round"))
    assert await pay(process, 1, numbers[1], f"{DAY} 20:00:00", "T-second") == "refund_due"
    assert await process.redis.pttl(outbox_) == -1
    await worker.drain({"service": process})
    assert await refunds(process, DAY) == [1]
    left_ms = keys.KEEP_MS - 10 * 24 * 3_600_000
    for name in (outbox_, round_):
        assert left_ms - 60_000 < await process.redis.pttl(name) <= left_ms


async def test_a_settler_that_has_lost_its_lock_does_not_split_what_another_has_voided(
    settings: Settings, process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres keeps the lock as long as the connection lives, and the settler looks at that only in the end."""
    splitting, go_on = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        splitting.set()
        assert go_on.wait(10)
        return split(*arguments)

    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    monkeypatch.setattr("clock.rounds.settling.split", slow)
    async with service_with(settings, shards=2) as other:
        stop(other, DAY, "08:05")
        settling = asyncio.create_task(process.settlement.settle(DAY))
        assert await asyncio.to_thread(splitting.wait, 10)
        cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
        assert len(await query(other, cut, SETTLEMENT_LOCK)) == 1
        assert await other.settlement.void(DAY, "rain") == "ok"
        go_on.set()
        with pytest.raises(Unavailable):
            await settling
    await expect_void(process, CROWD)


@pytest.mark.parametrize("state", ["open", "closed", "split", "published"])
async def test_nobody_is_told_the_seed_or_a_packet_before_claiming_opens(
    process: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], state: str
) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, state)
    seed = bytes((await row_of(process, DAY))["seed"])
    shown = [
        await public.figures(process, DAY),
        await public.packets(process, DAY, 1, 100),
        await ops.round_figures(process, DAY),
        await process.home.summary(1, None, arrived()),
        await process.verbs.claim(1, arrived()),
    ]
    assert shown[1].word == shown[4].word == "not_settled"
    assert shown[0].data["seed"] is shown[0].data["pot"] is shown[0].data["largest"] is shown[2].data["seed"] is None
    redis: Any = process.redis
    rounds = [await redis.hgetall(keys.name(DAY, shard, "round")) for shard in range(2)]
    assert seed.hex() not in str([shown, rounds, capfd.readouterr()])
    assert repr(seed)[2:-1] not in str([shown, rounds])
    assert hashlib.sha256(seed).hexdigest() == shown[0].data["seed_hash"]
    assert await process.settlement.settle(DAY) == "settled"
    assert (await public.figures(process, DAY)).data["seed"] == seed.hex()
