"""What an auditor takes home of a round: statements, the leaves of its trees, its transfers, and its lines of the
providers' bills, each stake beside its line. docs/fair.md lists the files.

Everything of Postgres is of one instant. Memory: a page, and 32 bytes for each tile of a tree. No mobile number, no
name and no openId is in it.
"""

import asyncio
import base64
import errno
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from clock.audit import billed
from clock.audit.bill import channels_of, read_bills
from clock.audit.report import MOST, Report
from clock.books.store import Connection, one, pages_in, rows, unhurried
from clock.domain import progress
from clock.domain.outcomes import Answer
from clock.domain.rounds import SETTLED_STATES, VOID_STATES
from clock.fair import notes
from clock.fair.statements import Tree, parse
from clock.fair.trees import Builder
from clock.operators.acts import Act, By, perform
from clock.operators.records.papers import Folder, Paper, folder, row
from clock.proofs import growing, statements
from clock.rounds.recorded import Recorded, recorded
from clock.service import Service

FORM = "clock.audit.v1"
PAGE = 5_000
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

KINDS = {"stake": ("closed", "stakes"), "checked_in": ("closed", "checked_in"), "packet": ("published", "packets")}
"""Of each kind of leaf: the statement that has its tree, and under which name."""


class Side(NamedTuple):
    """A table of the bill's two. ``word``: the column that says what its counterpart is; ``good``: words of those that
    have one; ``wrong``: words that contradict the books, and how that is said. All others are only listed."""

    name: str
    columns: tuple[str, ...]
    fen: str
    word: str
    good: tuple[str, ...]
    wrong: dict[str, str]


STAKES = Side(
    "stakes",
    ("shard", "uid", "order_no", "stake_fen", "channel", "transaction_id", "billed_fen", "found"),
    "stake_fen",
    "found",
    ("billed",),
    {
        "unpaid": "the books have no payment of it",
        "shared": "its payment is that of another stake",
        "amount": "the bill has another amount",
        "not_billed": "no bill has its payment",
    },
)

LINES_OF_BILLS = Side(
    "lines",
    ("channel", "kind", "no", "order_no", "amount_fen", "at_ms", "books"),
    "amount_fen",
    "books",
    ("stake", "moved"),
    {"none": "the books do not know it", "no_stake": "it was taken for a stake, and there is none"},
)

LEDGER = ("kind", "cause", "uid", "from_account", "to_account", "amount_fen", "at_ms")


class Contents(msgspec.Struct, kw_only=True):
    """The manifest. ``differences``: what contradicts something, in sentences; ``missing``: what could not be had."""

    audit: str = FORM
    round: str
    state: str
    at_ms: int
    """Postgres' clock at the instant that all of it is of."""
    trees: dict[str, dict[str, Any]] = {}
    ledger: dict[str, Any] = {}
    bill: dict[str, Any] = {}
    differences: list[str] = []
    missing: list[str] = []
    files: dict[str, Any] = {}


async def audit_bundle(service: Service, by: By, day: date, to: Path) -> Answer:
    """Write the folder ``to``, which must not be there. Raises :class:`~clock.domain.outcomes.Unavailable` and
    ``OSError``; then there is none."""

    async def work(_: int) -> Answer:
        try:
            with unhurried():
                return await _bundle(service, day, to)
        except OSError as error:
            if error.errno not in FULL:
                raise
            return Answer("disk_full", {"folder": str(to)})

    return await perform(service, by, Act("audit_bundle", str(day)), work)


async def _bundle(service: Service, day: date, to: Path) -> Answer:
    async with service.store.transaction() as connection:
        await connection.execute("SET LOCAL transaction_isolation = 'repeatable read'")
        await rows(connection, "compare_all")
        known = await rows(connection, "get_round", day=day)
        if not known:
            return Answer("round_not_found")
        if any(archive["left_at"] for archive in await rows(connection, "archive_of", day=day)):
            return Answer("archived")
        round_ = recorded(known[0])
        if round_.state not in SETTLED_STATES + VOID_STATES:  # before that, the seed is nobody's
            return Answer("not_settled")
        now = await one(connection, "clock_now")
        contents = Contents(round=str(day), state=round_.state, at_ms=now["ms"])
        with folder(to) as papers:
            said = await statements.written(connection, day)
            await _statements(connection, round_, said, papers, contents)
            if round_.salt_key is not None:
                await _trees(connection, round_, said, papers, contents)
            await _ledger(connection, day, papers, contents)
            await _bill(service, connection, round_, papers, contents)
            contents.files = msgspec.to_builtins(papers.files)
            sha256 = papers.end(msgspec.json.format(msgspec.json.encode(contents), indent=1) + b"\n")
    shown = msgspec.to_builtins(contents)
    del shown["audit"], shown["files"]
    word = "books_differ" if contents.differences else "ok"
    return Answer(word, {"folder": str(to), "manifest_sha256": sha256, **shown})


async def _statements(
    connection: Connection, round_: Recorded, said: statements.Written, papers: Folder, contents: Contents
) -> None:
    """Each as a note, and the public keys that have signed one of them."""
    signers = {(line.name, line.id) for note in said.notes.values() for line in notes.parts(note)[1]}
    known = [notes.verifier_of(found["verifier"]) for found in await rows(connection, "statement_keys")]
    for kind, note in said.notes.items():
        papers.write(f"{kind}.note", note)
    papers.write("keys.txt", "".join(f"{key}\n" for key in known if (key.name, key.id) in signers))
    void = round_.state in VOID_STATES
    due = ("opened", "void") if void else ("opened", "closed", "published")
    contents.missing += [f"statement {kind}" for kind in due if kind not in said.notes]
    if void and "closed" not in said.notes:
        contents.missing.append("statement closed: the round was called off before it")
    if round_.salt_key is None:
        contents.missing.append("leaves: the round is older than statements")


async def _trees(
    connection: Connection, round_: Recorded, said: statements.Written, papers: Folder, contents: Contents
) -> None:
    """The leaves in the order of their trees, a line each, and whether their root is the one that was signed."""
    given = {"day": round_.day, "shards": round_.rules.shards, "leaves": growing.LEAVES}
    readers: dict[str, tuple[AsyncGenerator[list[dict[str, Any]], None], Callable[[dict[str, Any]], list[str]]]] = {
        "stake": (
            pages_in(connection, "stake_leaves", growing.PAGE, **given),
            lambda found: growing.salted_leaves(round_, "stake", found)[0],
        ),
        "checked_in": (
            pages_in(connection, "checked_in_leaves", growing.PAGE, **given),
            lambda found: growing.salted_leaves(round_, "checked_in", found)[0],
        ),
        "packet": (
            pages_in(connection, "packet_pieces", growing.PIECES, day=round_.day, piece=growing.PIECE),
            lambda found: growing.packet_leaves(round_.day, found),
        ),
    }
    for kind, (statement, name) in KINDS.items():
        if kind == "packet" and round_.state in VOID_STATES:
            continue
        tree = Builder()
        pages, leaves_of = readers[kind]
        with papers.paper(f"{kind}.txt") as paper:
            async with aclosing(pages) as all_pages:
                async for page in all_pages:
                    for found in page:
                        await asyncio.to_thread(_put, paper, tree, leaves_of(found))
                    progress.at(f"leaves {kind}", tree.size)
        signed = said.texts.get(statement)
        root = _shown(Tree(tree.size, tree.root))
        contents.trees[kind] = {"leaves": root, "signed": signed and _shown(getattr(parse(signed), name))}
        if signed and contents.trees[kind]["signed"] != root:
            contents.differences.append(f"{kind}.txt: the books' leaves do not give the root in statement {statement}")


def _shown(tree: Tree) -> str:
    return f"{tree.size} {base64.b64encode(tree.root).decode()}"


def _put(paper: Paper, tree: Builder, leaves: list[str]) -> None:
    tree.extend(leaf.encode() for leaf in leaves)
    paper.write(line_of(leaf) for leaf in leaves)


def line_of(leaf: str) -> str:
    """Its values, separated by spaces: the first line of a leaf is known from the file."""
    return leaf.partition("\n")[2][:-1].replace("\n", " ") + "\n"


async def _ledger(connection: Connection, day: date, papers: Folder, contents: Contents) -> None:
    """Every transfer of the round; the digest is the file's."""
    count, fen = Counter[str](), Counter[str]()
    with papers.paper("ledger.tsv") as paper:
        async with aclosing(pages_in(connection, "bundle_ledger", PAGE, day=day)) as pages:
            async for page in pages:
                for found in page:
                    count[found["kind"]] += 1
                    fen[found["kind"]] += found["amount_fen"]
                await asyncio.to_thread(paper.write, [row(*(found[name] for name in LEDGER)) for found in page])
                progress.at("ledger", count.total())
    contents.ledger = {
        "sha256": papers.files["ledger.tsv"].sha256,
        "columns": LEDGER,
        "by_kind": {kind: {"count": count[kind], "fen": fen[kind]} for kind in count},
    }


async def _bill(service: Service, connection: Connection, round_: Recorded, papers: Folder, contents: Contents) -> None:
    """The round's lines of all bills, and each stake with what was found of it; what has no counterpart is in
    ``without_…`` again."""
    day, report = round_.day, Report(day=str(round_.day))
    await billed.begin(connection)
    channels = await channels_of(service, day, report)
    untils = await read_bills(service, connection, round_, channels, report)
    await rows(connection, "end_bill", day=day, channels=list(untils))
    await rows(connection, "measure_bill")
    contents.differences += [f"bill: {one.one}" for one in report.differences]
    if not channels:
        contents.missing.append("bill: no channel can be asked")
    contents.missing += [f"bill: {name} from {until} on" for name, until in untils.items() if until != date.max]
    given = {"day": day, "shards": round_.rules.shards, "zone": service.settings.timezone}
    given |= {"channels": list(untils), "untils": list(untils.values())}
    stakes = await _matched(papers, STAKES, pages_in(connection, "bundle_stakes", PAGE, **given), contents)
    lines = await _matched(papers, LINES_OF_BILLS, pages_in(connection, "bundle_lines", PAGE, day=day), contents)
    contents.bill = {
        "whole_until": {name: None if until == date.max else str(until) for name, until in untils.items()},
        "stakes": stakes,
        "lines": lines,
    }
    if waiting := stakes["by_found"].get("no_bill"):
        contents.missing.append(f"bill: that of {waiting['count']} stakes")


async def _matched(
    papers: Folder, side: Side, pages: AsyncGenerator[list[dict[str, Any]], None], contents: Contents
) -> dict[str, Any]:
    """Write all rows, and those again that have no counterpart. Of those that are wrong the first :data:`MOST` are
    differences."""
    count, fen, named = Counter[str](), Counter[str](), 0
    with papers.paper(f"{side.name}.tsv") as every, papers.paper(f"{side.name}_without.tsv") as without:
        async with aclosing(pages) as all_pages:
            async for page in all_pages:
                for found in page:
                    count[found[side.word]] += 1
                    fen[found[side.word]] += found[side.fen]
                loose = [found for found in page if found[side.word] not in side.good]
                for paper, some in ((every, page), (without, loose)):
                    lines = [row(*(found[column] for column in side.columns)) for found in some]
                    await asyncio.to_thread(paper.write, lines)
                wrong = [found for found in loose if found[side.word] in side.wrong][: MOST - named]
                contents.differences += [f"{_named(found)}: {side.wrong[found[side.word]]}" for found in wrong]
                named += len(wrong)
                progress.at(f"bill {side.name}", count.total())
    by_word = {word: {"count": count[word], "fen": fen[word]} for word in sorted(count)}
    return {"columns": side.columns, f"by_{side.word}": by_word}


def _named(found: dict[str, Any]) -> str:
    return f"user {found['uid']}, order {found['order_no']}" if "uid" in found else f"{found['channel']} {found['no']}"
