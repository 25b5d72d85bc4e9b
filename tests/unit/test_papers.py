"""The papers: every relative link leads somewhere, and every decision is in the index."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from clock.books import postgres_check
from clock.game import keys
from clock.operators import redis_check
from clock.operators.watch.room import ROOMS

ROOT = Path(__file__).parents[2]
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md"])
DECISIONS = ROOT / "docs" / "decisions"

LINK = re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|\b(?:src|href)=\"([^\"]+)\"|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|(`+)(?!`).+?(?<!`)\1(?!`)", re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    """What is in code is shown, not linked."""
    return CODE.sub("", text)


def links_of(text: str) -> list[str]:
    return ["".join(found) for found in LINK.findall(without_code(text))]


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives headings: lower case, hyphens for spaces, no punctuation; repeated: numbered."""
    anchors: set[str] = set()
    fences = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in HEADING.findall(fences):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = 0
        while anchor in anchors:
            count += 1
            anchor = f"{name}-{count}"
        anchors.add(anchor)
    return anchors


def leads_somewhere(paper: Path, link: str) -> bool:
    path, _, anchor = unquote(link).partition("#")
    target = (paper.parent / path).resolve() if path else paper
    if not target.is_relative_to(ROOT) or not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors_of(target.read_text("utf-8")))


def broken_in(paper: Path, text: str) -> list[str]:
    links = [link for link in links_of(text) if not re.match(r"[a-z]+:", link)]
    return [link for link in links if not leads_somewhere(paper, link)]


def test_the_papers_are_found() -> None:
    names = {str(paper.relative_to(ROOT)) for paper in PAPERS}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/decisions/README.md"} <= names
    assert len(links_of((ROOT / "README.md").read_text("utf-8"))) > 10


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(paper: Path) -> None:
    assert broken_in(paper, paper.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "link",
    [
        "[a](docs/no-such-page.md)",
        "[a](README.md#no-such-heading)",
        "[a](#no-such-heading)",
        "[a](LICENSE#text)",
        "[a](../elsewhere.md)",
        '<img src="docs/no-such-picture.png">',
        "[a]: docs/no-such-page.md",
    ],
)
def test_a_link_that_leads_nowhere_is_seen(link: str) -> None:
    assert len(broken_in(ROOT / "README.md", f"text {link}\n" if link[3:4] == "(" else link)) == 1


@pytest.mark.parametrize("text", ["`[a](nowhere.md)`", "```\n[a](nowhere.md)\n```", "[a](https://example.org/nowhere)"])
def test_code_and_other_sites_are_left_alone(text: str) -> None:
    assert broken_in(ROOT / "README.md", text) == []


def test_every_decision_is_in_the_index_once_in_order() -> None:
    listed = re.findall(
        r"^\| \[(\d{4})\]\((\d{4}-[\w-]+\.md)\) \| \S", (DECISIONS / "README.md").read_text("utf-8"), re.M
    )
    assert [name for _, name in listed] == sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert all(name.startswith(number) for number, name in listed)


@pytest.mark.parametrize("path", sorted(DECISIONS.glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_a_decision_is_headed_by_its_number(path: Path) -> None:
    assert path.read_text("utf-8").startswith(f"# {path.name[:4]} ")


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        paper = waiting.pop()
        if paper in reached or paper.suffix != ".md":
            continue
        reached.add(paper)
        links = (
            link.partition("#")[0] for link in links_of(paper.read_text("utf-8")) if not re.match(r"[a-z]+:", link)
        )
        waiting += [target for link in links if (target := (paper.parent / link).resolve()).is_file()]
    assert [str(paper.relative_to(ROOT)) for paper in PAPERS if paper not in reached] == []


# --- what the papers list is what the code has


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def first_column(text: str) -> set[str]:
    """Words in code, in the first cells of tables."""
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_every_package_is_in_the_architecture() -> None:
    packages = {f"clock/{init.parent.name}/" for init in (ROOT / "clock").glob("*/__init__.py")}
    listed = {word for word in first_column(page("architecture.md")) if re.fullmatch(r"clock/\w+/", word)}
    assert listed == packages


def test_every_table_of_postgres_is_in_the_architecture() -> None:
    migrations = "\n".join(path.read_text("utf-8") for path in (ROOT / "sql" / "migrations").glob("*.sql"))
    tables = set(re.findall(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", migrations, re.MULTILINE))
    tables -= set(re.findall(r"^DROP TABLE (\w+)", migrations, re.MULTILINE))
    assert tables - first_column(page("architecture.md")) == set()


def test_every_key_of_redis_is_in_the_architecture() -> None:
    words = {f"…:{noun}" for noun in keys.NOUNS} | {f"…:users:{noun}" for noun in keys.USER_NOUNS}
    words |= {keys.HEARTBEAT, keys.REWRITTEN, keys.LIVE, keys.DEV_TIME}
    assert words - first_column(page("architecture.md")) == set()


def test_every_metric_and_every_alarm_has_a_row_for_operators() -> None:
    metrics = set(re.findall(r"\bclock_[a-z_]+", page("alerts.yml") + page("grafana.json")))
    operators = "\n".join(path.read_text("utf-8") for path in (ROOT / "clock" / "operators").rglob("*.py"))
    alarms = {*re.findall(r'"code": "(\w+)"', operators), *ROOMS}
    assert len(metrics) > 20 and len(alarms) > 10
    rows = first_column(page("operations.md"))
    missing = {name for name in metrics if not {name, re.sub("_(bucket|sum|count)$", "", name)} & rows}
    assert missing | (alarms - rows) == set()


def test_what_a_managed_server_must_offer_is_what_the_start_check_requires() -> None:
    [table] = re.findall(
        r"^## What a managed server must offer$(.+?)^## ", page("servers.md"), re.MULTILINE | re.DOTALL
    )
    for name, value in redis_check.DURABLE.items():
        assert f"`{name} {value}`" in table
    for kind, (major, minor) in redis_check.OLDEST.items():
        assert f"{kind} {major}.{minor}" in table
    assert "Redis {}.{} with `CLOCK_DURABILITY=replica`".format(*redis_check.WAITAOF["Redis"]) in table
    assert f"| version | {postgres_check.OLDEST // 10_000} |" in table
    statement = (ROOT / "sql" / "queries" / "operators.sql").read_text("utf-8")
    timeouts = re.findall(r"'(\w+_timeout)'", statement)
    assert timeouts and all(f"`{name}`" in table for name in timeouts)


FILE = re.compile(r"`((?:clock|tests|bench|examples|lua|sql|docs|requirements)/[\w/.-]+\.\w+)`")


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_is_named_exists(paper: Path) -> None:
    named = set(FILE.findall(paper.read_text("utf-8"))) - {
        "lua/nap.lua",
        "tests/lua/test_nap.py",
    }  # an example of a verb
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
