"""What an auditor takes home, of the service's own rounds and the provider's bill: it agrees, or says what does not."""

import base64
import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from clock import verifier
from clock.channels import NoBill, NotYet
from clock.domain.outcomes import Answer
from clock.operators.acts import By, listed
from clock.operators.records import papers
from clock.operators.records.bundle import audit_bundle
from tests.conftest import DAY
from tests.flow.operators.stage import clock
from tests.flow.reconcile.channels import Stage
from tests.flow.reconcile.stage import Ended
from tests.flow.stage import NEXT_DAY, People, bill

ANNA = By("anna", "127.0.0.1")
LEAVES = {"stake": ("closed", "stakes"), "checked_in": ("closed", "checked_in"), "packet": ("published", "packets")}


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


async def made(people: People, to: Path) -> Answer:
    return await audit_bundle(people.service, ANNA, DAY, to)


def lines(to: Path, name: str) -> list[list[str]]:
    return [line.split("\t") for line in (to / name).read_text("utf-8").splitlines()]


def root(to: Path, kind: str) -> str:
    """The size and the root of a file of leaves, by the page's words alone."""
    leaves = [line.replace(" ", "\n") for line in (to / f"{kind}.txt").read_text("utf-8").splitlines()]
    level = [hashlib.sha256(f"\0clock/leaf/v1 {kind}\n{leaf}\n".encode()).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(level) & ~1 :]
    return f"{len(leaves)} {base64.b64encode(level[0]).decode()}"


async def test_the_bundle_of_a_clean_round_agrees(ended: Ended, to: Path) -> None:
    answer = await made(ended.people, to)
    assert (answer.word, answer.data["differences"], answer.data["missing"]) == ("ok", [], [])
    manifest = json.loads((to / "MANIFEST.json").read_bytes())
    assert hashlib.sha256((to / "MANIFEST.json").read_bytes()).hexdigest() == answer.data["manifest_sha256"]
    assert {path.name for path in to.iterdir()} == {*manifest["files"], "MANIFEST.json"}
    assert {path.stat().st_mode & 0o777 for path in to.iterdir()} == {0o600} and to.stat().st_mode & 0o777 == 0o700
    for name, said in manifest["files"].items():
        raw = (to / name).read_bytes()
        assert (hashlib.sha256(raw).hexdigest(), len(raw), raw.count(b"\n")) == tuple(
            said[key] for key in ("sha256", "bytes", "lines")
        )
    for kind, (statement, name) in LEAVES.items():
        assert f"\n{name}: {root(to, kind)}\n" in (to / f"{statement}.note").read_text("utf-8"), kind
    transfers = await ended.people.transfers()
    assert sorted(line[:2] for line in lines(to, "ledger.tsv")) == [[one["kind"], one["cause"]] for one in transfers]
    assert manifest["ledger"]["by_kind"]["stake"] == {"count": 7, "fen": 700}
    assert manifest["bill"]["stakes"]["by_found"] == {"billed": {"count": 7, "fen": 700}}
    by_books = {word: one["count"] for word, one in manifest["bill"]["lines"]["by_books"].items()}
    assert by_books == {"stake": 7, "refund_second": 1, "moved": 5}
    assert [line[2] for line in lines(to, "lines_without.tsv")] == ["T-second"]
    whole = b"".join(path.read_bytes() for path in to.iterdir()).decode()
    assert ended.order(1) in whole
    assert not [word for word in ("13800000001", "用户", "open-1") if word in whole]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ((1, None, "a b", "用户"), "1\t\ta b\t用户\n"),
        (("a\tb", "c"), "a\\tb\tc\n"),
        (("a\nb\r", "\\t"), "a\\nb\\r\t\\\\t\n"),
    ],
)
def test_what_would_end_a_value_or_a_line_is_escaped(values: tuple[object, ...], line: str) -> None:
    assert papers.row(*values) == line


async def test_a_winner_who_never_paid_is_named(ended: Ended, to: Path) -> None:
    db = ended.channel.provider.books.db
    db.execute("DELETE FROM payments WHERE order_no = ?", (ended.order(2),))
    answer = await made(ended.people, to)
    assert answer.word == "books_differ"
    assert answer.data["differences"] == [f"user 2, order {ended.order(2)}: no bill has its payment"]
    [line] = lines(to, "stakes_without.tsv")
    assert line[1:4] + line[6:] == ["2", ended.order(2), "100", "", "not_billed"]
    await ended.people.tamper("DELETE FROM payments WHERE order_no = %s", ended.order(2))
    answer = await made(ended.people, to.with_name("again"))
    assert answer.data["differences"] == [f"user 2, order {ended.order(2)}: the books have no payment of it"]


async def test_a_stake_that_names_another_ones_payment_is_named(ended: Ended, to: Path) -> None:
    await ended.people.tamper("UPDATE orders SET order_no = %s WHERE uid = 5", ended.order(2))
    answer = await made(ended.people, to)
    assert answer.data["differences"] == [
        "stake.txt: the books' leaves do not give the root in statement closed",
        f"user 5, order {ended.order(2)}: its payment is that of another stake",
        f"platform S{ended.order(5)}0: it was taken for a stake, and there is none",
    ]


async def test_another_amount_and_a_payment_that_nobody_knows_are_named(ended: Ended, to: Path) -> None:
    ended.channel.provider.books.db.execute(
        "UPDATE payments SET amount = 99 WHERE transaction_id = ?", (f"S{ended.order(3)}0",)
    )
    bill(ended.channel, ended.order(8), "T8", 8)
    answer = await made(ended.people, to)
    assert answer.data["differences"] == [
        f"user 3, order {ended.order(3)}: the bill has another amount",
        "platform T8: the books do not know it",
    ]
    assert answer.data["bill"]["stakes"]["by_found"]["amount"] == {"count": 1, "fen": 100}
    assert {line[2] for line in lines(to, "lines_without.tsv")} == {"T8", "T-second"}


async def test_the_verifier_says_whether_leaves_give_the_roots(
    ended: Ended, to: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await made(ended.people, to)
    proof = {kind: (to / f"{kind}.note").read_text("utf-8") for kind in ("opened", "closed", "published")}
    data = {"round": str(DAY), "keys": (to / "keys.txt").read_text("utf-8").split(), "missing": []}
    answers = {
        f"/api/rounds/{DAY}/proof": {"status": 1, "code": "ok", "data": data | {"statements": proof | {"void": None}}}
    }
    saved = to.with_name("saved.json")
    saved.write_text(json.dumps({"bundle": verifier.BUNDLE, "answers": answers}))

    def found() -> list[tuple[str, str]]:
        verifier.main([str(DAY), "--from", str(saved), "--json", "--bundle", str(to)])
        said = json.loads(capsys.readouterr().out)["findings"]
        return [(one["result"], Path(one["says"].split(":")[0]).name) for one in said if one["check"] == "leaves"]

    assert found() == [("yes", f"{kind}.txt") for kind in LEAVES]
    stakes = (to / "stake.txt").read_text("utf-8").splitlines(keepends=True)
    (to / "stake.txt").write_text("".join(stakes[:-1]))
    assert found() == [("no", "stake.txt"), ("yes", "checked_in.txt"), ("yes", "packet.txt")]
    (to / "packet.txt").unlink()
    assert found()[-1] == ("not proved", "bundle proves nothing")


async def test_a_round_that_has_not_ended_or_never_was_has_none(ended: Ended, to: Path) -> None:
    await ended.people.tamper("UPDATE rounds SET state = 'published' WHERE day = %s", DAY)
    assert (await made(ended.people, to)).word == "not_settled"
    never = NEXT_DAY + timedelta(days=365)
    assert (await audit_bundle(ended.people.service, ANNA, never, to)).word == "round_not_found"
    assert list(to.parent.iterdir()) == []


async def test_a_full_disk_leaves_nothing(ended: Ended, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(paper: Any, texts: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(papers.Paper, "write", full)
    assert (await made(ended.people, to)).word == "disk_full"
    assert list(to.parent.iterdir()) == []


async def test_everything_is_of_one_instant(ended: Ended, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is taken away while the provider is asked is still in the ledger, and in the stakes."""
    people, asked = ended.people, ended.channel.bill

    async def late(day: str) -> Any:
        await people.tamper("DELETE FROM members WHERE uid = 4")
        monkeypatch.setattr(ended.channel, "bill", asked)
        async for page in asked(day):
            yield page

    monkeypatch.setattr(ended.channel, "bill", late)
    answer = await made(people, to)
    assert (answer.word, answer.data["bill"]["stakes"]["by_found"]["billed"]["count"]) == ("ok", 7)
    assert len(await people.rows("SELECT uid FROM members")) == 6


async def test_the_bundle_of_a_void_round(stage: Stage, to: Path) -> None:
    """It has no C, and so no root; a bill that is not to be had is a difference."""
    assert await stage.people.service.voiding.void(DAY, "an outage")
    stage.alipay.missing[str(DAY)] = NoBill
    answer = await made(stage.people, to)
    assert "statement closed: the round was called off before it" in answer.data["missing"]
    assert answer.data["differences"] == [f"bill: alipay: none of {DAY} to be had"]
    assert set(answer.data["trees"]) == {"stake", "checked_in"}
    assert answer.data["trees"]["stake"]["signed"] is None
    assert answer.data["bill"]["stakes"]["by_found"] == {
        word: {"count": 1, "fen": 100} for word in ("billed", "no_bill")
    }
    assert "bill: that of 1 stakes" in answer.data["missing"]
    assert {path.name for path in to.iterdir()} >= {"opened.note", "void.note", "stake.txt", "keys.txt"}


async def test_the_bundle_of_a_round_before_statements(stage: Stage, to: Path) -> None:
    """It has stakes and lines, and no leaves. A bill that is not due yet is no difference."""
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    stage.alipay.missing[str(today)] = NotYet
    await stage.people.service.voiding.void(DAY, "an outage")
    await stage.people.tamper("UPDATE rounds SET salt_key = NULL WHERE day = %s", DAY)
    await stage.people.tamper("DELETE FROM statements WHERE day = %s", DAY)
    answer = await made(stage.people, to)
    assert "leaves: the round is older than statements" in answer.data["missing"]
    assert f"bill: alipay from {today} on" in answer.data["missing"]
    assert answer.data["differences"] == []
    assert not [path for path in to.iterdir() if path.suffix in {".note"} or path.stem in LEAVES]
    assert answer.data["bill"]["stakes"]["by_found"] == {"billed": {"count": 2, "fen": 200}}
    assert len(lines(to, "ledger.tsv")) == answer.data["ledger"]["by_kind"]["stake"]["count"] + 2


async def test_the_command_writes_it_once(ended: Ended, to: Path) -> None:
    """Without a provider that it could ask: what is missing is said."""
    settings = ended.people.service.settings
    status, said = await clock(settings, "audit-bundle", str(DAY), "--to", str(to), CLOCK_PLATFORM_URL="")
    assert (status, json.loads(said[said.index("{") :])["code"]) == (0, "ok"), said
    assert "bill: no channel can be asked" in said
    status, said = await clock(settings, "audit-bundle", str(DAY), "--to", str(to))
    assert (status, "is there already" in said) == (2, True), said
    acts = (await listed(ended.people.service, 1, 1, str(DAY))).data["items"]
    assert [(one["act"], one["word"]) for one in acts] == [("audit_bundle", "ok")]
