"""The built wheel carries its scripts and its SQL: it works from anywhere, without the checkout."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LOADED_FROM_THE_PACKAGE = """
import pathlib, sys
import clock
from clock.files import folder
from clock.game import scripts

package = pathlib.Path(clock.__file__).parent
assert package.is_relative_to(sys.argv[1]), package
assert folder("lua") == package / "lua", folder("lua")
assert folder("sql") == package / "sql", folder("sql")
assert folder("docs") == package / "docs", folder("docs")
assert not [path for path in sys.path if pathlib.Path(path) == pathlib.Path(sys.argv[2])], sys.path
print(*sorted(path.stem for path in (package / "lua").iterdir()))
for path in (package / "lua").iterdir():
    if path.stem != "prelude":
        assert scripts.load(path.stem).verb == path.stem
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(ROOT)], check=True
    )
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel alone is installed."""
    place = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--target", str(place), str(wheel)], check=True)
    return place


def run(site: Path, elsewhere: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the installed wheel and its dependencies, without the checkout (-S: no editable install)."""
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=elsewhere,
        env={"PYTHONPATH": ":".join([str(site), *libraries]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_wheel_has_every_script_every_statement_and_nothing_of_the_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("lua", "sql"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file():
                assert f"clock/{path.relative_to(ROOT)}" in names
    assert "clock/docs/operations.md" in names
    for path in (ROOT / "clock").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"clock"}


def test_scripts_and_statements_are_loaded_from_inside_the_package(site: Path, tmp_path: Path) -> None:
    done = run(site, tmp_path, "-c", LOADED_FROM_THE_PACKAGE, str(site), str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "check_in" in done.stdout.split()


def test_the_installed_command_works_from_another_directory(site: Path, tmp_path: Path) -> None:
    done = run(site, tmp_path, "-m", "clock", "--help")
    assert done.returncode == 0, done.stderr
    assert "migrate" in done.stdout
    done = run(site, tmp_path, "-m", "clock", "--version")
    assert done.stdout == "clock, version 0.1.0\n"
