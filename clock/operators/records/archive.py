"""A month leaves the database for files, or comes back.

Nothing leaves before all of it is on disk, was read back, and is what the tables have. Killed at any point, the rows
are in the database or the archive is whole; the same command goes on from there.
"""

import asyncio
import errno
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import structlog

from clock.books import months
from clock.books.migrations import migrations
from clock.books.months import NAMES, Month
from clock.books.partitions import PARTITIONED
from clock.books.store import Connection, Store, rows, unhurried
from clock.domain import progress
from clock.domain.outcomes import Answer
from clock.operators.acts import Act, By, perform
from clock.operators.records import files
from clock.operators.records.due import due_months, held_by, old_months
from clock.operators.records.files import Content, Damaged, Manifest, Reader, TableFile, Writer
from clock.proofs import growing
from clock.rounds import recorded
from clock.service import Service

log = structlog.get_logger()

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""There is no room for a file: on the disk, in a quota, under a limit."""


async def archive_due(service: Service, by: By) -> Answer:
    """Archive every month that is due, the oldest first, up to the first that is not."""
    taken: list[dict[str, Any]] = []
    for text in await due_months(service.store, service.settings):
        answer = await archive(service, by, Month.parse(text))
        if answer.word != "month_archived":
            return Answer(answer.word, {**answer.data, "archived": taken})
        taken.append(answer.data)
    return Answer("month_archived" if taken else "nothing_due", {"archived": taken})


async def archive(service: Service, by: By, month: Month) -> Answer:
    """Write a month's tables into files, prove them, and let the tables go. Repeatable: a month that has left answers
    as the first time. Raises :class:`~clock.domain.outcomes.Unavailable` and ``OSError``; then nothing has left."""

    async def work(_: int) -> Answer:
        with unhurried():
            return await _archive(service.store, service, by, month)

    return await perform(service, by, Act("archive", str(month)), work)


async def _archive(store: Store, service: Service, by: By, month: Month) -> Answer:
    folder = service.settings.archive_path / str(month)
    known = await store.one("get_archive", month=month.first)
    if known and known["left_ms"]:
        return Answer("month_archived", _shown(month, folder, known["manifest_sha256"]))
    kept = await store.all("kept_months")
    if month.first not in {row["month"] for row in kept}:
        return Answer("month_not_found", {"month": str(month)})
    if month not in await old_months(store, service.settings):
        keep = service.settings.keep_months
        return Answer("month_held", {"month": str(month), "holds": [], "keep_months": keep})
    held = await months.seal(store, month, by.who, lambda connection: held_by(connection, month))
    if held:
        return Answer("month_held", {"month": str(month), "holds": held, "keep_months": service.settings.keep_months})
    try:
        files.make_folder(folder)
        manifest = await _written(store, folder, month)
        manifest_sha256 = files.write_manifest(folder, manifest)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return Answer("disk_full", {"month": str(month), "folder": str(folder)})
    except Damaged as error:
        return Answer("archive_damaged", {"month": str(month), "why": str(error)})
    await months.leave(store, month, manifest_sha256)
    log.info("month_archived", month=str(month), folder=str(folder), manifest_sha256=manifest_sha256.hex())
    return Answer("month_archived", _shown(month, folder, manifest_sha256))


def _shown(month: Month, folder: Path, manifest_sha256: bytes) -> dict[str, Any]:
    return {"month": str(month), "folder": str(folder), "manifest_sha256": manifest_sha256.hex()}


async def _written(store: Store, folder: Path, month: Month) -> Manifest:
    """Every table's file is there and proved; the manifest of them. Raises :class:`Damaged` and ``OSError``."""
    contents = {}
    for number, table in enumerate(PARTITIONED):
        progress.at(f"tables of {month}", number, len(PARTITIONED))
        contents[table] = await _table(store, folder / f"{table}.csv.gz", table, month)
    progress.at(f"tables of {month}", len(PARTITIONED), len(PARTITIONED))
    async with store.transaction() as connection:
        await connection.execute("SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'")
        of = {"first": month.first, "last": month.last}
        rounds = [row["round"] for row in await rows(connection, "rounds_of_month", **of)]
        by_kind: dict[str, dict[str, dict[str, int | None]]] = defaultdict(dict)
        for row in await rows(connection, "archive_sums", **of):
            by_kind[row["table"]][row["kind"]] = {"count": row["count"], "fen": row["fen"]}
        tables = {
            table: TableFile(
                f"{table}.csv.gz",
                [column.name for column in await months.columns_of(connection, table)],
                content,
                by_kind[table],
            )
            for table, content in contents.items()
        }
    for table, file in tables.items():
        if (counted := sum(one["count"] or 0 for one in file.by_kind.values())) != file.content.rows:
            raise Damaged(f"{folder / file.file}: {file.content.rows} rows, where {table} has {counted}")
    left_out = {table: sorted(columns) for table, columns in NAMES.items()}
    return Manifest(str(month), [one.name for one in migrations()], left_out, tables, rounds)


async def _table(store: Store, path: Path, table: str, month: Month) -> Content:
    """The file of a table has its name and is what the table has: one that was written before is read, and left alone
    if it still is. Raises :class:`Damaged` and ``OSError``."""
    content = await _content_if_whole(path)
    if content and content.csv_sha256 == await _csv_sha256(store, table, month):
        return content
    with Writer(path) as writer:
        async for piece in _pieces(store, table, month):
            await asyncio.to_thread(writer.write, piece)
    content = await asyncio.to_thread(files.content_of, path)
    if content.csv_sha256 != writer.csv_sha256:
        raise Damaged(f"{path}: it does not read as it was written")
    return content


async def _content_if_whole(path: Path) -> Content | None:
    try:
        return await asyncio.to_thread(files.content_of, path)
    except (Damaged, FileNotFoundError):
        return None


async def _csv_sha256(store: Store, table: str, month: Month) -> str:
    text = hashlib.sha256()
    async for piece in _pieces(store, table, month):
        text.update(piece)
    return text.hexdigest()


async def _pieces(store: Store, table: str, month: Month) -> AsyncIterator[bytes]:
    """A table's month as CSV, in pieces that are worth a step."""
    waiting = bytearray()
    async for row in months.read(store, table, month):
        waiting += row
        if len(waiting) >= files.WRITE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


async def restore(service: Service, by: By, month: Month) -> Answer:
    """Take an archived month back into the database, after its files have been proved; one that has not left yet may
    change again. Sums that are kept are not counted twice. Raises :class:`~clock.domain.outcomes.Unavailable`."""

    async def work(_: int) -> Answer:
        with unhurried():
            return await _restore(service.store, service.settings.archive_path / str(month), month)

    return await perform(service, by, Act("restore", str(month)), work)


async def _restore(store: Store, folder: Path, month: Month) -> Answer:
    known = await store.one("get_archive", month=month.first)
    if known is None:
        await _regrow(store, month)  # whoever restored it may have died before
        return Answer("month_not_archived", {"month": str(month)})
    if known["left_ms"] is None:
        await months.unseal(store, month)
        return Answer("month_restored", {"month": str(month), "rows": {}})
    try:
        manifest = files.read_manifest(folder, known["manifest_sha256"])
        for table, file in manifest.tables.items():
            if await asyncio.to_thread(files.content_of, folder / file.file) != file.content:
                raise Damaged(f"{folder / file.file}: the file of {table} is not the one of the manifest")
        async with store.transaction() as connection:
            for number, (table, file) in enumerate(manifest.tables.items()):
                progress.at(f"restore {month}", number, len(manifest.tables))
                await _fill(connection, folder / file.file, table, file, month)
            await months.attach_all(connection, month, list(manifest.tables))
            await rows(connection, "unseal_month", month=month.first)
        await _regrow(store, month)
    except (Damaged, FileNotFoundError) as error:
        return Answer("archive_damaged", {"month": str(month), "why": str(error)})
    log.info("month_restored", month=str(month), folder=str(folder))
    counts = {table: file.content.rows for table, file in manifest.tables.items()}
    return Answer("month_restored", {"month": str(month), "rows": counts})


async def _regrow(store: Store, month: Month) -> None:
    """The trees of rounds whose rows are in the database and whose trees are not."""
    for day in month.days:
        round_ = await recorded.find(store, day)
        if round_ and await store.one("get_tree", day=day, kind="packet") is None:
            await growing.regrow(store, round_)


async def _fill(connection: Connection, path: Path, table: str, file: TableFile, month: Month) -> None:
    """The table beside its parent has what the file has, to the letter. Raises :class:`Damaged`."""
    there = {column.name for column in await months.columns_of(connection, table)}
    if gone := set(file.columns) - there:
        raise Damaged(f"{path}: this version's {table} has no {', '.join(sorted(gone))}")
    reader = Reader(path)
    await months.fill(connection, month, table, file.columns, reader)
    if reader.content != file.content:
        raise Damaged(f"{path}: it has changed while it was read")
