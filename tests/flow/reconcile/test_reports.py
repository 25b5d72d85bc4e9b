"""Who asks for a report: the command, an operator over HTTP, the worker once a day."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock.config import Settings
from clock.runtime import worker
from clock.runtime.supervise import environment
from tests.conftest import DAY, Api
from tests.flow.reconcile.stage import Ended
from tests.flow.stage import People, Scripted, bill, move
from tests.model.world import new_world


@pytest.mark.long
async def test_the_command_ends_with_1_where_the_books_differ(ended: Ended, tmp_path: Path) -> None:
    def run() -> tuple[int, dict[str, Any]]:
        settings = msgspec.structs.replace(ended.people.service.settings, platform_url="", data_dir=tmp_path)
        command = [sys.executable, "-m", "clock", "reconcile", str(DAY)]
        done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout)

    status, said = run()
    assert (status, said["code"]) == (0, "books_agree"), said
    await ended.people.tamper("DELETE FROM claims WHERE uid = 1")
    status, said = run()
    assert (status, said["code"]) == (1, "books_differ")
    assert "user 1" in {difference["subject"] for difference in said["reports"][0]["differences"]}


DONE = {"status": 1, "code": "ok", "message": "成功"}


async def test_operators_ask_over_http(api: Api) -> None:
    people = People(api.service)
    await people.members(1, 2)
    operator = api.token(9, "operator")
    assert await api.send("GET", f"/ops/reconcile/{DAY}", headers=operator) == (200, {**DONE, "data": {"reports": []}})
    status, reply = await api.send("POST", f"/ops/reconcile/{DAY}", headers=operator)
    assert (status, reply["code"], reply["status"]) == (200, "books_agree", 1)
    assert reply["data"]["reports"][0]["differences"] == []
    await people.tamper("DELETE FROM members WHERE uid = 2")
    status, reply = await api.send("POST", f"/ops/reconcile/{DAY}", headers=operator)
    assert (status, reply["code"], reply["status"]) == (200, "books_differ", 0)
    [difference] = reply["data"]["reports"][0]["differences"]
    assert difference == {"what": "user_state", "subject": "user 2", "one": "Redis M", "other": "books O"}
    status, kept = await api.send("GET", f"/ops/reconcile/{DAY}", headers=operator)
    assert (kept["code"], kept["data"]["reports"][0]["differences"]) == ("books_differ", [difference])
    assert (await api.send("POST", "/ops/reconcile/2030-01-01", headers=operator))[0] == 404
    assert (await api.send("POST", "/ops/reconcile/today", headers=operator))[0] == 400
    assert (await api.send("POST", f"/ops/reconcile/{DAY}", headers=api.token(1)))[0] == 403
    assert (await api.send("POST", f"/ops/reconcile/{DAY}"))[0] == 401


async def saved(ended: Ended) -> list[dict[str, Any]]:
    return await ended.people.rows("SELECT * FROM reconciliations WHERE day = %s ORDER BY at", DAY)


async def test_the_worker_compares_each_ended_round_once_a_day_for_a_week(ended: Ended) -> None:
    """Money goes on moving after a round has ended: what came in or left yesterday is in yesterday's bill."""
    context = {"service": ended.people.service}
    for _ in range(3):
        await worker.compare(context)
    assert [row["differences"] for row in await saved(ended)] == [[]]
    yesterday = int((time.time() - 86_400) * 1000)
    bill(ended.channel, ended.order(8), "T8", 8, at_ms=yesterday)  # an old order, and its callback is lost
    move(ended.channel, "R" + "0" * 31, "refund", 100, ended.order(2))
    await ended.people.rows("UPDATE reconciliations SET at = at - interval '1 day'")
    await ended.people.rows("UPDATE rounds SET finished_at = finished_at - interval '2 days'")
    for _ in range(3):
        await worker.compare(context)
    [_, second] = await saved(ended)
    assert second["mended"] == [f"order {ended.order(8)} transaction T8: refund_due"]
    assert [one["what"] for one in second["differences"]] == ["movement_not_as_billed"]
    await ended.people.rows("UPDATE reconciliations SET at = at - interval '1 day'")
    await ended.people.rows("UPDATE rounds SET finished_at = finished_at - interval '6 days'")
    await worker.compare(context)
    assert len(await saved(ended)) == 2


async def test_the_worker_writes_down_what_differs(ended: Ended) -> None:
    await ended.people.tamper("DELETE FROM claims WHERE uid = 1")
    await worker.compare({"service": ended.people.service})
    [row] = await saved(ended)
    assert {"what": "user_state", "subject": "user 1", "one": "Redis P", "other": "books C"} in row["differences"]


async def test_the_worker_does_not_compare_a_round_that_goes_on(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await people.members(1, 2)
        await people.settle()
        await worker.compare({"service": service})
        assert await people.rows("SELECT * FROM reconciliations") == []


async def test_the_worker_compares_again_once_the_bill_is_to_be_had(ended: Ended) -> None:
    """Real providers have the bill of a day hours after its end."""
    service = ended.people.service
    ended.people.use(Scripted())
    try:
        for _ in range(3):
            await worker.compare({"service": service})
        assert len(await saved(ended)) == 1  # not every second
    finally:
        ended.people.use(ended.channel)
    await ended.people.rows("UPDATE reconciliations SET at = at - interval '1 hour'")
    await ended.people.rows("UPDATE rounds SET finished_at = finished_at - interval '2 hours'")
    await worker.compare({"service": service})
    assert [row["differences"] for row in (await saved(ended))[1:]] == [[]]
