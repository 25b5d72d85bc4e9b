"""Wherever archiving is stopped, a month is in the database or its archive is whole, and the same command goes on."""

import asyncio
import gzip
import resource
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg.errors import RestrictViolation

from clock.books import months
from clock.books.partitions import PARTITIONED
from clock.domain.outcomes import Unavailable
from clock.operators.records import files
from clock.runtime.supervise import environment
from clock.service import Service
from tests.flow.archive.stage import contents, locked, nameless, played, restore, run, take


@asynccontextmanager
async def archiving(service: Service, month: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``python -m clock archive``, which is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clock", "archive", month),
        env=environment(service.settings),
        cwd=Path(__file__).parents[3],
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def until(what: Any) -> None:
    async with asyncio.timeout(60):
        while not what():
            await asyncio.sleep(0.01)


async def test_a_process_that_is_killed_before_the_tables_go_loses_nothing(process: Service) -> None:
    month = await played(process, "2022-02")
    before, folder = await contents(process, month), process.settings.archive_path / "2022-02"
    async with locked(process, "SELECT FROM outgoing"), archiving(process, "2022-02"):  # who reads keeps the tables
        await until((folder / files.MANIFEST).exists)
        await asyncio.sleep(0.2)
    assert await contents(process, month) == before
    written = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.gz")}
    assert len(written) == len(PARTITIONED)
    answer = await take(process, month)
    assert answer.word == "month_archived"
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.gz")} == written, "written again"
    await restore(process, month)
    assert await contents(process, month) == nameless(before)


class Killed(Exception):
    """The process ends here."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, after: int) -> Iterator[None]:
    """The step fails when it is taken for the time after ``after``."""
    taken = 0
    real = getattr(where, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken > after:
            raise Killed
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, dying)
        with pytest.raises(Killed):
            yield


async def test_a_step_that_ends_anywhere_is_taken_again(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    month = await played(process, "2022-03", users=3)
    before = await contents(process, month)
    for where, name, after in (
        (files.Writer, "_flush", 0),  # in the first file
        (files.Writer, "_flush", 4),  # in a later one
        (files, "content_of", 9),  # reading back: the files of before are read first
        (files, "write_manifest", 0),
    ):
        with killed_at(monkeypatch, where, name, after):
            await take(process, month)
        assert await contents(process, month) == before
        with pytest.raises(RestrictViolation):  # what was copied stays what it was
            await run(process, "UPDATE outgoing SET reason = 'late' WHERE day = '2022-03-04'")
    folder = process.settings.archive_path / "2022-03"
    assert not list(folder.glob("*.part"))
    assert (await take(process, month)).word == "month_archived"
    with killed_at(monkeypatch, months, "attach", 5):
        await restore(process, month)
    assert not any((await contents(process, month)).values())
    assert (await restore(process, month)).word == "month_restored"
    assert await contents(process, month) == nameless(before)


async def test_a_full_disk_is_said_and_nothing_leaves(process: Service) -> None:
    month = await played(process, "2022-04", users=3)
    before = await contents(process, month)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
    try:
        answer = await take(process, month)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (answer.word, answer.data["month"]) == ("disk_full", "2022-04")
    assert await contents(process, month) == before
    assert not list((process.settings.archive_path / "2022-04").glob("*.part"))
    assert (await take(process, month)).word == "month_archived"


async def test_a_file_that_is_damaged_is_noticed(process: Service) -> None:
    month = await played(process, "2022-05", users=3)
    before, folder = await contents(process, month), process.settings.archive_path / "2022-05"
    folder.mkdir(parents=True)
    (folder / "orders.csv.gz").write_bytes(b"what a killed process left")
    assert (await take(process, month)).word == "month_archived"
    claims = folder / "claims.csv.gz"
    good = claims.read_bytes()
    for wrong in (good[:-9], good[:30] + b"?" + good[31:], gzip.compress(b"no CSV of ours\n"), None):
        claims.unlink() if wrong is None else claims.write_bytes(wrong)
        answer = await restore(process, month)
        assert (answer.word, "claims" in answer.data["why"]) == ("archive_damaged", True)
        assert not any((await contents(process, month)).values())
    claims.write_bytes(good)
    manifest = (folder / files.MANIFEST).read_bytes()
    (folder / files.MANIFEST).write_bytes(manifest.replace(b"paid", b"laid"))
    assert (await restore(process, month)).word == "archive_damaged"
    (folder / files.MANIFEST).write_bytes(manifest)
    assert (await restore(process, month)).word == "month_restored"
    assert await contents(process, month) == nameless(before)


async def test_a_sealed_month_can_be_let_off(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    month = await played(process, "2022-06", users=3)
    assert (await restore(process, month)).word == "month_not_archived"
    with killed_at(monkeypatch, files, "write_manifest", 0):
        await take(process, month)
    assert (await restore(process, month)).word == "month_restored"
    await run(process, "UPDATE outgoing SET reason = 'late' WHERE day = '2022-06-04'")
    assert (await take(process, month)).word == "month_archived"


async def test_others_read_and_write_meanwhile(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody in the middle of a transaction on the month holds the archiving up, and nobody else for longer than the
    archiving waits for its locks."""
    month, other = await played(process, "2022-07", users=3), await played(process, "2022-08", users=3)
    waited = []

    async def busy() -> None:
        while True:
            began = asyncio.get_running_loop().time()
            await run(process, "UPDATE outgoing SET reason = 'x' WHERE day = '2022-08-04' AND uid = 3")
            await run(process, "SELECT count(*) FROM transfers WHERE uid = 1")
            waited.append(asyncio.get_running_loop().time() - began)

    monkeypatch.setattr(months, "LOCK_TRIES", 3)
    monkeypatch.setattr(months, "LOCK_PAUSE_SECONDS", 0.05)
    work = asyncio.create_task(busy())
    async with locked(process, "SELECT FROM outgoing WHERE day = '2022-07-04'"):
        with pytest.raises(Unavailable):
            await take(process, month)
    assert (await take(process, month)).word == "month_archived"
    work.cancel()
    assert len(waited) > 3
    assert max(waited) < 3, "the lock of a moment"
    assert (await take(process, other)).word == "month_archived"
