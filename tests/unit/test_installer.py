"""The installer installs once, for this checkout and this Python, and says what is missing."""

import importlib.util
import os
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


@pytest.fixture
def installer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_versions_of_python_are_said_the_same_everywhere(installer: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == f">={PYTHONS[0]}"
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    assert named == PYTHONS
    assert tuple(map(int, PYTHONS[0].split("."))) == installer.OLDEST
    assert tuple(map(int, PYTHONS[-1].split("."))) == installer.NEWEST
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in (ROOT / "README.md").read_text("utf-8")


@pytest.fixture
def place(installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with small files; installing only takes a moment and writes a line for each time."""
    (tmp_path / "requirements").mkdir()
    for path in ("pyproject.toml", "requirements/run.txt", "requirements/dev.txt"):
        (tmp_path / path).write_text(path)
    monkeypatch.setattr(installer, "CHECKOUT", tmp_path)

    def install(venv: Path, name: str) -> None:
        time.sleep(0.3)
        venv.mkdir(exist_ok=True)
        (venv / ".installed").write_text(installer.mark(name) + "\n")
        with (tmp_path / "installs").open("a") as file:
            file.write(f"{name}\n")

    monkeypatch.setattr(installer, "install", install)
    yield tmp_path


def installs(place: Path) -> list[str]:
    return (place / "installs").read_text().splitlines() if (place / "installs").exists() else []


def test_what_is_installed_is_installed_once_and_again_when_its_lock_changes(
    installer: ModuleType, place: Path
) -> None:
    venv = str(place / "venv")
    for _ in range(2):
        installer.main(venv, "run")
    assert installs(place) == ["run"]
    for name in ("dev", "run", "dev"):
        installer.main(venv, name)
    assert installs(place) == ["run", "dev"], "dev has all that run has"
    (place / "requirements/dev.txt").write_text("newer")
    installer.main(venv, "run")
    assert installs(place) == ["run", "dev", "run"]


def test_of_two_at_once_one_installs(installer: ModuleType, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several = [Thread(target=installer.main, args=(str(place / "venv"), "run")) for _ in range(3)]
    for one in several:
        one.start()
    for one in several:
        one.join(10)
    assert installs(place) == ["run"]
    assert capsys.readouterr().out.count("waiting for it") == 2


def test_a_checkout_that_was_moved_and_another_python_get_an_environment_of_their_own(
    installer: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = place / "venv"
    venv.mkdir()
    (venv / "bin").mkdir()
    (venv / "bin" / "python").write_text("#!/bin/sh\n")
    (venv / "bin" / "python").chmod(0o755)
    (venv / ".version").write_text(installer.identity())
    assert installer.usable(venv)
    monkeypatch.setattr(installer, "CHECKOUT", place / "elsewhere")
    assert not installer.usable(venv)
    monkeypatch.setattr(installer, "CHECKOUT", place)
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert not installer.usable(venv)


def test_a_python_that_is_too_old_is_told_so(installer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(installer.InstallError, match=r"Python 3\.11 or newer is needed"):
        installer.main("venv", "run")


def test_a_folder_that_cannot_be_written_is_told_so_with_a_way_out(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(installer.InstallError, match=r"cannot be written.*VENV=/path/venv CLOCK_DATA_DIR=/path/data"):
        installer.main(str(tmp_path / "venv"), "run")
