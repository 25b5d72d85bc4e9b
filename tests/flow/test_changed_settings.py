"""Settings that are changed while a round is played: the round goes on by the rules that it was created with."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from clock.config import Settings
from clock.domain.outcomes import Answer
from clock.domain.rulebook import Change, Terms
from clock.domain.shapes import Extra
from clock.game import keys
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import Crowd, audited, finished, join, pay, play, query, refunds, stop
from tests.model.model import instant
from tests.model.world import arrived, exact_waits, forgetful, new_world, quiet, service_with


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    exact_waits(monkeypatch)
    with quiet():
        yield


async def open_rounds(service: Service) -> None:
    """As the worker does the day before."""
    for days in (-1, 0, 1):
        await service.opener.open_round(DAY + timedelta(days=days))


OTHER: dict[str, Any] = {
    "stake_fen": 777,
    "split": "equal",
    "nobody": "carry",
    "fee_bps": 5_000,
    "packet_cap_fen": 1,
    "lucky_count": 1,
    "lucky_bps": 9_000,
    "shards": 5,
    "check_in_opens": "09:00",
    "check_in_closes": "10:00",
    "settle_at": "11:00",
    "order_prefix": "NEW",
}


async def test_a_round_keeps_every_rule_it_was_created_with(settings: Settings) -> None:
    async with forgetful(settings):
        async with new_world(settings, shards=2) as service:
            await play(service, DAY, Crowd(winners=1, sleepers=4, late_sleepers=1))
            rules = (await service.asking.round(DAY)).rules
        async with service_with(settings, **OTHER) as service:
            assert (await service.asking.round(DAY)).rules == rules
            stop(service, DAY, "07:59")
            assert (await service.verbs.check_in(2, arrived())).word == "checked_in"
            stop(service, DAY, "08:05")
            assert await service.settling.settle(DAY) == "settled"
            row = await audited(service, DAY)
            assert (row["pool_fen"], row["forfeited_fen"], row["fee_fen"]) == (600, 300, 0)
            assert (row["pot_fen"], row["carried_out_fen"]) == (300, 0)
            assert await refunds(service, DAY) == [6]
            assert {claim["stake_fen"] for claim in await finished(service, DAY)} == {100}


SNAPSHOT = {
    "stake_fen": 100,
    "split": "random",
    "nobody": "refund",
    "fee_bps": 0,
    "packet_cap_fen": 0,
    "lucky_count": 0,
    "lucky_bps": 0,
    "bonus_fen": 0,
    "campaign": None,
    "timezone": "Asia/Shanghai",
    "join_opens_ms": instant(DAY, "00:00"),
    "join_closes_ms": instant(DAY, "00:00") + 24 * 3_600_000,
    "check_in_opens_ms": instant(DAY + timedelta(days=1), "05:00"),
    "check_in_closes_ms": instant(DAY + timedelta(days=1), "08:00"),
    "extended_s": 0,
    "settle_ms": instant(DAY + timedelta(days=1), "08:05"),
    "claim_closes_ms": instant(DAY + timedelta(days=1), "24:00"),
    "remind_at_ms": None,
}


async def test_the_home_page_tells_the_shown_rounds_own_rules(settings: Settings) -> None:
    """A page that goes by the process' rules says at 07:30 that somebody has overslept who has half an hour left."""
    async with forgetful(settings):
        async with new_world(settings) as service:
            await open_rounds(service)
            service.time.stop_at(instant(DAY, "20:00"))
            assert await pay(service, 1, await join(service, 1), f"{DAY} 20:00:00") == "paid"
            second = await join(service, 2)
        async with service_with(settings, **OTHER | {"timezone": "Asia/Tokyo"}) as service:
            service.time.stop_at(instant(DAY, "20:30"))
            for uid in (None, 1, 2):
                assert (await home(service, uid))["rules"] == SNAPSHOT
            assert (await home(service, 2))["order"] == {"order_no": second, "amount": 100, "state": "open"}
            stop(service, DAY, "07:30")
            shown = await home(service, 1)
            assert (shown["round"], shown["rules"], shown["clock_status"]) == (str(DAY), SNAPSHOT, 1)
            assert shown["rules"]["check_in_closes_ms"] - shown["server_time"] == 1_800_000
            assert (await home(service, None))["rules"] == SNAPSHOT


async def home(service: Service, uid: int | None) -> dict[str, Any]:
    found: dict[str, Any] = (await service.home.summary(uid, None, arrived())).data["summary"]
    return found


async def test_orders_keep_their_numbers_when_the_prefix_is_changed(settings: Settings) -> None:
    async with forgetful(settings):
        async with new_world(settings) as service:
            await open_rounds(service)
            service.time.stop_at(instant(DAY, "20:00"))
            first, second = await join(service, 1), await join(service, 2)
        async with service_with(settings, order_prefix="NEW") as service:
            service.time.stop_at(instant(DAY, "20:01"))
            assert await pay(service, 1, first, f"{DAY} 20:00:00") == "paid"
            again = await service.verbs.join(2, Extra("13800000002", "user 2", "open-2"), arrived())
            assert (again.word, again.data["order_no"]) == ("order_pending", second)
            assert await pay(service, 2, "NEW" + second[3:], f"{DAY} 20:00:00") == "order_not_found"
            assert await pay(service, 2, second, f"{DAY} 20:00:00") == "paid"
            stop(service, DAY, "06:00")
            for uid in (1, 2):
                assert (await service.verbs.check_in(uid, arrived())).word == "checked_in"
            stop(service, DAY, "08:05")
            assert await service.settling.settle(DAY) == "settled"
            await finished(service, DAY)
            channels = await query(
                service,
                "SELECT p.channel FROM claims c JOIN orders o ON o.day = c.day AND o.uid = c.uid"
                " JOIN payments p ON p.day = o.day AND p.order_no = o.order_no",
            )
            assert channels == [{"channel": "platform"}] * 2  # through which their payouts leave
            service.time.stop_at(instant(DAY + timedelta(days=3), "12:00"))
            await service.opener.open_round(DAY + timedelta(days=3))
            assert (await join(service, 1)).startswith("TTC")  # the environment decides nothing any more
            later = DAY + timedelta(days=5)
            change = Change(first_day=later, changes=Terms(order_prefix="NEW"))
            assert (await service.planning.plan(change, "anna", "a new name", later)).word == "planned"
            service.time.stop_at(instant(later, "12:00"))
            await service.opener.open_round(later)
            assert (await join(service, 1)).startswith("NEW")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Auckland"])
async def test_members_check_in_and_claim_by_the_time_zone_that_they_joined_in(settings: Settings, zone: str) -> None:
    """East or west of the old one: the members' morning stays where it was, and nobody forfeits a stake by it."""
    async with forgetful(settings):
        async with new_world(settings) as service:
            await open_rounds(service)
            service.time.stop_at(instant(DAY, "20:00"))
            for uid in (1, 2):
                assert await pay(service, uid, await join(service, uid), f"{DAY} 20:00:00") == "paid"
        async with service_with(settings, timezone=zone) as service:
            stop(service, DAY, "05:00", -1)
            assert (await service.verbs.check_in(1, arrived())).word == "too_early"
            stop(service, DAY, "05:00")
            assert await service.verbs.check_in(1, arrived()) == Answer("checked_in", {"money": 200})
            assert await service.verbs.check_in_status(1, arrived()) == Answer("ok", {"is_check_in": 1})
            stop(service, DAY, "08:00", -1)
            assert (await service.verbs.check_in(1, arrived())).word == "already_checked_in"
            stop(service, DAY, "08:00")
            assert (await service.verbs.check_in(2, arrived())).word == "too_late"
            stop(service, DAY, "08:05")
            assert await service.settling.settle(DAY) == "settled"
            claimed = await service.verbs.claim(1, arrived())
            assert claimed == Answer("claimed", {"assign": {"money": 100, "stake": 100, "total": 200}})
            seen = await service.verbs.yesterday(1, arrived())
            assert seen.data == {"yesterday": {"clock_status": 2, "red_status": 2}}


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Auckland"])
async def test_who_joins_by_another_time_zone_joins_the_round_that_is_open(settings: Settings, zone: str) -> None:
    async with forgetful(settings):
        async with new_world(settings) as service:
            await open_rounds(service)
        async with service_with(settings, timezone=zone) as service:
            for uid, time_of_day in enumerate(("00:00", "12:00", "23:59"), 1):
                service.time.stop_at(instant(DAY, time_of_day))
                await join(service, uid)
            redis: Any = service.redis
            assert await redis.hlen(keys.name(DAY, 0, "members")) == 3
