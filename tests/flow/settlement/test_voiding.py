"""Voiding: every stake comes back, unless packets are out."""

import asyncio

import pytest

from clock.config import Settings
from clock.domain.outcomes import Answer
from clock.game import keys
from clock.operators import acts, rounds, verbs
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import (
    AFTER,
    CROWD,
    Crowd,
    expect_void,
    finished,
    join,
    opened_by_an_earlier_version,
    pay,
    play,
    refunds,
    row_of,
    settle_until,
    settled,
    stop,
)
from tests.model.model import instant
from tests.model.world import arrived, forgetful, new_world, service_with


async def nobody(*_: object) -> Answer:
    """No worker, in whose place it would be done."""
    return Answer("unavailable")


async def operators_may(service: Service) -> bool:
    """What their page offers."""
    return bool((await rounds.figures(service, DAY)).data["can_be_void"])


@pytest.mark.parametrize(
    ("state", "version"),
    [("open", "this"), ("closed", "this"), ("open", "earlier"), ("sealed", "earlier"), ("split", "earlier")],
)
async def test_a_round_whose_draw_is_not_known_can_be_voided(
    process: Service, monkeypatch: pytest.MonkeyPatch, state: str, version: str
) -> None:
    """One that was opened before there were statements: until its packets are out."""
    numbers = await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    if version == "earlier":
        await opened_by_an_earlier_version(process, DAY)
    await settle_until(process, monkeypatch, state)
    assert await operators_may(process)
    assert await process.voiding.void(DAY, "rain") == "ok"
    await expect_void(process, CROWD)
    assert not await operators_may(process)
    assert await process.voiding.void(DAY, "another reason") == "ok"
    assert await process.settling.settle(DAY) == "round_void"
    for verb in (process.verbs.check_in, process.verbs.claim):
        assert (await verb(1, arrived())).word == "voided"
    assert await pay(process, 1, numbers[1], f"{DAY} 20:00:00", "T-again") == "refund_due"
    stop(process, DAY, "24:00")
    assert await process.finishing.finish(DAY)
    assert await refunds(process, DAY) == sorted([*CROWD.everybody, 1])


async def test_a_round_is_voided_while_people_still_join(process: Service) -> None:
    await process.opener.open_round(DAY)
    process.time.stop_at(instant(DAY, "12:00"))
    numbers = {uid: await join(process, uid) for uid in (1, 2)}
    assert await pay(process, 1, numbers[1], f"{DAY} 12:00:00") == "paid"
    assert await process.voiding.void(DAY, "rain") == "ok"
    assert await pay(process, 2, numbers[2], f"{DAY} 12:00:00") == "refund_due"
    stop(process, DAY, "24:00")
    assert await process.finishing.finish(DAY)
    assert await refunds(process, DAY) == [1, 2]


@pytest.mark.parametrize("state", ["sealed", "split", "published", "settled", "finished"])
async def test_a_round_whose_draw_is_known_cannot_be_voided(
    process: Service, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    if state in ("sealed", "split", "published"):
        await settle_until(process, monkeypatch, state)
    else:
        assert await process.settling.settle(DAY) == "settled"
    if state == "finished":
        await finished(process, DAY)
    before = await row_of(process, DAY)
    assert not await operators_may(process)
    word = "round_drawn" if state in ("sealed", "split") else "round_settled"
    answer = await verbs.void(process, acts.command_line(), DAY, "rain", nobody)
    assert answer.word == word, "it waits for no worker"
    assert await process.voiding.void(DAY, "rain") == word
    assert await row_of(process, DAY) == before
    assert await refunds(process, DAY) == ([] if word == "round_drawn" else CROWD.late[1:])
    assert await process.settling.settle(DAY) == "settled"


async def test_money_that_a_later_round_took_over_is_not_refunded_by_voiding_as_well(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DAY hangs with its manifest written; the next day is settled; then DAY is called off."""
    async with forgetful(settings), new_world(settings, nobody="carry") as service:
        await play(service, DAY, Crowd(sleepers=3))
        await opened_by_an_earlier_version(service, DAY)
        stop(service, DAY, "08:05")
        await settle_until(service, monkeypatch, "split")
        later = await settled(service, AFTER, Crowd(winners=1))
        word = await service.voiding.void(DAY, "rain")
        assert (word, later["carried_in_fen"]) in [("ok", 0), ("round_settled", 300)]


async def test_a_round_that_was_not_opened_in_every_shard_can_be_voided(process: Service) -> None:
    """The process that opened it died on the way."""
    await process.opener.open_round(DAY)
    await process.redis.delete(keys.name(DAY, 1, "round"))
    assert await process.voiding.void(DAY, "rain") == "ok"
    await expect_void(process, Crowd())


async def test_settling_and_voiding_at_once_does_one_of_them(settings: Settings, process: Service) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    async with service_with(settings, shards=2) as other:
        other.time.setting = process.time.setting
        words = tuple(await asyncio.gather(process.settling.settle(DAY), other.voiding.void(DAY, "rain")))
    assert words in (("settled", "round_settled"), ("round_void", "ok"))
