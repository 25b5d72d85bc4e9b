"""What others do while a round is sealed, or is being sealed."""

import asyncio

import pytest

from clock.audit.mend import mend
from clock.books import outbox
from clock.books.store import STATEMENTS_LOCK
from clock.config import Settings
from clock.game import keys
from clock.proofs import statements
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import CROWD, Crowd, audited, finished, play, query, settle_until, stop
from tests.model.world import arrived, service_with


async def test_a_statement_waits_for_the_one_that_it_names(process: Service, settings: Settings) -> None:
    await play(process, DAY, Crowd(winners=1))
    async with service_with(settings, shards=2) as other:
        stop(other, DAY, "08:05")
        async with process.store.transaction() as connection:
            assert await statements.previous(connection) == "none"
            settling = asyncio.create_task(other.settling.settle(DAY))
            waits = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
            async with asyncio.timeout(4):
                while not await query(process, waits, STATEMENTS_LOCK):
                    await asyncio.sleep(0.01)
            assert not settling.done()
        assert await settling == "settled"


async def test_who_checks_in_between_c_and_the_draw_is_promised_and_no_winner(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In shards that have forgotten that they were closed: an old replica was promoted."""
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, "sealed")
    for shard in range(2):
        await process.redis.hset(keys.name(DAY, shard, "round"), "state", "open")
    stop(process, DAY, "07:00")
    assert (await process.verbs.check_in(5, arrived())).word == "checked_in"
    for shard in range(2):
        await outbox.drain(process.store, process.redis, DAY, shard)
    assert await query(process, "SELECT uid, step FROM promises") == [{"uid": 5, "step": "checked_in"}]
    stop(process, DAY, "08:05")
    assert await mend(process, DAY)
    assert await process.settling.settle(DAY) == "settled"
    assert (await audited(process, DAY))["winners"] == 4
    await finished(process, DAY)
