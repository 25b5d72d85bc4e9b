"""The named statements of ``sql/queries/``: each is used, and each that is used exists."""

import ast
import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from clock.books.entries import COLUMNS, insertion
from clock.books.store import queries

HOUSE = Path(__file__).parents[2] / "clock"
FILES = sorted(HOUSE.rglob("*.py"))

CALLS = {
    *(
        (f"{store}.{method}", 0)
        for store in ("store", "_store")
        for method in ("all", "one", "page", "stream", "pages")
    ),
    ("rows", 1),
    ("run_many", 1),
    ("run_chained", 1),
    ("one", 1),
    ("pages_in", 1),
}
"""How a statement is run, and the place of its name: ``store.all(name, …)``, ``rows(connection, name, …)``."""

STORE = "clock.books.store"


def statements_of(path: Path) -> Iterator[str]:
    """Names of statements that a file runs."""
    tree = ast.parse(path.read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == STORE]
    functions = {alias.name for node in imports for alias in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        for call, place in CALLS:
            if (called == call and call in functions) or ("." in call and f".{called}".endswith(f".{call}")):
                for part in ast.walk(node.args[place]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield part.value


def test_the_statements_of_a_file_are_found(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "from clock.books.store import rows\n"
        "self._store.all('a', day=1)\n"
        "rows(connection, 'b' if x else 'c', day='no')\n"
        "one('other', 'd')\n"
        "restore.all('e')\n"
    )
    assert sorted(statements_of(file)) == ["a", "b", "c"]


def test_every_statement_is_used() -> None:
    assert queries().keys() - {name for path in FILES for name in statements_of(path)} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_every_statement_that_is_used_exists(path: Path) -> None:
    assert set(statements_of(path)) - queries().keys() == set()


OF_A_SESSION = re.compile(
    r"pg_(try_)?advisory_(lock|unlock)|CREATE TEMP(?!(.|\n(?!\n))*ON COMMIT DROP)|WITH HOLD"
    r"|\bUNLISTEN\b|\bDEALLOCATE\b|[\"']SET (?!LOCAL)"
)


def test_no_statement_outlives_its_transaction() -> None:
    """Behind PgBouncer in transaction mode the next transaction has another server connection."""
    for path in (*FILES, *sorted((HOUSE.parent / "sql").rglob("*.sql"))):
        if path.parent.name != "dev":
            assert OF_A_SESSION.findall(path.read_text("utf-8")) == [], path


GENERATED = Path(__file__).parent / "statements.sql"


def test_the_generated_statements_are_those_that_were_reviewed() -> None:
    """``STATEMENTS=write pytest tests/unit/test_statements.py`` writes them anew: look at the difference."""
    day = date(2026, 11, 22)
    shown = [f"-- {table}\n{insertion(table, day, 3, True).as_string(None)}\n" for table in COLUMNS]
    text = "\n".join(shown).replace(", follows_", ",\n  follows_").replace(', "follows_', ',\n  "follows_')
    if os.environ.get("STATEMENTS") == "write":
        GENERATED.write_text(text, "utf-8")
    assert text == GENERATED.read_text("utf-8")
