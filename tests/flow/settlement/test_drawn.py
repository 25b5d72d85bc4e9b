"""Rounds whose packets depend on a draw that nobody knew: closed before it, split by it, whatever dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from psycopg import errors

from clock.books.store import Connection
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.http.players import public
from clock.operators import rounds
from clock.operators.watch.watcher import Watch
from clock.proofs.statements import Written
from clock.runtime import worker
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.drawn import (
    PATIENCE_MS,
    Relay,
    another,
    differences,
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
    BEFORE,
    CROWD,
    RICH,
    Crash,
    finished,
    manifest,
    play,
    query,
    row_of,
    settle_until,
    settled,
    stop,
)


@pytest.fixture
async def beacon() -> AsyncIterator[Relay]:
    async with relay() as made:
        yield made


@pytest.fixture
async def service(shared: Settings, beacon: Relay) -> AsyncIterator[Service]:
    async with drawing_world(shared, beacon, **RICH) as made:
        yield made


def signature(beacon: Relay, said: Written) -> str:
    """Of the draw that O names."""
    assert said.opened.draw is not None
    chain, number = said.opened.draw
    assert chain == beacon.double.chain.hash
    return beacon.double.signature(number).hex()


# -- the whole way


async def test_a_round_is_closed_before_its_draw_is_out_and_split_by_it(service: Service, beacon: Relay) -> None:
    draw_ms = await sealed(service)
    said = await said_of(service)
    chain, closes_ms = beacon.double.chain, said.opened.windows["check_in_closes_ms"]
    number = chain.first(said.opened.windows["settle_ms"] - 120_000)
    assert said.opened.beacon == f"double {chain.hash} {number}" and draw_ms == chain.instant_ms(number)
    assert said.closed.closed_ms == closes_ms + 5_000 < draw_ms
    shown = (await public.figures(service, DAY)).data
    assert (shown["state"], shown["drawn"], await missing(service)) == ("closed", None, ["witnesses"])
    assert await tick(service, draw_ms - 1) == "not_due"
    assert not beacon.double.asked, "nobody asks before it is out"
    assert await tick(service, draw_ms) == "not_due"
    assert (await row_of(service, DAY))["draw"] == signature(beacon, said)
    assert await tick(service, said.opened.windows["settle_ms"] - 1) == "not_due"
    assert (await row_of(service, DAY))["state"] == "sealed"
    row = await settle_at_last(service)
    assert row["draw"] == signature(beacon, said) == (await rounds.figures(service, DAY)).data["draw"]
    assert (await said_of(service)).published.split == "random" and await missing(service) == ["witnesses"]
    assert list(beacon.double.asked) == [number], "it is asked for once"
    await finished(service, DAY)


async def test_the_worker_closes_when_check_in_has_closed_and_splits_when_that_is_due(
    service: Service, beacon: Relay
) -> None:
    await play(service, DAY, CROWD)
    for time, milliseconds, state in (
        ("08:00", 4_999, "open"),
        ("08:00", 5_000, "sealed"),
        ("08:04", 59_999, "sealed"),
        ("08:05", 0, "settled"),
    ):
        stop(service, DAY, time, milliseconds)
        await worker.settle({"service": service})
        assert (await row_of(service, DAY))["state"] == state
    assert (await proved(service))["draw"] == signature(beacon, await said_of(service))


async def test_a_round_that_takes_long_to_finish_makes_no_statement_late(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker comes back just when the next round has closed."""
    await settled(service, BEFORE, CROWD)
    await play(service, DAY, CROWD)
    stop(service, DAY, "08:00", 5_000)
    finishing = asyncio.Event()

    async def slow(_: object) -> None:
        finishing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(service.finishing, "finish", slow)
    working = asyncio.ensure_future(worker.settle({"service": service}))
    await asyncio.wait_for(finishing.wait(), 20)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert (await row_of(service, DAY))["state"] == "sealed"


async def test_without_a_beacon_nothing_is_closed_before_settlement_is_due(shared: Settings, beacon: Relay) -> None:
    async with drawing_world(shared, beacon, beacon="none") as service:
        await play(service, DAY, CROWD)
        stop(service, DAY, "08:04", 59_999)
        await worker.settle({"service": service})
        row = await row_of(service, DAY)
        assert (row["state"], row["draw_ms"], row["draw"]) == ("open", None, None)
        stop(service, DAY, "08:05")
        await worker.settle({"service": service})
        said = await said_of(service)
        assert said.opened.beacon == said.published.beacon == "none"
        assert (await row_of(service, DAY))["state"] == "settled" and await missing(service) == ["beacon", "witnesses"]
        assert not beacon.double.asked


async def test_a_provider_that_says_nothing_makes_no_statement_late(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def silent(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    await play(service, DAY, CROWD)
    stop(service, DAY, "08:00", 5_000)
    with monkeypatch.context() as patch:
        patch.setattr(service.questions, "ask_all", silent)
        settling = asyncio.create_task(service.settling.settle(DAY))
        await asyncio.wait_for(asked.wait(), 10)
        assert (await said_of(service)).closed.closed_ms < await out_ms(service)
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)
    await tick(service, await out_ms(service))
    await settle_at_last(service)


# -- to the millisecond


@pytest.mark.parametrize("early_ms", [1, 0])
async def test_what_is_closed_when_the_draw_is_out_is_split_equal(service: Service, early_ms: int) -> None:
    await service.opener.open_round(DAY)
    draw_ms = await sealed(service, await out_ms(service) - early_ms)
    assert (await said_of(service)).closed.closed_ms == draw_ms - early_ms
    await tick(service, draw_ms)
    assert ((await row_of(service, DAY))["draw"] == "late") == (early_ms == 0)
    row = await settle_at_last(service)
    assert (row["draw"] == "late") == (early_ms == 0)
    if not early_ms:
        await expect_equal(service, "late")


@pytest.mark.parametrize("early_ms", [1, 0])
async def test_a_draw_that_is_had_when_half_an_hour_is_over_is_missing(
    service: Service, beacon: Relay, early_ms: int
) -> None:
    draw_ms = await sealed(service)
    beacon.asked = lambda: service.time.stop_at(draw_ms + PATIENCE_MS - early_ms)
    assert await tick(service, draw_ms) == "settled"
    assert len(beacon.double.asked) == 1
    if early_ms:
        assert (await proved(service))["draw"] == signature(beacon, await said_of(service))
    else:
        await expect_equal(service, "missing")


async def test_a_statement_that_is_not_out_before_the_draw_does_not_say_so(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process stood still between the signature and the end of the transaction."""
    await service.opener.open_round(DAY)
    draw_ms = await out_ms(service)
    write = service.signing.write

    async def slow(*args: object) -> str:
        service.time.stop_at(draw_ms)
        return await write(*args)  # type: ignore[arg-type]

    await play(service, DAY, CROWD)
    service.time.stop_at(draw_ms - 1)
    with monkeypatch.context() as patch:
        patch.setattr(service.signing, "write", slow)
        with pytest.raises(Unavailable, match="came out while"):
            await service.settling.settle(DAY)
    assert "closed" not in (await said_of(service)).texts
    assert await service.settling.settle(DAY) == "not_due"
    assert (await said_of(service)).closed.closed_ms == draw_ms
    await settle_at_last(service)
    await expect_equal(service, "late")


async def test_a_round_that_is_opened_when_its_draw_is_out_rings_nobody(service: Service) -> None:
    """The first start opens the round of the day before, which nobody could join."""
    stop(service, DAY, "10:00")
    await service.opener.open_round(DAY)
    await worker.settle({"service": service})
    row = await row_of(service, DAY)
    assert (row["state"], row["draw"]) == ("settled", "late")
    assert (await Watch(service).look()).draws_failed == 0


# -- whoever dies


async def test_each_step_may_be_taken_by_another_process(
    shared: Settings, service: Service, beacon: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_ms = await sealed(service)
    async with another(shared, service, **beacon.settings) as second:
        assert await tick(second, draw_ms) == "not_due"
    had = (await row_of(service, DAY))["draw"]
    assert had == signature(beacon, await said_of(service))
    stop(service, DAY, "08:05")
    await settle_until(service, monkeypatch, "split")
    drawn = await manifest(service, DAY)
    async with another(shared, service, **beacon.settings) as third:
        assert await third.settling.settle(DAY) == "settled"
    assert (await proved(service))["draw"] == had and await manifest(service, DAY) == drawn
    assert len(beacon.double.asked) == 1


async def test_a_process_that_dies_while_it_decides_has_decided_or_not(
    shared: Settings, service: Service, beacon: Relay
) -> None:
    """It dies at the end of a transaction, before that is committed."""
    service.time.stop_at(draw_ms := await sealed(service))
    for last in count(1):
        async with another(shared, service, **beacon.settings) as victim:
            transaction, ended = victim.store.transaction, count(1)

            @asynccontextmanager
            async def dying() -> AsyncIterator[Connection]:
                async with transaction() as connection:  # noqa: B023 - called while it is this one
                    yield connection
                    if next(ended) == last:  # noqa: B023
                        raise Crash

            victim.store.transaction = dying  # type: ignore[method-assign]
            try:
                assert await victim.drawing.decide(DAY)
                break
            except Crash:
                assert (await row_of(service, DAY))["draw"] is None
    assert last > 4
    assert await tick(service, draw_ms + PATIENCE_MS) == "settled"
    assert (await proved(service))["draw"] == signature(beacon, await said_of(service))


async def test_two_workers_take_one_draw(shared: Settings, service: Service, beacon: Relay) -> None:
    service.time.stop_at(await sealed(service))
    async with another(shared, service, **beacon.settings) as second:
        workers = ({"service": service}, {"service": second})
        await asyncio.gather(*(worker.settle(context) for context in workers))
        had = (await row_of(service, DAY))["draw"]
        stop(service, DAY, "08:05")
        stop(second, DAY, "08:05")
        while (await row_of(service, DAY))["state"] != "settled":
            await asyncio.gather(*(worker.settle(context) for context in workers))
    assert (await proved(service))["draw"] == had == signature(beacon, await said_of(service))


async def test_what_was_decided_first_stays(shared: Settings, service: Service, beacon: Relay) -> None:
    """The other process has the draw only when this one has said that it is missing."""
    draw_ms = await sealed(service)
    asked, go_on = asyncio.Event(), asyncio.Event()
    agreed = service.clocks.agreed_now_ms
    async with another(shared, service, **beacon.settings) as slow:
        beacon.asked = asked.set
        slow.time.stop_at(draw_ms)

        async def waits() -> int:
            if asked.is_set():
                await go_on.wait()
            return draw_ms

        slow.clocks.agreed_now_ms = waits  # type: ignore[method-assign]
        deciding = asyncio.create_task(slow.drawing.decide(DAY))
        await asyncio.wait_for(asked.wait(), 10)
        service.time.stop_at(draw_ms + PATIENCE_MS)
        assert await agreed() == draw_ms + PATIENCE_MS and await service.drawing.decide(DAY)
        go_on.set()
        assert await deciding
    assert await service.settling.settle(DAY) == "settled"
    await expect_equal(service, "missing")


# -- what must not happen


async def test_relays_that_are_silent_hold_up_nobody(shared: Settings, service: Service, beacon: Relay) -> None:
    """An operator need not wait for the round's lock, and the round is still drawn then."""
    service.time.stop_at(await sealed(service))
    beacon.does("silence")
    settling = asyncio.create_task(service.settling.settle(DAY))
    async with asyncio.timeout(10):
        while not beacon.double.asked:
            await asyncio.sleep(0.01)
    async with another(shared, service, **beacon.settings) as second:
        assert await second.ending.is_free(DAY)
        assert await asyncio.wait_for(second.voiding.void(DAY, "rain"), 5) == "round_drawn"
    settling.cancel()
    await asyncio.gather(settling, return_exceptions=True)


async def test_a_difference_between_what_was_drawn_and_the_statements_is_found(service: Service) -> None:
    await tick(service, await sealed(service))
    await settle_at_last(service)
    other = "0" * 96
    async with service.store.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE rounds SET draw = %s WHERE day = %s", [other, DAY])
    found = await differences(service)
    assert {f"drawn: {name} of {DAY}" for name in ("drawn", "beacon")} <= set(found)


async def test_a_process_that_knows_of_no_beacon_splits_no_round_that_has_one(service: Service) -> None:
    """A worker of an earlier version, which runs beside this one, splits what is sealed as if there were none."""
    await tick(service, await sealed(service))
    for had in (None, "missing"):
        with pytest.raises(errors.CheckViolation, match="without the draw that it has promised"):
            async with service.store.transaction() as connection:
                await connection.execute("SET LOCAL session_replication_role = replica")
                await connection.execute("UPDATE rounds SET draw = %s WHERE day = %s", [had, DAY])
                await connection.execute("SET LOCAL session_replication_role = origin")
                text = "clock.statement.v1/published\nbeacon: none\n"
                row = [DAY, "published", text, text]
                await connection.execute("INSERT INTO statements (day, kind, text, note) VALUES (%s, %s, %s, %s)", row)
                await connection.execute("UPDATE rounds SET state = 'split' WHERE day = %s", [DAY])
    await settle_at_last(service)


async def test_a_draw_is_decided_once(service: Service) -> None:
    await sealed(service)
    with pytest.raises(errors.CheckViolation, match="cannot have such a draw"):
        await query(service, "UPDATE rounds SET draw = 'none' WHERE day = %s", DAY)
    await tick(service, await out_ms(service))
    for change in ("draw = 'missing'", "draw = NULL", "draw_ms = draw_ms + 1"):
        with pytest.raises(errors.RestrictViolation, match="never changes"):
            await query(service, f"UPDATE rounds SET {change} WHERE day = %s", DAY)
