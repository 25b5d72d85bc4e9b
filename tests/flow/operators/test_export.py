"""A round's books as CSV: what an accountant's program reads is what the books have."""

import asyncio
import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clock.config import Settings
from clock.operators import export
from clock.operators.export import defused
from tests.conftest import DAY, Api
from tests.flow.operators.stage import BOSS, clock, operate
from tests.flow.stage import People, sandbox, send

WHAT = ("orders", "payments", "payouts", "refunds", "ledger")


async def exported(api: Api, what: str, day: Any = DAY) -> tuple[int, bytes, Mapping[str, str]]:
    headers = api.token(BOSS, "operator")
    async with api.session.get(f"{api.url}/ops/rounds/{day}/export?what={what}", headers=headers) as reply:
        return reply.status, await reply.read(), reply.headers


def read(raw: bytes) -> list[dict[str, str]]:
    """As a program does that keeps to RFC 4180; columns by the first word of their heading."""
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.count(b"\r\n") == raw.count(b"\n")
    lines = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    names = [head.split(" ")[0] for head in lines[0]]
    return [dict(zip(names, line, strict=True)) for line in lines[1:]]


@pytest.fixture
async def played(api: Api, tmp_path: Path) -> People:
    """Users 1 to 5: five have paid, one of them twice; 1 and 2 were up; 1 has claimed, and the money has left."""
    people = People(api.service)
    async with sandbox(tmp_path / "sandbox.sqlite") as channel:
        people.use(channel)
        await people.members(1, 2, 3, 4, 5)
        assert await people.pay(3, '=HYPERLINK("x")') == "refund_due"
        await people.morning(winners=2)
        await people.settle()
        await people.claim(1)
        await people.drain()
        await send(people)
    return people


async def test_every_book_of_a_round_is_exported(api: Api, played: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 2)  # pages that end with the rows, within them, and before the first
    found: dict[str, list[dict[str, str]]] = {}
    for what in WHAT:
        status, raw, headers = await exported(api, what)
        assert (status, headers["content-type"], headers["cache-control"]) == (
            200,
            "text/csv; charset=utf-8",
            "no-store",
        )
        assert headers["content-disposition"] == f'attachment; filename="{DAY}-{what}.csv"'
        found[what] = read(raw)
    orders = found["orders"]
    assert [(one["uid"], one["amount_fen"], one["amount_yuan"]) for one in orders] == [
        (str(uid), "100", "1.00") for uid in range(1, 6)
    ]
    assert orders[0]["at"] == "2026-11-22 20:00:00.010"
    assert [bool(one["checked_in"]) for one in orders] == [True, True, False, False, False]
    assert int(orders[0]["packet_fen"]) + 200 > 200
    payments = {one["transaction_id"]: one for one in found["payments"]}
    assert len(payments) == len(found["payments"]) == 6
    assert payments['\'=HYPERLINK("x")']["outcome"] == "refund_second"
    [payout] = found["payouts"]
    assert (payout["sent_as"], payout["state"]) == ("P202611221", "done")
    [refund] = found["refunds"]
    assert (refund["uid"], refund["amount_fen"], refund["state"]) == ("3", "100", "failed")
    transfers = await played.transfers()
    assert len(found["ledger"]) == len(transfers)
    assert sum(int(one["amount_fen"]) for one in found["ledger"]) == sum(row["amount_fen"] for row in transfers)


async def test_what_cannot_be_exported_says_why(api: Api) -> None:
    assert (await exported(api, "orders", "2026-01-01"))[0] == 404
    assert (await exported(api, "secrets"))[0] == 400
    assert (await operate(api, "GET", f"/ops/rounds/{DAY}/export"))[0] == 400
    assert (await operate(api, "GET", "/ops/rounds/today/export?what=orders"))[0] == 400
    await api.service.store.close()
    began = asyncio.get_running_loop().time()
    assert (await exported(api, "orders"))[0] == 503
    assert asyncio.get_running_loop().time() - began < 10


async def test_a_file_that_breaks_off_is_not_taken_for_whole(
    api: Api, played: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 2)
    table = export.TABLES["orders"]

    async def breaks(store: Any, **of: Any) -> list[Any]:
        if of["first"]:
            raise ConnectionError("the server has gone")
        return await table.read(store, **of)

    monkeypatch.setitem(export.TABLES, "orders", table._replace(read=breaks))
    with pytest.raises(aiohttp.ClientPayloadError):
        await exported(api, "orders")


async def test_the_command_writes_the_same_file(api: Api, settings: Settings, played: People) -> None:
    status, said = await clock(settings, "export", str(DAY), "--what", "payments")
    assert status == 0
    _, raw, _ = await exported(api, "payments")
    assert read(said.encode()) == read(raw)
    acts = (await operate(api, "GET", f"/ops/actions?about={DAY}"))[1]["data"]["items"]
    assert [(one["act"], one["detail"], one["word"]) for one in acts] == [("export", {"what": "payments"}, "ok")] * 2
    assert {one["who"] for one in acts} > {str(BOSS)}


CELLS = {
    "=1+1": "'=1+1",
    "+86": "'+86",
    "-1": "'-1",
    "@x": "'@x",
    "\t=1": "'\t=1",
    "123456789012345": "123456789012345",
    "1234567890123456": "'1234567890123456",
    "a=1": "a=1",
    "": "",
}


@pytest.mark.parametrize(("text", "shown"), CELLS.items(), ids=list(map(repr, CELLS)))
def test_a_cell_is_text_for_a_spreadsheet(text: str, shown: str) -> None:
    assert defused(text) == shown
