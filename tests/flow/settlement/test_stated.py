"""A round goes on only with the statement that belongs to it: beside a process of an earlier version, and with books
that have changed since its shards were closed."""

import asyncio
from typing import Any

import msgspec
import pytest
from psycopg.errors import CheckViolation

from clock.audit.reconcile import reconcile
from clock.books import outbox, rulebook
from clock.books.store import OUTBOX_LOCK
from clock.config import Settings, rules_of
from clock.game import keys
from clock.rounds.ending import BooksDiffer
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import CROWD, opened_by_an_earlier_version, play, query, row_of, settle_until, stop
from tests.model.world import forgetful, new_world

WAITS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
"""Who waits for an advisory lock."""


async def test_what_an_earlier_version_is_refused_does_not_show_the_seed(process: Service) -> None:
    """It logs what Postgres says, and so does Postgres."""
    await process.opener.open_round(DAY)
    row = await row_of(process, DAY)
    for state in ("split", "sealed", "voiding"):
        with pytest.raises(CheckViolation) as refused:
            await query(process, "UPDATE rounds SET state = %s WHERE day = %s", state, DAY)
        for secret in ("seed", "salt_key"):
            assert row[secret].hex()[:16] not in f"{refused.value} {refused.value.diag.message_detail}"


@pytest.mark.parametrize("state", ["open", "split"])
async def test_an_earlier_version_calls_no_round_off_without_a_statement(
    process: Service, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """It has no V, and calls off what is drawn."""
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, state)
    with pytest.raises(CheckViolation):
        await query(process, "UPDATE rounds SET state = 'voiding', void_reason = 'rain' WHERE day = %s", DAY)
    assert (await row_of(process, DAY))["state"] == state


async def test_a_round_that_an_earlier_version_opens_meanwhile_promises_nothing(process: Service) -> None:
    """O alone would accuse us of withholding C and P."""
    async with process.store.transaction() as connection:
        await rulebook.lock(connection)
        opening = asyncio.create_task(process.opener.open_round(DAY))
        while not await query(process, WAITS):
            await asyncio.sleep(0.01)
        await connection.execute(
            "INSERT INTO rounds (day, rules, seed, seed_hash) VALUES (%s, %s, sha256('old'), sha256(sha256('old')))",
            [DAY, msgspec.json.encode(rules_of(process.settings)).decode()],
        )
    await opening
    assert await query(process, "SELECT kind FROM statements") == []


@pytest.mark.parametrize("version", ["this", "earlier"])
async def test_a_check_in_that_came_after_the_shards_were_closed_is_not_sealed_without_a_packet(
    process: Service, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """As from a replica that was promoted and had forgotten that it was closed: packets are dealt to as many winners as
    the shards have said."""
    await play(process, DAY, CROWD)
    if version == "earlier":
        await opened_by_an_earlier_version(process, DAY)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, "closed")
    sleeper = CROWD.everybody[CROWD.awake[-1]]
    await query(process, "INSERT INTO check_ins (day, uid, at_ms, rank) VALUES (%s, %s, 0, 9)", DAY, sleeper)
    with pytest.raises(BooksDiffer, match="winners"):
        await process.settling.settle(DAY)
    assert (await row_of(process, DAY))["state"] == "closed"


async def test_whoever_drains_a_shard_while_the_round_is_sealed_is_waited_for(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has seen a round that takes winners, and has not written them yet."""
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, "closed")
    sleeper = CROWD.everybody[CROWD.awake[-1]]
    async with process.store.transaction() as connection:
        lease = outbox.lease_of(DAY, keys.shard_of(sleeper, 2))
        await connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", [OUTBOX_LOCK, lease])
        await connection.execute("INSERT INTO check_ins (day, uid, at_ms, rank) VALUES (%s, %s, 0, 9)", [DAY, sleeper])
        settling = asyncio.create_task(process.settling.settle(DAY))
        while not (settling.done() or await query(process, WAITS)):
            await asyncio.sleep(0.01)
    with pytest.raises(BooksDiffer):
        await settling
    assert (await row_of(process, DAY))["state"] == "closed"


async def test_the_books_of_a_sealed_round_are_whole(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for its draw: the bonus is in its pot, and given when it is split."""
    async with forgetful(settings), new_world(settings, shards=2) as service:
        await play(service, DAY, CROWD)
        await query(service, "UPDATE rounds SET rules = rules || '{\"bonus_fen\": 700}' WHERE day = %s", DAY)
        stop(service, DAY, "08:05")
        await settle_until(service, monkeypatch, "sealed")
        report: Any = await reconcile(service, DAY)
        assert [one for one in report.differences if one.what != "bill_missing"] == []
