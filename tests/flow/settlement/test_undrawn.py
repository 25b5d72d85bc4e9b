"""Rounds whose draw is not to be had, or that are closed too late for it, or called off before it."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from psycopg import errors
from structlog.testing import capture_logs

from clock.audit.reconcile import reconcile
from clock.beacon.chain import QUICKNET, QUICKNET_RELAYS
from clock.beacon.relays import Beacon
from clock.beacon.settings import beacons_of
from clock.config import BadSetting, Settings, load
from clock.dev.beacon import Does
from clock.domain.outcomes import Unavailable
from clock.domain.rulebook import Change, Terms
from clock.fair.statements import Void, digest, parse
from clock.game import keys
from clock.game.gametime import Verdict
from clock.http.players import public
from clock.operators import rounds
from clock.operators.watch.watcher import Watch
from clock.proofs import growing, statements
from clock.proofs.paths import proof
from clock.rounds import recorded
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.drawn import (
    PATIENCE_MS,
    Relay,
    another,
    drawing_world,
    expect_equal,
    missing,
    out_ms,
    proved,
    relay,
    said_of,
    sealed,
    settle_at_last,
    tick,
)
from tests.flow.settlement.stage import (
    AFTER,
    BEFORE,
    CROWD,
    RICH,
    Crash,
    Crowd,
    expect_void,
    finished,
    join,
    pay,
    play,
    query,
    refunds,
    row_of,
    stop,
)
from tests.model.model import instant
from tests.model.world import arrived


@pytest.fixture
async def beacon() -> AsyncIterator[Relay]:
    async with relay() as made:
        yield made


@pytest.fixture
async def service(shared: Settings, beacon: Relay) -> AsyncIterator[Service]:
    async with drawing_world(shared, beacon, **RICH) as made:
        yield made


async def crash(*_: object) -> None:
    raise Crash


# -- relays


@pytest.mark.parametrize("does", ["fail", "hang_up", "lie", "other_number", "other_chain", "rubbish"])
async def test_a_relay_that_is_back_after_ten_minutes_is_believed_then(
    service: Service, beacon: Relay, does: Does
) -> None:
    draw_ms = await sealed(service)
    beacon.does(does)
    for later_ms in (0, 119_000, 599_999):
        assert await tick(service, draw_ms + later_ms) == "not_due"
        assert (await row_of(service, DAY))["state"] == "sealed"
    seen = await Watch(service).look()
    assert (seen.draw_awaited_ms, seen.awaited_day, seen.draws_failed) == (599_999, DAY.isoformat(), 0)
    beacon.does("answer")
    assert await tick(service, draw_ms + 600_000) == "settled"
    assert len((await proved(service))["draw"]) == 96


async def test_a_draw_that_cannot_be_had_for_half_an_hour_is_missing(service: Service, beacon: Relay) -> None:
    draw_ms = await sealed(service)
    beacon.does("fail")
    assert await tick(service, draw_ms + PATIENCE_MS - 1) == "not_due"
    beacon.does("answer")
    asked = len(beacon.double.asked)
    assert await tick(service, draw_ms + PATIENCE_MS) == "settled"
    assert len(beacon.double.asked) == asked, "it counts no more"
    await expect_equal(service, "missing")
    seen = await Watch(service).look()
    assert (seen.draws_failed, seen.failed_day, seen.draw_awaited_ms) == (1, DAY.isoformat(), 0)
    await finished(service, DAY)


async def test_a_worker_that_comes_back_hours_later_has_no_draw_to_choose(service: Service, beacon: Relay) -> None:
    await sealed(service)
    stop(service, DAY, "11:00")
    assert await service.settling.settle(DAY) == "settled"
    assert not beacon.double.asked
    await expect_equal(service, "missing")


async def test_a_chain_that_no_setting_names_any_more_cannot_be_asked(
    shared: Settings, service: Service, beacon: Relay
) -> None:
    draw_ms = await sealed(service)
    async with relay(bytes(range(1, 33))) as other:
        for changes in ({"beacon": "none", "beacon_relays": beacon.url}, other.settings):
            async with another(shared, service, **changes) as changed:
                assert await tick(changed, draw_ms) == "not_due"
        assert not other.double.asked and not beacon.double.asked
        async with another(shared, service, **other.settings) as changed:
            assert await tick(changed, draw_ms + PATIENCE_MS - 1) == "not_due"
            assert await tick(changed, draw_ms + PATIENCE_MS) == "settled"
    await expect_equal(service, "missing")


async def test_a_beacon_that_is_switched_off_is_still_that_of_a_round_that_promised_it(
    shared: Settings, service: Service, beacon: Relay
) -> None:
    """Its shards are closed before the draw, by whichever process; the settings of the next rounds do not count."""
    await play(service, DAY, CROWD)
    stop(service, DAY, "08:00", 5_000)
    async with another(shared, service, beacon="none") as changed:
        assert await changed.settling.settle(DAY) == "not_due"
    assert (await row_of(service, DAY))["state"] == "sealed"
    await tick(service, await out_ms(service))
    assert len((await settle_at_last(service))["draw"]) == 96


def test_quicknet_can_always_be_asked(settings: Settings, beacon: Relay) -> None:
    def known(**changes: Any) -> Sequence[str]:
        return beacons_of(Settings(env="dev", **changes))[QUICKNET.hash].relays

    assert known(beacon="none") == known(beacon="quicknet") == QUICKNET_RELAYS
    named = "https://relay.example"
    assert known(beacon="none", beacon_relays=named) == known(beacon="quicknet", beacon_relays=named) == (named,)
    assert known(beacon=beacon.double.info, beacon_relays=beacon.url) == QUICKNET_RELAYS
    double = beacons_of(Settings(env="dev", beacon=beacon.double.info, beacon_relays=beacon.url))
    assert double[beacon.double.chain.hash] == Beacon(beacon.double.chain, (beacon.url,))


# -- closed too late


async def test_a_round_that_a_worker_finds_open_at_eleven_is_closed_too_late(service: Service, beacon: Relay) -> None:
    await play(service, DAY, CROWD)
    stop(service, DAY, "11:00")
    assert await service.voiding.void(DAY, "rain") == "round_drawn"
    assert await service.settling.settle(DAY) == "settled"
    assert not beacon.double.asked
    await expect_equal(service, "late")


async def test_a_check_in_that_is_longer_than_the_draw_waits_makes_the_round_equal(service: Service) -> None:
    await play(service, DAY, CROWD)
    stop(service, DAY, "07:50")
    assert await service.extending.extend(DAY, 10, "the metro", "ann") == "extended"
    for time, milliseconds in (("08:05", 0), ("08:10", 4_999)):
        stop(service, DAY, time, milliseconds)
        assert await service.settling.settle(DAY) == "not_due"
        assert (await row_of(service, DAY))["state"] == "open"
    stop(service, DAY, "08:10", 5_000)
    assert await service.settling.settle(DAY) == "not_due"
    assert (await row_of(service, DAY))["draw"] == "late"
    stop(service, DAY, "08:14", 59_999)
    assert await service.settling.settle(DAY) == "not_due"
    stop(service, DAY, "08:15")
    assert await service.settling.settle(DAY) == "settled"
    await expect_equal(service, "late")


async def test_a_check_in_that_is_a_minute_longer_is_closed_before_the_draw(service: Service) -> None:
    await play(service, DAY, CROWD)
    stop(service, DAY, "07:50")
    assert await service.extending.extend(DAY, 1, "the metro", "ann") == "extended"
    stop(service, DAY, "08:01", 5_000)
    assert await service.settling.settle(DAY) == "not_due"
    await tick(service, await out_ms(service))
    stop(service, DAY, "08:05", 59_999)
    assert await service.settling.settle(DAY) == "not_due"
    stop(service, DAY, "08:06")
    assert await service.settling.settle(DAY) == "settled"
    assert len((await proved(service))["draw"]) == 96


# -- clocks


async def test_while_clocks_differ_nothing_is_closed_decided_or_called_off(
    service: Service, beacon: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = Verdict("a", 0, {"redis": 0, "postgres": 9_000, "worker": 0}, ["postgres"])

    async def compared() -> Verdict:
        return apart

    await play(service, DAY, CROWD)
    stop(service, DAY, "08:00", 5_000)
    with monkeypatch.context() as patch:
        patch.setattr(service.clocks, "compare", compared)
        for act in (service.settling.settle(DAY), service.voiding.void(DAY, "rain")):
            with pytest.raises(Unavailable, match="postgres"):
                await act
        assert (await row_of(service, DAY))["state"] == "open"
    assert await service.settling.settle(DAY) == "not_due"
    service.time.stop_at(await out_ms(service))
    with monkeypatch.context() as patch:
        patch.setattr(service.clocks, "compare", compared)
        with pytest.raises(Unavailable, match="postgres"):
            await service.drawing.decide(DAY)
        assert (await row_of(service, DAY))["draw"] is None and not beacon.double.asked
    assert await service.drawing.decide(DAY)


# -- called off


@pytest.mark.parametrize("state", ["open", "sealed"])
@pytest.mark.parametrize("early_ms", [1, 0])
async def test_a_round_is_called_off_before_its_draw_is_out_or_not_at_all(
    service: Service, state: str, early_ms: int
) -> None:
    await (sealed(service) if state == "sealed" else play(service, DAY, CROWD))
    service.time.stop_at(await out_ms(service) - early_ms)
    assert (await rounds.figures(service, DAY)).data["can_be_void"] == bool(early_ms), "what operators are offered"
    assert await service.voiding.void(DAY, "rain") == ("ok" if early_ms else "round_drawn")
    if not early_ms:
        assert (await row_of(service, DAY))["state"] == state
        return
    said = await said_of(service)
    closed = digest(said.texts["closed"]) if state == "sealed" else "none"
    void = parse(said.texts["void"])
    assert isinstance(void, Void)
    assert (void.closed, void.previous, void.voided_ms) == (closed, closed, await out_ms(service) - 1)
    await expect_void(service, CROWD)
    assert await missing(service) == ["witnesses"]
    assert await tick(service, await out_ms(service)) == "round_void"


async def test_a_draw_that_is_had_is_out_whatever_a_slower_clock_says(
    shared: Settings, service: Service, beacon: Relay
) -> None:
    """Another Redis has been promoted: its clock is behind by no more than clocks may differ."""
    draw_ms = await sealed(service)
    assert await tick(service, draw_ms) == "not_due"
    async with another(shared, service, **beacon.settings) as slower:
        slower.time.stop_at(draw_ms - 1_000)
        assert not (await rounds.figures(slower, DAY)).data["can_be_void"]
        assert await slower.voiding.void(DAY, "rain") == "round_drawn"
    assert len((await settle_at_last(service))["draw"]) == 96


async def test_a_round_that_is_called_off_after_c_passes_on_what_it_had_carried_in(service: Service) -> None:
    await play(service, BEFORE, Crowd(sleepers=3))
    for time in ("08:01", "08:04", "08:05"):
        stop(service, BEFORE, time)
        await service.settling.settle(BEFORE)
    assert (await row_of(service, BEFORE))["state"] == "settled"
    await sealed(service)
    assert (await said_of(service)).closed.carried_in_fen == 270
    assert await service.voiding.void(DAY, "rain") == "ok"
    await expect_void(service, CROWD)
    assert (await proof(service.store, DAY, "stake", 1)).word == "ok"
    await query(service, "DELETE FROM trees WHERE day = %s", DAY)
    round_ = await recorded.find(service.store, DAY)
    assert round_ is not None
    await growing.regrow(service.store, round_)
    assert (await proof(service.store, DAY, "stake", 1)).word == "ok"
    assert (await proof(service.store, DAY, "packet", 1)).word == "voided"
    await play(service, AFTER, CROWD)
    stop(service, AFTER, "08:01")
    assert await service.settling.settle(AFTER) == "not_due"
    after = (await statements.find(service.store, AFTER)).closed
    assert after.carried_in_fen == 270 and after.previous == digest((await said_of(service)).texts["void"])


async def test_the_books_of_a_round_that_is_being_called_off_after_c_are_whole(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bonus was in its pot, and was never given: only what is split is."""
    await service.opener.open_round(DAY)
    await query(service, "UPDATE rounds SET rules = rules || '{\"bonus_fen\": 700}' WHERE day = %s", DAY)
    await sealed(service)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(service.voiding, "_give_back", crash)
        await service.voiding.void(DAY, "rain")
    for state in ("voiding", "void"):
        row = await row_of(service, DAY)
        assert (row["state"], row["bonus_fen"]) == (state, 700)
        report: Any = await reconcile(service, DAY)
        assert [one for one in report.differences if one.what != "bill_missing"] == []
        assert await service.voiding.void(DAY, "rain") == "ok"


async def test_who_comes_after_c_is_not_in_a_round_that_is_called_off(service: Service) -> None:
    """In shards that have forgotten that they were closed; the books have what C says, and everybody is given back."""
    await service.opener.open_round(DAY)
    service.time.stop_at(instant(DAY, "20:00"))
    number = await join(service, 50)
    await sealed(service)
    for shard in range(2):
        await service.redis.hset(keys.name(DAY, shard, "round"), "state", "open")
    stop(service, DAY, "07:00")
    assert (await service.verbs.check_in(5, arrived())).word == "checked_in"
    assert await pay(service, 50, number, f"{DAY} 20:00:00") == "paid"
    stop(service, DAY, "08:01")
    assert await service.voiding.void(DAY, "rain") == "ok"
    assert await refunds(service, DAY) == [*CROWD.everybody, 50]
    round_ = await recorded.find(service.store, DAY)
    assert round_ is not None
    trees = (await growing.stakes(service.store, round_)).tree, (await growing.checked_in(service.store, round_)).tree
    closed = (await said_of(service)).closed
    assert trees == (closed.stakes, closed.checked_in)
    stop(service, DAY, "24:00")
    assert await service.finishing.finish(DAY)


async def test_a_statement_of_after_the_draw_calls_nothing_off(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process stood still; or it is of an earlier version, and knows of no draw."""
    service.time.stop_at(await sealed(service) - 1)
    write = service.signing.write

    async def slow(*args: Any) -> str:
        service.time.stop_at(await out_ms(service))
        return await write(*args)

    with monkeypatch.context() as patch:
        patch.setattr(service.signing, "write", slow)
        with pytest.raises(Unavailable, match="came out"):
            await service.voiding.void(DAY, "rain")
    assert "void" not in (await said_of(service)).texts
    late = await recorded.find(service.store, DAY)
    assert late is not None
    with pytest.raises(errors.CheckViolation, match="called off when its draw is out"):
        async with service.store.transaction() as connection:
            await statements.write_void(service.signing, connection, late, await out_ms(service), "rain")
            await connection.execute("UPDATE rounds SET state = 'voiding' WHERE day = %s", [DAY])
    assert (await row_of(service, DAY))["state"] == "sealed"


# -- rules that leave no room


async def test_rules_without_room_for_a_draw_are_refused_where_they_are_planned(service: Service) -> None:
    for due, word in (("08:02", "rules_misfit"), ("08:03", "planned")):
        change = Change(first_day=DAY, last_day=DAY, changes=Terms(settle_at=due))
        answer = await service.planning.plan(change, "ann", "a test", DAY)
        assert answer.word == word
        assert word == "planned" or "the beacon's draw" in answer.data["why"]


def test_rules_without_room_for_a_draw_do_not_start(beacon: Relay) -> None:
    environ = {"CLOCK_ENV": "dev", "CLOCK_CHECK_IN_CLOSES": "08:00", "CLOCK_SETTLE_AT": "08:02"}
    assert load(environ).settle_at == "08:02"
    for given in ("quicknet", beacon.double.info):
        with pytest.raises(BadSetting, match="CLOCK_SETTLE_AT=08:02 must be 3 minutes after CLOCK_CHECK_IN_CLOSES"):
            load({**environ, "CLOCK_BEACON": given})
        assert load({**environ, "CLOCK_BEACON": given, "CLOCK_SETTLE_AT": "08:03"}).beacon == given


async def test_a_round_without_room_for_a_draw_promises_none_and_says_so_once(
    shared: Settings, service: Service, beacon: Relay
) -> None:
    async with another(shared, service, beacon="none") as earlier:
        change = Change(first_day=DAY, last_day=DAY, changes=Terms(settle_at="08:02"))
        assert (await earlier.planning.plan(change, "ann", "a test", DAY)).word == "planned"
    with capture_logs() as logs:
        for _ in range(2):
            await service.opener.open_round(DAY)
    assert [log["day"] for log in logs if log["event"] == "round_without_beacon"] == [DAY.isoformat()]
    assert (await said_of(service)).opened.beacon == "none" and (await row_of(service, DAY))["draw_ms"] is None
    await play(service, DAY, CROWD)
    stop(service, DAY, "08:02")
    assert await service.settling.settle(DAY) == "settled"
    assert (await said_of(service)).published.beacon == "none" and not beacon.double.asked
    assert (await public.proof(service, DAY)).data["missing"] == ["beacon", "witnesses"]
