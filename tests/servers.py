"""Servers beyond those of the wheels: with configuration of their own, or other builds where they are installed.

The wheels' Valkey and Postgres have no TLS, and show what one version does. A Redis and a Postgres that the system has
(Debian: ``redis-server``, ``postgresql``) are used where they are found; a run says where they are not.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from msgspec import structs

from clock.runtime import embedded
from clock.runtime.postgres_install import plain_env, run
from clock.runtime.processes import Program

REDIS = shutil.which("redis-server")
"""The system's Redis."""

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
"""The folder of the system's newest Postgres."""

MISSING = [
    name
    for name, found in (("Redis (Debian: apt install redis-server)", REDIS), ("Postgres (postgresql)", POSTGRES))
    if not found
]

needs_redis = pytest.mark.skipif(REDIS is None, reason="the system has no redis-server")
needs_postgres = pytest.mark.skipif(POSTGRES is None, reason="the system has no Postgres")


UNSHARE = ["unshare", "--mount", "sh", "-ec"]
"""A shell in file systems of its own, which end with it."""


def _may_mount() -> bool:
    attempt = [*UNSHARE, "mount -t tmpfs none /mnt"]
    return os.geteuid() == 0 and subprocess.run(attempt, capture_output=True).returncode == 0


MAY_MOUNT = _may_mount()

needs_mounts = pytest.mark.skipif(not MAY_MOUNT, reason="only root may mount, and not in every container")


class Configured(embedded.Valkey, frozen=True):
    """Valkey, or ``command``, with more lines of configuration, and more arguments."""

    lines: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    command: str = ""

    def prepare(self, *, same_port: bool = False) -> None:
        super().prepare(same_port=same_port)
        with (self.data_dir.absolute() / "valkey.conf").open("a") as configuration:
            configuration.write("\n".join((*self.lines, "")))

    @property
    def program(self) -> Program:
        ours = super().program
        path, *rest = ours.command
        return structs.replace(ours, command=[self.command or path, *rest, *self.arguments])


class Standby(embedded.Postgres, frozen=True):
    """A cluster that waits for a primary which never comes."""

    def prepare(self, *, same_port: bool = False) -> None:
        super().prepare(same_port=same_port)
        (self.data / "standby.signal").touch()


class Forgetful(embedded.Postgres, frozen=True):
    """Never waits for the disk."""

    @property
    def program(self) -> Program:
        ours = super().program
        return structs.replace(ours, command=[*ours.command, "-c", "fsync=off"])


class SystemPostgres(embedded.Postgres, frozen=True):
    """The system's Postgres, with settings of its own. Files that it must read belong to its account."""

    settings: tuple[str, ...] = ()
    """``name=value``."""

    @property
    def program(self) -> Program:
        command = [f"{POSTGRES}/postgres", "-D", str(self.data)]
        for setting in (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", *self.settings):
            command += ["-c", setting]
        return Program(
            command=command,
            env=plain_env(),
            log=self.log_path,
            account=self.account,
            cwd="/",
            stop_signal=signal.SIGINT,
        )

    def _initdb(self, fresh: Path) -> None:
        secret = fresh.with_name("postgres.secret")
        secret.write_text(self.password)
        self.give(secret)
        options = ["--username=clock", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        run([f"{POSTGRES}/initdb", *options, "-D", str(fresh)], self.account)
        single = [f"{POSTGRES}/postgres", "--single", "-D", str(fresh), "postgres"]
        run(single, self.account, "CREATE DATABASE clock;\n")

    def give(self, path: Path) -> None:
        """To the account that the server runs as; nobody else may read it."""
        path.chmod(0o600)
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)
