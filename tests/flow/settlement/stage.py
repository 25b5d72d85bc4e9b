"""Rounds that are played up to their end, and what can be seen of them afterwards."""

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from clock.audit import packets
from clock.channels.platform import PaymentCallback
from clock.domain.rounds import Rules
from clock.domain.shapes import Extra
from clock.domain.split import Split, split
from clock.game import keys
from clock.service import Service
from tests.conftest import DAY
from tests.model.model import instant
from tests.model.world import arrived
from tests.payments import paid

BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
STAKE = 100

RICH: dict[str, Any] = {
    "shards": 2,
    "nobody": "carry",
    "fee_bps": 1_000,
    "packet_cap_fen": 150,
    "lucky_count": 1,
    "lucky_bps": 2_000,
}


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


async def move_other_processes(service: Service) -> None:
    """Processes that follow the moved clock are on this one's stopped time."""
    seconds, _ = await service.redis.time()
    await service.redis.set(keys.DEV_TIME, f"1 {service.time.now_ms() - seconds * 1000}")


async def join(service: Service, uid: int) -> str:
    answer = await service.verbs.join(uid, Extra(f"138{uid:08}", f"user {uid}", f"open-{uid}"), arrived())
    assert answer.word == "ordered", answer
    number: str = answer.data["order_no"]
    return number


async def pay(service: Service, uid: int, number: str, paid_at: str, transaction: str = "") -> str:
    extra = {"amount": STAKE, "buyerId": f"open-{uid}", "transactionId": transaction or f"T{number}"}
    raw = msgspec.json.encode({"order_no": number, "extra": {**extra, "notify_time": paid_at}})
    callback = msgspec.json.decode(raw, type=PaymentCallback)
    return (await service.incoming.pay(paid(callback, raw), "platform", arrived())).word


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
    assert await service.settling.settle(day) == "settled"
    return await audited(service, day)


async def carried_then_played(service: Service) -> None:
    await settled(service, BEFORE, Crowd(sleepers=3))
    await play(service, DAY, CROWD)
    stop(service, DAY, "08:05")


async def opened_by_an_earlier_version(service: Service, day: date) -> None:
    """A round without statements: it was open when the database was migrated."""
    await query(service, "UPDATE rounds SET salt_key = NULL WHERE day = %s", day)
    async with service.store.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM statements WHERE day = %s", [day])


# -- settled in part


class Crash(Exception):
    """The process dies here."""


STEPS = {"closed": "_seal", "sealed": "_split", "split": "_publish", "published": "_open_claiming"}


async def settle_until(service: Service, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Settlement dies right after the round has reached ``state``."""
    if state == "open":
        return

    async def die(_: Any) -> str:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(service.settling, STEPS[state], die)
        with pytest.raises(Crash):
            await service.settling.settle(DAY)
    assert (await row_of(service, DAY))["state"] == state


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
    shards = msgspec.convert((await row_of(service, day))["rules"], Rules).shards
    return [fen for shard in range(shards) for fen in await packets.read(service.redis, day, shard)]


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
    assert row["pot_fen"] == row["forfeited_fen"] - row["fee_fen"] + row["carried_in_fen"] + row["bonus_fen"]
    assert row["bonus_fen"] == rules.bonus_fen
    assert row["bonus_back_fen"] == (0 if row["winners"] else rules.bonus_fen)
    how = Split(
        mode=rules.split,
        lucky_count=rules.lucky_count,
        lucky_bps=rules.lucky_bps,
        packet_cap_fen=rules.packet_cap_fen,
    )
    if row["draw"] in ("missing", "late"):
        how = Split(mode="equal", packet_cap_fen=rules.packet_cap_fen)
    result = split(row["drawn"], row["pot_fen"], row["winners"], how)
    assert await manifest(service, day) == list(result.packets_fen)
    left_fen = row["carried_out_fen"] + row["bonus_back_fen"]
    assert left_fen == result.carried_fen == row["pot_fen"] - sum(result.packets_fen)
    assert len(await refunds(service, day)) * rules.stake_fen == row["refunded_fen"]
    return row


async def finished(service: Service, day: date) -> list[dict[str, Any]]:
    """Finish the round; its claims, after checking that they are the manifest."""
    stop(service, day, "24:00")
    assert await service.finishing.finish(day)
    claims = await query(service, "SELECT * FROM claims WHERE day = %s ORDER BY shard, index", day)
    assert [claim["packet_fen"] for claim in claims] == await manifest(service, day)
    assert len({claim["uid"] for claim in claims}) == len(claims) == (await row_of(service, day))["winners"]
    assert await published(service, day) == await manifest(service, day)
    return claims


def expect_rich(row: dict[str, Any]) -> None:
    assert (row["members"], row["winners"], row["late"]) == (9, 4, 2)
    assert (row["refunded_fen"], row["forfeited_fen"], row["fee_fen"]) == (100, 400, 40)
    assert (row["carried_in_fen"], row["pot_fen"], row["carried_out_fen"]) == (270, 630, 30)


async def expect_void(service: Service, crowd: Crowd) -> None:
    row = await row_of(service, DAY)
    assert (row["state"], row["void_reason"]) == ("void", "rain")
    assert row["refunded_fen"] == row["pool_fen"] == len(crowd.everybody) * STAKE
    assert [row[name] for name in ("forfeited_fen", "fee_fen", "carried_in_fen", "pot_fen", "carried_out_fen")] == [
        0
    ] * 5
    assert await refunds(service, DAY) == list(crowd.everybody)
    assert await manifest(service, DAY) == []
