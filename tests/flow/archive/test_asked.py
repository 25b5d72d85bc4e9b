"""What asks for a round that is archived is answered plainly, and a late callback or act breaks nothing."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock.books import outbox
from clock.books.months import Month
from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.domain import order_no
from clock.operators.records import files
from clock.operators.records.bundle import audit_bundle
from clock.service import live_rounds
from tests.conftest import WEBHOOK_SECRET, Api, serving
from tests.flow.archive.stage import ANNA, USERS, played, restore, run, take
from tests.flow.operators.stage import clock, operate
from tests.model.world import empty

DAY = date(2022, 9, 7)
MONTH = Month.of(DAY)
ORDER = order_no.make("TTC", order_no.Place(DAY, 0, 7, "0" * 12))
ARCHIVED = [
    ("GET", f"/ops/rounds/{DAY}/export?what=orders"),
    ("GET", f"/ops/outgoing?day={DAY}"),
    ("GET", f"/ops/lookalikes/{DAY}"),
    ("POST", f"/ops/reconcile/{DAY}"),
]


@pytest.fixture(scope="module")
async def api(shared: Settings) -> AsyncIterator[Api]:
    """A game in which September 2022 has left, and October has not."""
    await empty(shared)
    async with serving(shared) as api:
        await api.service.opener.open_around(api.service.asking.calendar.day_at(api.service.time.now_ms()))
        await played(api.service, "2022-09")
        await played(api.service, "2022-10")
        assert (await take(api.service, MONTH)).word == "month_archived"
        yield api


async def test_figures_stay_and_what_follows_from_rows_says_archived(api: Api) -> None:
    status, figures = await api.send("GET", f"/api/rounds/{DAY}")
    assert (status, figures["data"]["archived"], figures["data"]["members"]) == (200, True, USERS)
    assert len(figures["data"]["seed"]) == 64
    status, packets = await api.send("GET", f"/api/rounds/{DAY}/packets")
    assert (status, packets["status"], packets["code"]) == (200, 0, "archived")
    assert "种子" in packets["message"]
    _, packets = await api.send("GET", f"/api/rounds/{DAY}/packets", headers={"accept-language": "en"})
    assert "seed" in packets["message"]
    assert (await api.send("GET", f"/api/me/place/{DAY}", headers=api.token(3)))[1]["code"] == "archived"
    assert (await api.send("GET", "/api/rounds/2022-10-07"))[1]["data"]["archived"] is False
    assert (await api.send("GET", "/api/rounds/2022-10-07/packets"))[1]["data"]["total"] == USERS // 2


async def test_an_auditor_is_told_that_the_round_is_archived(api: Api, tmp_path: Path) -> None:
    answer = await audit_bundle(api.service, ANNA, DAY, tmp_path / "bundle")
    assert (answer.word, list(tmp_path.iterdir())) == ("archived", [])


async def test_a_user_keeps_sums_and_sees_the_history_that_is_there(api: Api) -> None:
    info = (await api.send("GET", "/api/me", headers=api.token(3)))[1]["data"]["info"]
    assert info["join_num"] == 30 + 31
    history = (await api.send("GET", "/api/me/history?limit=200", headers=api.token(3)))[1]["data"]
    assert history["total"] == len(history["items"]) == 2 * 31
    assert history["archived"] == 2 * 30


async def test_operators_hear_that_a_round_is_archived(api: Api) -> None:
    for method, path in ARCHIVED:
        status, reply = await operate(api, method, path, {} if method == "POST" else None)
        assert (status, reply["status"], reply["code"]) == (200, 0, "archived"), path
    status, round_ = await operate(api, "GET", f"/ops/rounds/{DAY}")
    assert (status, round_["data"]["archived"], round_["data"]["refunds"]) == (200, True, None)
    assert round_["data"]["members"] == USERS
    assert (await operate(api, "GET", f"/ops/find?q={ORDER}"))[1]["data"]["archived"] == "2022-09"
    assert (await operate(api, "GET", "/ops/people/3"))[1]["data"]["archived"] == ["2022-09"]
    assert (await operate(api, "POST", f"/ops/rounds/{DAY}/void", {"reason": "late"}))[1]["code"] == "round_settled"


async def late_callback(api: Api) -> str:
    """The provider tells of a payment years later; the id of the quarantined callback."""
    extra = {"amount": 100, "buyerId": "open-7", "transactionId": "T-late"}
    raw = msgspec.json.encode({"order_no": ORDER, "extra": extra})
    status, reply = await api.send("POST", "/callbacks/platform", raw, Signatures(WEBHOOK_SECRET).sign(raw))
    assert (status, reply["code"]) == (404, "order_not_found")
    for round_ in await live_rounds(api.service):
        if round_.finished_at is None:
            for shard in round_.shards:
                await outbox.drain(api.service.store, api.service.redis, round_.day, shard)
                assert await outbox.waiting(api.service.redis, round_.day, shard, 1) == []
    [row] = await run(api.service, "SELECT encode(digest, 'hex') AS id FROM quarantine")
    return str(row["id"])


async def test_a_late_callback_is_kept_and_can_be_paid_back_once_its_month_is_there(api: Api) -> None:
    entry = await late_callback(api)
    path, body = f"/ops/quarantine/{entry}/release", {"action": "refund", "reason": "late"}
    _, refused = await operate(api, "POST", path, body)
    assert (refused["code"], refused["data"]) == ("cannot_release", {"why": "archived"})
    assert (await restore(api.service, MONTH)).word == "month_restored"
    assert (await operate(api, "POST", path, body))[1]["code"] == "released"
    held = await take(api.service, MONTH)
    assert held.data["holds"] == [{"why": "money_open", "day": str(DAY), "count": 1}]
    await run(api.service, "UPDATE outgoing SET state = 'done' WHERE day = '2022-09-07' AND state = 'owed'")
    assert (await take(api.service, MONTH)).word == "month_archived"


async def test_an_act_on_a_month_that_is_being_archived_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_manifest", full)
    month = Month.parse("2022-10")
    assert (await take(api.service, month)).word == "disk_full"
    [failed] = await run(api.service, "SELECT no FROM outgoing WHERE day = '2022-10-05' AND handled = 'acknowledged'")
    status, reply = await operate(api, "POST", f"/ops/outgoing/{failed['no']}/again", {"reason": "asked"})
    assert (status, reply["code"]) == (200, "archived")
    assert (await api.send("GET", "/api/rounds/2022-10-07/packets"))[1]["data"]["total"] == USERS // 2


async def test_the_command_says_what_it_does(api: Api) -> None:
    status, said = await clock(api.settings, "archive")
    assert (status, '"2022-10"' in said, "archive: tables of 2022-10 0 / 9" in said) == (0, True, True), said
    status, said = await clock(api.settings, "archive", "--restore", "2022-10")
    assert (status, "month_restored" in said) == (0, True), said
    acts = await run(api.service, "SELECT act, about FROM acts ORDER BY id DESC LIMIT 2")
    assert [(row["act"], row["about"]) for row in acts] == [("restore", "2022-10"), ("archive", "2022-10")]
    for wrong in ("2022", "2022-13", "2022-1", "2022-10-01"):
        with pytest.raises(ValueError, match=r"YYYY-MM|month"):
            Month.parse(wrong)
