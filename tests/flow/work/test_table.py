"""The table of long work: one holder a piece, few writes, few rows."""

import asyncio
from datetime import date, datetime
from time import monotonic
from typing import Any

import pytest

from clock.config import Settings
from clock.domain import progress
from clock.domain.outcomes import Answer
from clock.operators.work import table
from clock.operators.work.asking import DOING
from clock.operators.work.table import Row, Running, Taken
from clock.runtime import jobs
from clock.service import Service
from tests.conftest import DAY
from tests.flow.work.stage import Slow, ask, context, listed, until, words
from tests.model.world import new_world, service_with

ABOUT = str(DAY)


OLD = """INSERT INTO work (kind, about, asked_by, state, ended_at, answer)
SELECT 'settle', 'd' || n, 'worker', 'ended', now() - interval '31 days', '{"word": "settled", "data": {}}'
FROM generate_series(1, 1500) n"""

VANISHED = """INSERT INTO work (kind, about, asked_by, state, holder, began_at, beat_at)
SELECT kind, '2026-01-01', 'worker', 'running', 'gone', now() - interval '1 day', now() - interval '1 day'
FROM unnest(ARRAY['finish', 'settle']) kind"""


async def query(service: Service, statement: str) -> list[dict[str, Any]]:
    async with service.store.transaction() as connection:
        cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def heard_of(service: Service) -> datetime:
    """When the holder of the only row was."""
    [row] = await query(service, "SELECT beat_at FROM work")
    at: datetime = row["beat_at"]
    return at


async def test_of_two_workers_one_does_it_and_another_kind_goes_on_beside_it(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow("reconcile")
    monkeypatch.setitem(DOING, "reconcile", slow)
    async with new_world(shared) as one, service_with(shared) as other:
        await one.opener.open_around(DAY)
        (row, first), (joined, second) = [await ask(one, "reconcile", who) for who in ("anna", "ben")]
        assert row == joined
        both = [context(one), context(other)]
        await asyncio.gather(*(jobs.take_asked(each) for each in both))
        await until(lambda: asyncio.sleep(0, slow.begun))
        _, third = await ask(one, "void", reason="rain")
        await asyncio.gather(*(jobs.take_asked(each) for each in both))
        assert await until(lambda: words(one, "void")) == ["ok"]
        assert await words(one, "reconcile") == []
        slow.may_go_on.set()
        assert await until(lambda: words(one, "reconcile")) == ["books_agree"]
        assert (slow.begun, slow.ended) == (1, 1)
        told = await query(one, "SELECT act, word FROM acts_ended")
        assert {row["act"]: row["word"] for row in told} == {first: "books_agree", second: "books_agree", third: "ok"}


async def test_a_holder_that_has_vanished_is_replaced_and_writes_nothing_any_more(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "WRITE_SECONDS", 0.02)
    monkeypatch.setattr(table, "BEAT_SECONDS", 0.05)
    async with new_world(shared) as service:
        await ask(service, "reconcile")
        row = await table.take(service.store, ["reconcile"])
        assert row is not None and await table.take(service.store, ["reconcile"]) is None
        assert await table.hold(service.store, "reconcile", ABOUT, {}, "ben") is None
        cancelled: list[bool] = []

        async def hangs() -> Answer:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(True)
            raise AssertionError

        began = await heard_of(service)
        hanging = asyncio.create_task(Running(service.store, row.kind, row.about, "a", row).run(hangs))

        async def beats() -> bool:
            return await heard_of(service) > began

        await until(beats)
        assert await table.take(service.store, ["reconcile"]) is None

        async def taken_after_silence() -> Row | None:  # a beat may come between the two
            await query(service, "UPDATE work SET beat_at = beat_at - interval '1 minute'")
            return await table.take(service.store, ["reconcile"])

        newer = await until(taken_after_silence)
        assert (newer.id, newer.holder == row.holder) == (row.id, False)
        with pytest.raises(Taken):
            await asyncio.wait_for(hanging, 5)
        assert cancelled == [True]
        [item] = await listed(service)
        assert (item["state"], item["holder"]) == ("running", newer.holder)


async def test_a_worker_that_stops_lets_go_of_what_was_asked_for(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow("reconcile")
    monkeypatch.setitem(DOING, "reconcile", slow)
    async with new_world(shared) as service:
        await service.opener.open_around(DAY)
        await ask(service, "reconcile")
        stopping = context(service)
        await jobs.take_asked(stopping)
        await until(lambda: asyncio.sleep(0, slow.begun))
        await asyncio.wait_for(stopping["lasting"].end(), 5)
        assert [one["state"] for one in await listed(service)] == ["waiting"]
        assert await table.take(service.store, ["reconcile"]) is None, "not at once: it may be a server that is away"
        monkeypatch.setattr(table, "PAUSE_SECONDS", 0.0)
        slow.may_go_on.set()
        await jobs.take_asked(context(service))
        assert await until(lambda: words(service, "reconcile")) == ["books_agree"]
        assert (slow.begun, slow.ended) == (2, 1)


async def says(step: str, times: int) -> Answer:
    for done in range(times):
        progress.at(step, done, times)
        await asyncio.sleep(0.01)
    return Answer("ok")


async def test_what_a_worker_does_by_itself_has_a_row_only_if_it_takes_long_and_the_last_end_is_kept(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "WRITE_SECONDS", 0.01)
    async with new_world(shared) as service:

        async def once(kind: str = "finish") -> None:
            await Running(service.store, kind, ABOUT, "worker").run(lambda: says("crediting", 5))

        await once()
        assert await listed(service) == [], "short work has no row"
        monkeypatch.setattr(table, "SHOWN_SECONDS", 0.0)
        for _ in range(4):
            await once()
        await once("count")
        found = await query(service, "SELECT kind, state, step, done, total, answer ->> 'word' AS word FROM work")
        assert sorted(row["kind"] for row in found) == ["count", "finish"]
        assert {(row["state"], row["step"], row["done"], row["total"], row["word"]) for row in found} == {
            ("ended", "crediting", 4, 5, "ok")
        }
        with pytest.raises(ZeroDivisionError):
            await Running(service.store, "count", ABOUT, "worker").run(breaks)
        assert await words(service, "count") == ["internal"]


async def breaks() -> Answer:
    await says("counting", 5)
    raise ZeroDivisionError


async def test_progress_is_written_at_most_once_in_its_time(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "WRITE_SECONDS", 0.1)
    async with new_world(shared) as service:
        row = await table.hold(service.store, "reconcile", ABOUT, {}, "anna")
        assert row is not None
        written: list[str] = []
        real = service.store.all

        async def counted(name: str, **parameters: Any) -> Any:
            written.append(name)
            return await real(name, **parameters)

        monkeypatch.setattr(service.store, "all", counted)
        began = monotonic()
        await Running(service.store, row.kind, row.about, "anna", row).run(lambda: says("comparing", 50))
        assert 2 <= written.count("beat_work") <= (monotonic() - began) / table.WRITE_SECONDS, "50 were said"


async def test_whoever_does_it_takes_the_row_from_one_who_waits_for_it(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator asks for what a worker has begun by itself a moment ago: it is done once, and that is shown."""
    monkeypatch.setattr(table, "WRITE_SECONDS", 0.02)
    monkeypatch.setattr(table, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(table, "SHOWN_SECONDS", 0.2)
    async with new_world(shared) as service:
        may_end = asyncio.Event()

        async def settles(_: date) -> str:
            progress.at("publishing", 1, 2)
            await may_end.wait()
            return "settled"

        doing = asyncio.create_task(jobs.shown(service, "settle", settles, DAY))
        monkeypatch.setitem(DOING, "settle", waits_for_the_lock)
        _, act = await ask(service, "settle")
        asked = context(service)
        await jobs.take_asked(asked)
        await until(lambda: shows(service, "publishing"))
        await until(lambda: asyncio.sleep(0, not asked["lasting"].runs("asked_settle")))
        may_end.set()
        await doing
        assert await words(service, "settle") == ["settled"]
        assert await query(service, "SELECT act, word FROM acts_ended") == [{"act": act, "word": "settled"}]


async def waits_for_the_lock(*_: Any) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


async def shows(service: Service, step: str) -> bool:
    return [one["step"] for one in await listed(service)] == [step]


async def test_old_rows_are_removed_in_bounded_steps_and_what_nobody_takes_over_ends(shared: Settings) -> None:
    async with new_world(shared) as service:
        await query(service, OLD)
        await query(service, VANISHED)
        await ask(service, "reconcile")
        for left in (500, 0):
            await table.forget_old(service.store, list(DOING))
            assert await query(service, "SELECT count(*) AS n FROM work WHERE about LIKE 'd%'") == [{"n": left}]
        states = {one["kind"]: one["state"] for one in await listed(service)}
        assert states == {"finish": "ended", "settle": "running", "reconcile": "waiting"}
        row = await table.take(service.store, ["settle"])
        assert row is not None and row.about == "2026-01-01", "what can be asked for is taken over"


def test_a_large_answer_keeps_its_word() -> None:
    assert table.kept_form(Answer("ok", {"a": 1})) == b'{"word":"ok","data":{"a":1}}'
    assert table.kept_form(Answer("books_differ", {"reports": ["x" * table.MOST_BYTES]})) == (
        b'{"word":"books_differ","data":{}}'
    )
