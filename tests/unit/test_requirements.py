"""The lock files hold what pyproject.toml asks for, with hashes, and agree."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

DIRECT = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
ASKED = {
    "build": PROJECT["dependency-groups"]["build"],
    "prod": DIRECT,
    "run": [*DIRECT, *EXTRAS["embedded"], *PROJECT["dependency-groups"]["build"]],
    "dev": [*DIRECT, *EXTRAS["embedded"], *EXTRAS["dev"], *PROJECT["dependency-groups"]["build"]],
}


def locked(name: str) -> dict[str, tuple[Requirement, int]]:
    """By package: the line, and its number of hashes."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    found: dict[str, tuple[Requirement, int]] = {}
    for entry in re.split(r"^(?=[a-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE):
        if entry.strip():
            line, *hashes = entry.replace("\\\n", "\n").split("\n    --hash=")
            requirement = Requirement(line)
            found[canonicalize_name(requirement.name)] = (requirement, len(hashes))
    return found


@pytest.mark.parametrize("name", ASKED)
def test_a_lock_file_answers_every_requirement_of_the_project(name: str) -> None:
    lock = locked(name)
    for text in ASKED[name]:
        asked = Requirement(text)
        (pin,) = lock[canonicalize_name(asked.name)][0].specifier
        assert pin.operator == "=="
        assert pin.version in asked.specifier, f"{pin} for {text}: make lock"


@pytest.mark.parametrize("name", ASKED)
def test_every_line_has_hashes_and_names_no_place(name: str) -> None:
    assert all(hashes for _, hashes in locked(name).values())
    assert "://" not in (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")


def test_each_set_holds_those_before_it_in_the_same_versions() -> None:
    build, prod, run, dev = (
        {package: str(line) for package, (line, _) in locked(name).items()} for name in ("build", "prod", "run", "dev")
    )
    assert build.items() | prod.items() <= run.items() <= dev.items()


def test_the_image_has_no_embedded_servers_and_the_environment_of_make_run_no_tools() -> None:
    embedded = {canonicalize_name(Requirement(text).name) for text in EXTRAS["embedded"]}
    assert not embedded & locked("prod").keys()
    assert not {"pytest", "mypy", "ruff", "playwright"} & locked("run").keys()
