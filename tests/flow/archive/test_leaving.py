"""A month leaves for files that have every row of it, and the same months come back to the letter."""

import csv
import gzip
import hashlib
import io
from typing import Any

import msgspec
import pytest
from psycopg.errors import RestrictViolation

from clock.books.months import Month
from clock.books.partitions import PARTITIONED
from clock.domain.outcomes import Answer, Unavailable
from clock.fair.leaves import Kind
from clock.operators.records import archive, files
from clock.operators.records.due import due_months
from clock.proofs import growing
from clock.proofs.paths import proof
from clock.rounds import recorded
from clock.service import Service
from tests.flow.archive.stage import ANNA, USERS, contents, nameless, played, restore, run, tables_of, take

ACCOUNTS = "SELECT * FROM accounts ORDER BY uid"
UNSENT = "SELECT no FROM unsent WHERE day BETWEEN '2021-04-01' AND '2021-04-30' ORDER BY no"


def lines(service: Service, month: Month, table: str) -> list[list[str]]:
    """As any program reads them."""
    text = gzip.decompress((service.settings.archive_path / str(month) / f"{table}.csv.gz").read_bytes()).decode()
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


async def test_a_month_is_in_files_and_nowhere_else(process: Service) -> None:
    month = await played(process, "2021-02")
    before = await contents(process, month)
    answer = await take(process, month)
    assert answer.word == "month_archived", answer
    assert await tables_of(process, month) == []
    assert not any((await contents(process, month)).values())
    folder = process.settings.archive_path / "2021-02"
    text = (folder / "MANIFEST.json").read_bytes()
    assert hashlib.sha256(text).hexdigest() == answer.data["manifest_sha256"]
    manifest = msgspec.json.decode(text)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["MANIFEST.json", *(f"{table}.csv.gz" for table in PARTITIONED)]
    )
    for table in PARTITIONED:
        head, *rows = lines(process, month, table)
        assert head == manifest["tables"][table]["columns"] == list(before[table][0])
        assert len(rows) == manifest["tables"][table]["content"]["rows"] == len(before[table]) > 0
        packed = (folder / f"{table}.csv.gz").read_bytes()
        content = manifest["tables"][table]["content"]
        assert (len(packed), hashlib.sha256(packed).hexdigest()) == (content["bytes"], content["sha256"])
    assert manifest["tables"]["outgoing"]["by_kind"]["payout failed"] == {"count": 28, "fen": 28 * 101}
    assert manifest["tables"]["transfers"]["by_kind"]["stake"] == {"count": 28 * USERS, "fen": 28 * USERS * 100}
    assert [one["day"] for one in manifest["rounds"]] == [str(day) for day in month.days]
    assert manifest["rounds"][0]["seed"] == hashlib.sha256(b"2021-02-01").hexdigest()
    [row] = await run(
        process, "SELECT *, encode(manifest_sha256, 'hex') AS hex FROM archives WHERE month = '2021-02-01'"
    )
    assert (row["by_whom"], row["hex"]) == ("anna", answer.data["manifest_sha256"])
    assert (await take(process, month)).data == answer.data


async def test_nobody_is_named_in_the_files(process: Service) -> None:
    month = await played(process, "2021-03")
    await run(
        process,
        "INSERT INTO quarantine SELECT sha256(w::bytea), '2021-03-09', 1, 'platform', 'r', w, 'open-3' FROM"
        " unnest(ARRAY['decided', 'of April']) AS w",
    )
    await run(process, "UPDATE quarantine SET day = '2021-04-09' WHERE order_no = 'of April'")
    await run(
        process,
        "INSERT INTO releases SELECT digest, 'dismiss', 'seen', 'anna', now(), NULL, order_no, 'T', 100, NULL"
        " FROM quarantine WHERE order_no = 'decided'",
    )
    await take(process, month)
    raws = await run(process, "SELECT order_no, raw FROM quarantine ORDER BY order_no")
    assert [(row["order_no"], row["raw"]) for row in raws] == [("decided", b""), ("of April", b"open-3")]
    await run(process, "DELETE FROM quarantine WHERE order_no = 'of April'")
    for table in PARTITIONED:
        text = gzip.decompress((process.settings.archive_path / "2021-03" / f"{table}.csv.gz").read_bytes())
        assert b"open-" not in text and b"buyerId" not in text


async def test_what_was_archived_comes_back_and_leaves_as_the_same_files(process: Service) -> None:
    month = await played(process, "2021-04")
    before = await contents(process, month)
    sums, unsent = await run(process, ACCOUNTS), [row["no"] for row in await run(process, UNSENT)]
    assert len(sums) == USERS and len(unsent) == 30
    first = await take(process, month)
    assert await run(process, ACCOUNTS) == sums
    assert await run(process, UNSENT) == []
    manifest = (process.settings.archive_path / "2021-04" / "MANIFEST.json").read_bytes()
    assert (await restore(process, month)).word == "month_restored"
    assert await contents(process, month) == nameless(before)
    assert await run(process, ACCOUNTS) == sums
    with pytest.raises(RestrictViolation):
        await run(process, "DELETE FROM transfers WHERE day = '2021-04-05'")
    for table in await tables_of(process, month):
        if table.startswith("transfers"):
            with pytest.raises(RestrictViolation):
                await run(process, f"TRUNCATE {table}")
    assert [row["no"] for row in await run(process, UNSENT)] == unsent
    await run(process, "UPDATE orders SET amount_fen = 100 WHERE day = '2021-04-05'")  # a month as any other
    again = await take(process, month)
    assert again.data == first.data
    assert (process.settings.archive_path / "2021-04" / "MANIFEST.json").read_bytes() == manifest


HOLDS = {
    "round_open": ("UPDATE rounds SET finished_at = NULL", "UPDATE rounds SET finished_at = settled_at"),
    "not_counted": ("UPDATE rounds SET credited_at = NULL", "UPDATE rounds SET credited_at = now()"),
    "money_open": ("UPDATE outgoing SET handled = NULL", "UPDATE outgoing SET handled = 'acknowledged'"),
    "not_reconciled": ("UPDATE reconciliations SET at = '2020-01-01'", "UPDATE reconciliations SET at = now()"),
    "books_differ": (
        "UPDATE reconciliations SET differences = '[{}]'",
        "UPDATE reconciliations SET differences = '[]'",
    ),
    "not_carried": ("INSERT INTO uncarried (day) VALUES ('2021-05-07')", "DELETE FROM uncarried"),
    "quarantine_waiting": (
        "INSERT INTO quarantine VALUES ('\\x01', '2021-05-07', 1, 'platform', 'amount_mismatch', 'no', '')",
        "DELETE FROM quarantine",
    ),
}


async def test_what_is_due_says_so_and_what_is_not_says_why(process: Service) -> None:
    month = await played(process, "2021-05", users=3)
    await played(process, "2021-06", users=3)
    assert await due_months(process.store, process.settings) == ["2021-05", "2021-06"]
    for why, (change, back) in HOLDS.items():
        of_round = " WHERE day = '2021-05-07'" + (
            " AND (kind, state) = ('payout', 'failed')" if "outgoing" in change else ""
        )
        await run(process, change + ("" if change.startswith("INSERT") else of_round))
        answer = await take(process, month)
        assert (answer.word, answer.data["holds"]) == ("month_held", [{"why": why, "day": "2021-05-07", "count": 1}])
        assert await due_months(process.store, process.settings) == ["2021-06"]
        await run(process, back + of_round)
    await run(process, "UPDATE orders SET at_ms = 1 WHERE day = '2021-05-07' AND uid = 1")  # what is held may change
    answer = await archive.archive_due(process, ANNA)
    assert (answer.word, [one["month"] for one in answer.data["archived"]]) == (
        "month_archived",
        ["2021-05", "2021-06"],
    )
    assert await archive.archive_due(process, ANNA) == Answer("nothing_due", {"archived": []})


async def test_a_young_or_unknown_month_does_not_leave(process: Service) -> None:
    assert (await take(process, Month.parse("2019-01"))).word == "month_not_found"
    [row] = await run(process, "SELECT (now() AT TIME ZONE 'Asia/Shanghai')::date - 40 AS day")
    month = await played(process, f"{row['day']:%Y-%m}", users=1)
    answer = await take(process, month)
    assert (answer.word, answer.data["keep_months"]) == ("month_held", 24)
    assert len(await tables_of(process, month)) > 0


async def test_the_text_of_rows_is_counted_where_texts_have_lines_of_their_own(process: Service, tmp_path: Any) -> None:
    path = tmp_path / "some.csv.gz"
    with files.Writer(path) as writer:
        for piece in (b'a,b\n1,"x\n', b'""\ny"\n2,', b'""\n'):
            writer.write(piece)
    content = files.content_of(path)
    assert (content.rows, content.csv_sha256) == (2, writer.csv_sha256)
    packed = path.read_bytes()
    for wrong in (packed[:-1], packed + packed, packed[:20] + b"\x00" + packed[21:], b""):
        path.write_bytes(wrong)
        with pytest.raises(files.Damaged):
            files.content_of(path)


async def test_paths_leave_with_their_month_and_come_back(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trees are made again from the rows, and nothing else is; also where whoever restores dies in between."""

    async def dies(*_: object) -> None:
        raise Unavailable

    async def proofs() -> list[Answer]:
        kinds: tuple[Kind, ...] = ("stake", "checked_in", "packet")
        return [await proof(process.store, day, kind, 3) for kind in kinds]

    month = await played(process, "2021-08")
    day = month.days[3]
    await run(process, "UPDATE rounds SET salt_key = sha256(''), drawn = seed WHERE day = %(day)s", day=day)
    round_ = await recorded.find(process.store, day)
    assert round_ is not None
    await growing.regrow(process.store, round_)
    before = await proofs()
    assert [answer.word for answer in before] == ["ok"] * 3
    await take(process, month)
    assert [answer.word for answer in await proofs()] == ["archived"] * 3
    assert await run(process, "SELECT kind FROM trees") == []
    assert "salt" not in (process.settings.archive_path / "2021-08" / "MANIFEST.json").read_text()
    with monkeypatch.context() as patch, pytest.raises(Unavailable):
        patch.setattr(growing, "stakes", dies)
        await restore(process, month)
    assert (await restore(process, month)).word == "month_not_archived", "its rows are all here"
    assert await proofs() == before
