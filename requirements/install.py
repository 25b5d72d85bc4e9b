"""Bring a virtual environment to exactly what a lock file says: ``python3 requirements/install.py VENV run|dev``.

Runs on the Python that the environment shall have, before anything is installed: standard library only, and no syntax
that an old Python cannot even read. Does nothing when the environment is up to date. Several may run at once: one
installs, the others wait. A checkout that was moved, or another version of Python, gets a new environment, because an
environment has both in its files.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 14)
"""Versions of Python that are tested; a newer one is tried, and may lack wheels."""
SETS = ("run", "dev")
"""What can be installed; each contains those before it."""
WAIT_S = 900.0

CHECKOUT = Path(__file__).resolve().parent.parent


class InstallError(Exception):
    """It cannot be installed; the message says why and what to do."""


def main(place: str, name: str) -> None:
    if sys.version_info < OLDEST:
        raise InstallError(
            "Python {}.{} or newer is needed; {} is {}. Name another one: make PYTHON=/path/to/python3 ...".format(
                *OLDEST, sys.executable, sys.version.split()[0]
            )
        )
    venv = Path.cwd() / place  # not resolved: it may be a link to another disk
    if installed(venv, name):
        return
    lock = lock_folder(venv)
    try:
        if not installed(venv, name):  # nobody else was first
            install(venv, name)
    finally:
        os.close(lock)


def installed(venv: Path, name: str) -> bool:
    try:
        marks = (venv / ".installed").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return any(mark(one) in marks for one in SETS[SETS.index(name) :])


def mark(name: str) -> str:
    """What is written into an environment that has the set: a digest of all that decides what is in it."""
    digest = hashlib.sha256(repr((sys.version_info[:2], str(CHECKOUT))).encode())
    for path in ("pyproject.toml", "requirements/" + name + ".txt"):
        digest.update((CHECKOUT / path).read_bytes())
    return f"{name} {digest.hexdigest()}"


def lock_folder(venv: Path) -> int:
    """Lock the folder that holds the environment; closing the descriptor unlocks it."""
    folder = venv.parent
    if not os.access(str(folder), os.W_OK):
        raise InstallError(
            f"{folder} cannot be written. Name other places: make run VENV=/path/venv CLOCK_DATA_DIR=/path/data"
        )
    descriptor = os.open(str(folder), os.O_RDONLY)
    deadline = time.monotonic() + WAIT_S
    said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InstallError(f"another process has been installing {venv} for too long") from None
            if not said:
                print(f"Another process installs {venv}; waiting for it.", flush=True)
                said = True
            time.sleep(0.2)


def install(venv: Path, name: str) -> None:
    began = time.monotonic()
    print(f"Installing requirements/{name}.txt into {venv} ...", flush=True)
    if not usable(venv):
        make(venv)
    if (venv / ".installed").exists():
        (venv / ".installed").unlink()
    pip(venv, "--require-hashes", "--only-binary", ":all:", "-r", str(CHECKOUT / "requirements" / (name + ".txt")))
    pip(venv, "--no-deps", "--no-build-isolation", "--editable", str(CHECKOUT))
    (venv / ".version").write_text(identity())
    (venv / ".installed").write_text(mark(name) + "\n")
    print(f"Installed in {time.monotonic() - began:.0f} s.", flush=True)


def identity() -> str:
    return "{}.{} {}".format(*sys.version_info[:2], CHECKOUT)


def usable(venv: Path) -> bool:
    """Whether the environment was made for this checkout and this Python, and runs."""
    try:
        if (venv / ".version").read_text() != identity():
            return False
        return subprocess.call([str(venv / "bin" / "python"), "-c", "import pip"], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def make(venv: Path) -> None:
    try:
        import ensurepip  # noqa: F401 - Debian has it in a package of its own
    except ImportError:
        raise InstallError(
            "{} has no venv module. Debian, Ubuntu: apt install python{}.{}-venv".format(
                sys.executable, *sys.version_info[:2]
            )
        ) from None
    python = os.path.realpath(sys.executable)  # we may run on the environment that is about to be replaced
    if subprocess.call([python, "-m", "venv", "--clear", str(venv)]):
        raise InstallError(f"{python} could not make {venv}; see above")
    (venv / ".version").write_text(identity())


def pip(venv: Path, *arguments: str) -> None:
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.call(command + list(arguments)):
        raise InstallError(
            "pip failed; see above. Where it finds no matching distribution, there is no wheel for this system or "
            "Python (this is {}.{}; 3.11 to {}.{} have them): see README.md, Two commands".format(
                *sys.version_info[:2], *NEWEST
            )
        )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (InstallError, OSError) as error:
        print(f"make: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
