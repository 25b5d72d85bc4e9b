"""The books of a clean round agree, in the middle of its life and long after its end."""

from pathlib import Path
from typing import Any

import pytest

from clock.audit.reconcile import reconcile
from clock.books.store import Store
from clock.config import Settings
from clock.payments import outgoing
from tests.conftest import DAY
from tests.flow.reconcile.stage import Ended, play
from tests.flow.stage import NEXT_DAY, People, sandbox
from tests.model.world import new_world
from tests.raw import raw


async def test_the_books_of_a_clean_round_agree(ended: Ended) -> None:
    assert await ended.people.balances() == {"channel:platform": -30, "fee": 30}
    report = await ended.report()
    assert (report.differences, report.mended) == ([], [])
    assert report.bill_lines == 8 + 3 + 2  # payments, payouts, refunds


async def test_a_round_in_the_middle_of_its_life_agrees(
    shared: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with money on its way, and on eight shards, for which the books are read once."""
    asked: list[str] = []
    pages = Store.pages

    def counted(store: Store, query: str, size: int, **parameters: object) -> Any:
        asked.append(query)
        return pages(store, query, size, **parameters)

    monkeypatch.setattr(Store, "pages", counted)
    async with (
        sandbox(tmp_path / "sandbox.sqlite") as channel,
        new_world(shared, shards=8, platform_url="http://provider") as service,
    ):
        people = People(service)
        people.use(channel)
        await play(people, channel)
        channel.trouble(processing=1, processing_ms=60_000)
        await outgoing.send_some(service.store, service.channels)
        asked.clear()
        report = await reconcile(service, DAY)
        assert report is not None
        assert report.differences == []
        assert sorted(asked) == ["packet_pieces", "rebuild_checking", "rebuild_payments", "rebuild_users"]


async def test_there_is_no_report_about_a_round_that_never_was(ended: Ended) -> None:
    assert await reconcile(ended.people.service, NEXT_DAY.replace(year=2030)) is None


async def test_a_finished_round_may_have_expired_from_redis(ended: Ended) -> None:
    await raw(ended.people.service.redis).flushall()
    assert (await ended.report()).differences == []
