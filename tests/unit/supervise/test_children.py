"""Children are restarted, ended in order, and see the settings."""

import os
import signal
import socket
from pathlib import Path

import psycopg
import pytest
import redis.asyncio
from structlog.testing import capture_logs

from clock.config import Settings
from clock.runtime import crew, embedded
from clock.runtime.supervise import environment, running
from tests.unit.supervise.stage import FAIL, SLEEP, gone, pids, stand_ins, until


async def test_a_child_that_dies_is_restarted_ever_later_and_this_is_logged(settings: Settings) -> None:
    with capture_logs() as logs:
        async with running(settings, stand_ins(SLEEP, FAIL)):
            await until(lambda: len(pids(logs, "child-1")) == 3)
    exits = [log for log in logs if log["event"] == "child_exited"]
    assert [log["name"] for log in exits[:2]] == ["child-1", "child-1"]
    assert [log["exit_code"] for log in exits[:2]] == [3, 3]
    assert [log["restart_in_s"] for log in exits[:2]] == [0.2, 0.4]
    assert len(pids(logs, "child-0")) == 1


async def test_a_steady_child_is_restarted_without_delay_carried_over(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "STEADY_S", 0.0)
    with capture_logs() as logs:
        async with running(settings, stand_ins(FAIL)):
            await until(lambda: len(pids(logs)) == 3)
    assert {log["restart_in_s"] for log in logs if log["event"] == "child_exited"} == {0.2}


async def test_what_a_dead_child_leaves_of_its_group_is_ended(settings: Settings, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = (
        "import os, time\n"
        "pid = os.fork()\n"
        f"if pid: open({str(note)!r}, 'w').write(str(pid)); time.sleep(0.1); os._exit(1)\n"
        "time.sleep(60)"
    )
    with capture_logs() as logs:
        async with running(settings, stand_ins(script)):
            await until(lambda: any(log["event"] == "child_exited" for log in logs))
            await until(lambda: gone(int(note.read_text())))


async def test_what_children_write_is_for_nobody_else(settings: Settings, tmp_path: Path) -> None:
    """The sandbox provider keeps its books in the data directory, through which others may pass."""
    book = tmp_path / "book"
    async with running(settings, stand_ins(f"open({str(book)!r}, 'w').close()\n{SLEEP}")):
        await until(book.exists)
    assert book.stat().st_mode & 0o777 == 0o600


async def test_children_end_in_reverse_order(settings: Settings) -> None:
    with capture_logs() as logs:
        async with running(settings, stand_ins(SLEEP, SLEEP, SLEEP)):
            pass
    stopped = [(log["name"], log["exit_code"]) for log in logs if log["event"] == "child_stopped"]
    assert stopped == [
        ("child-2", -signal.SIGTERM),
        ("child-1", -signal.SIGTERM),
        ("child-0", -signal.SIGTERM),
    ]
    assert all(gone(pid) for pid in pids(logs))


def test_children_see_the_settings_and_nothing_that_was_overruled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOCK_QUEUE_URL", "redis://overruled")
    monkeypatch.setenv("CLOCK_STAKE_FEN", "7")
    monkeypatch.setenv("CLOCK_REDIS_URL_FILE", "/run/secrets/redis_url")
    monkeypatch.setenv("OTHER", "kept")
    env = environment(settings)
    assert env["CLOCK_REDIS_URL"] == "redis://127.0.0.1:1"
    assert env["CLOCK_STAKE_FEN"] == "100"
    assert env["CLOCK_DATA_DIR"] == str(settings.data_dir)
    assert env["OTHER"] == "kept"
    assert "CLOCK_QUEUE_URL" not in env
    assert "CLOCK_REDIS_URL_FILE" not in env, "a child would refuse both"


def bound(port: int) -> socket.socket | None:
    """Take the port, once it is free, before its server is back."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


async def test_embedded_servers_run_and_come_back_at_the_same_address(data_dir: Path) -> None:
    settings = Settings(env="dev", data_dir=data_dir, port=0)
    with capture_logs() as logs:
        async with running(settings, stand_ins(SLEEP)) as urls:
            async with await psycopg.AsyncConnection.connect(urls["database_url"]) as connection:
                await connection.execute("SELECT 1")
            async with redis.asyncio.Redis.from_url(urls["redis_url"]) as client:
                await client.set("word", "kept")
            os.kill(pids(logs, "valkey")[0], signal.SIGKILL)
            with await until(lambda: bound(embedded.Valkey(data_dir).port)):
                await until(lambda: len(pids(logs, "valkey")) == 2)
            await embedded.wait_ready(embedded.Valkey(data_dir), 5)
            async with redis.asyncio.Redis.from_url(urls["redis_url"]) as client:
                assert await client.get("word") == b"kept"
    ended = [(log["name"], log["exit_code"]) for log in logs if log["event"] == "child_stopped"]
    assert ended == [("child-0", -signal.SIGTERM), ("postgres", 0), ("valkey", 0)]


async def test_quiet_children_write_to_files(settings: Settings, data_dir: Path) -> None:
    async with running(settings, stand_ins("print('hush', flush=True)\n" + SLEEP), quiet=True):
        file = data_dir / "log" / "child-0.log"
        await until(lambda: file.exists() and file.read_text() == "hush\n")
