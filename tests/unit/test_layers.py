"""The shape of the house: imports point downwards, files hold one idea, functions fit on a screen."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2] / "clock"
FILES = sorted(HOUSE.rglob("*.py"))

FOUNDATION = {
    "files": set[str](),
    "domain.rounds": set[str](),
    "domain.shapes": set[str](),
    "config": {"domain.rounds"},
    "game.events": set[str](),
    "game.keys": set[str](),
    "domain.split": set[str](),
    "domain.outcomes": set[str](),
    "http.wire": {"domain.shapes"},
    "domain.order_no": {"domain.rounds"},
    "game.pipe": set[str](),
    "game.scripts": {"files", "game.events", "game.keys"},
    "game.client": {"game.keys", "game.pipe", "game.scripts"},
    "game.records": set[str](),
    "game.batch": {"domain.outcomes", "domain.rounds", "game.scripts"},
}
"""The files that everything stands on, and what of the house each may import."""

DOORS = {"http.app", "runtime.worker", "cli"}
"""They open connections; nobody imports them, but ``python -m clock`` the commands."""

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts)


def imports_of(path: Path) -> set[str]:
    """Modules of the house that a file imports, anywhere in it: ``config``, ``channels.platform``, …"""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = ("clock." if node.level else "") + (node.module or "")
            packages = {"clock", *(f"clock.{place.parent.name}" for place in HOUSE.glob("*/__init__.py"))}
            names = [f"{module}.{alias.name}" for alias in node.names] if module in packages else [module]
        else:
            continue
        found |= {name.removeprefix("clock.") for name in names if name.startswith("clock.")}
    return found


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_the_files_of_the_house_are_found() -> None:
    assert set(FOUNDATION) | DOORS | {"game.verbs", "http.lane", "http.routes", "books.store"} <= {
        name_of(path) for path in FILES
    }
    assert imports_of(HOUSE / "game" / "asking.py") >= {"game.batch", "game.client", "game.keys", "domain.outcomes"}


@pytest.mark.parametrize("name", FOUNDATION)
def test_the_foundation_knows_nothing_above_it(name: str) -> None:
    assert imports_of(HOUSE / f"{name.replace('.', '/')}.py") <= FOUNDATION[name]


def test_hot_verbs_never_touch_the_database() -> None:
    for name in (
        "http.lane",
        "http.routes",
        "game.asking",
        "game.verbs",
        "game.home",
        "game.batch",
        "game.client",
        "payments.incoming",
    ):
        assert "books.store" not in imports_of(HOUSE / f"{name.replace('.', '/')}.py"), name
        assert "psycopg_pool" not in (HOUSE / f"{name.replace('.', '/')}.py").read_text("utf-8")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nobody_imports_what_opens_connections(path: Path) -> None:
    if name_of(path) == "__main__":
        assert imports_of(path) == {"cli"}
        return
    found = imports_of(path) & DOORS
    assert not found or name_of(path) == "cli", f"{name_of(path)} imports {found}"


def test_imports_go_round_in_no_circle() -> None:
    graph = {name_of(path): imports_of(path) for path in FILES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way, name))
        if name in done or name not in graph:
            return
        for imported in graph[name]:
            visit(imported, (*way, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_holds_one_idea(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < MAX_FILE_LINES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    assert [(name, lines) for name, lines in functions_of(path) if lines >= MAX_FUNCTION_LINES] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_exception_is_swallowed_unnamed(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"line {node.lineno}"


def test_a_file_is_called_after_its_idea() -> None:
    forwarders = ("manager", "helper", "util", "base", "impl", "common", "misc")
    assert not [name_of(path) for path in FILES if any(word in path.stem for word in forwarders)]
