"""Receipts on the players' page: asked for, kept, checked by themselves; notes and paths as docs/fair.md has them."""

import asyncio
import hashlib
import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Page, Route, expect

from clock.fair.notes import new_key, parts, sign, signers_of
from clock.http.web.linker import FOLDER
from tests.page.visitor import House, Visitor, button_is

Visits = Callable[..., Any]

EXAMPLE = (
    (Path(__file__).parents[2] / "docs" / "fair.md").read_text("utf-8").split("\n## An example\n")[1].split("\n## ")[0]
)

NO_ED25519 = """
    const own = SubtleCrypto.prototype.importKey;
    SubtleCrypto.prototype.importKey = function (format, key, algorithm, ...rest) {
        if (algorithm !== "Ed25519") return own.call(this, format, key, algorithm, ...rest);
        return Promise.reject(new DOMException("Unrecognized name", "NotSupportedError"));
    };
"""
"""Chrome before 137."""

NO_SUBTLE = "Object.defineProperty(crypto, 'subtle', { value: undefined });"
"""A page without https."""

WAITS = """
    Math.random = () => 0.5;
    const own = setTimeout;
    globalThis.waits = [];
    globalThis.setTimeout = (act, ms) => (waits.push(ms), own(act, ms));
"""

FORGED = """
    const kept = JSON.parse(localStorage.getItem("clock.receipts"));
    for (const { receipt } of kept) receipt.note = receipt.note.replace(/signed_ms: ./, "signed_ms: 9");
    localStorage.setItem("clock.receipts", JSON.stringify(kept));
"""


def blocks(fence: str) -> list[str]:
    return re.findall(r"```text\n(.*?)```", fence, re.DOTALL)


async def test_signatures_and_paths_are_read_as_the_specification_says(visits: Visits) -> None:
    """Its example, and what a changed letter makes of it."""
    key, *notes, leaf, path, _ = blocks(EXAMPLE)
    module = re.sub("^export ", "", (FOLDER / "notes.js").read_text("utf-8"), flags=re.MULTILINE)
    visitor: Visitor = await visits()
    await visitor.opens(None)

    async def run(expression: str, **args: Any) -> Any:
        return await visitor.page.evaluate(f"async (a) => {{ {module}; return {expression}; }}", args)

    key = key.strip()
    for kind, note in zip(("opened", "closed", "published"), notes, strict=True):
        assert await run("isSigned(a.note, [a.key])", note=note, key=key) is True
        assert await run("isSigned(a.note, [a.key])", note=note.replace("round: 2026", "round: 2027"), key=key) is False
        assert (await run("valuesOf(a.note, a.kind)", note=note, kind=kind))["round"] == "2026-11-26"
        for wrong in (
            note.replace("\nround:", "\nround: x\nround:"),
            note.replace("\nround: 2026-11-26", ""),
            note.replace(".v1/", ".v2/"),
        ):
            assert await run("valuesOf(a.note, a.kind)", note=wrong, kind=kind) is None
    for other in (key.replace("+AQOh", "+AQOi"), key.replace("play.", "pray."), "no key"):
        assert await run("isSigned(a.note, [a.key])", note=notes[0], key=other) is False
    witness = signers_of(new_key("a.witness"))[0]  # who is not the origin
    note = sign(parts(notes[0])[0], [witness])
    assert await run("isSigned(a.note, [a.key])", note=note, key=str(witness.verifier)) is False
    assert await run("hashOf(a.note)", note=notes[0]) == re.findall("H\\(O\\) is `(.*?)`", EXAMPLE)[0]
    given: dict[str, Any] = {"leaf": leaf, "index": 1, "size": 3, "path": path.split()}
    root = (await run("valuesOf(a.note, 'closed')", note=notes[1]))["checked_in"]
    assert await run("rootOf(a)", **given) == root
    changes: tuple[dict[str, Any], ...] = (
        {"index": 0},
        {"index": 3},
        {"size": 4, "index": 0},
        {"path": []},
        {"path": [*given["path"], "00"]},
    )
    for change in changes:
        assert await run("rootOf(a)", **{**given, **change}) != root


def with_draw(promised: str, drawn: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The round of the example as the public answer has it, and its statements, with a beacon in O and what P says."""
    _, *notes, _, _, _ = blocks(EXAMPLE)
    o, c, p = notes
    o = o.replace("beacon: none", f"beacon: {promised}")
    c = re.sub("^opened: .*", f"opened: {hash_of(o)}", c, flags=re.MULTILINE)
    p = re.sub("^closed: .*", f"closed: {hash_of(c)}", p, flags=re.MULTILINE)
    p = p.replace("beacon: none", f"beacon: {drawn}")
    if drawn in ("missing", "late"):
        p = p.replace("split: random", "split: equal")
    said = dict(line.split(": ", 1) for note in (o, c, p) for line in note.split("\n\n")[0].split("\n")[1:])
    one = {name.removesuffix("_fen"): int(value) for name, value in said.items() if value.isdecimal()}
    public = {**one, "day": said["round"], "rules": json.loads(said["rules"])}
    public |= {name: said[name] for name in ("seed", "seed_hash", "drawn")}
    return public, {"opened": o, "closed": c, "published": p}


def hash_of(note: str) -> str:
    return hashlib.sha256(note[: note.rindex("\n\n") + 1].encode()).hexdigest()


async def test_a_public_draw_is_mixed_in_and_can_be_looked_up(visits: Visits) -> None:
    names = ("notes.js", "statements.js")
    sources = "".join((FOLDER / name).read_text("utf-8") for name in names)
    modules = re.sub("^(export |import .*)", "", sources, flags=re.MULTILINE)
    visitor: Visitor = await visits()
    await visitor.opens(None)
    draw, chain, linked, same = "ab" * 48, f"quicknet {'5' * 64} 1234", "fair_linked", "fair_stated"
    link = f"https://api.drand.sh/{'5' * 64}/public/1234"
    lost = {"split": "equal", "lucky_count": 0}
    for promised, drawn, way, says in (
        ("none", "none", {}, [linked, same]),
        (chain, draw, {}, [linked, same, ["quicknet", "1234", link, draw[:16]]]),
        (chain, "missing", lost, [linked, same]),
        (chain, "late", lost, [linked, same]),
        (chain, "none", {}, ["fair_not_linked", same]),
        ("none", draw, {}, ["fair_not_linked", same]),
    ):
        one, statements = with_draw(promised, drawn)
        found = await visitor.page.evaluate(
            f"""async ([one, statements]) => {{
                const notedOf = () => ({{}});
                {modules}
                const steps = (await stated(one, statements, [])).slice(1).filter(([, name]) => !/signed/.test(name));
                const says = steps.map(([, name, ...values]) => values.length ? values.map((value) => value()) : name);
                return [await drawnOf(one, statements), wayOf(statements), says];
            }}""",
            [one, statements],
        )
        mixed = bytes.fromhex(one["seed"] + (draw if drawn == draw else "") + hash_of(statements["closed"]))
        assert found == [hashlib.sha256(b"clock/seed/v2" + mixed).hexdigest(), way, says], (promised, drawn)


async def check_in(page: Page) -> None:
    await button_is(page, "check_in")
    await page.locator("#act").click()
    await button_is(page, "counting")


async def publishes(house: House, day: date, uid: int, *pages: Page) -> None:
    """Returns when the pages have asked for a summary that says so."""
    await house.it_is(day + timedelta(days=1), "08:05:01")
    async with asyncio.timeout(20):
        while True:
            summary = (await house.does(uid, "/api/summary"))["data"]["summary"]
            if summary.get("yesterday", {}).get("state") == "settled":
                break
            await asyncio.sleep(0.05)
    for page in pages:
        await page.evaluate("dispatchEvent(new Event('clock:moved'))")


async def test_receipts_are_kept_and_checked_by_themselves(house: House, visits: Visits, day: date, uid: int) -> None:
    await house.it_is(day, "20:00:00")
    for player in range(uid, uid + 5):
        await house.joins(player)
    visitor: Visitor = await visits(language="en")
    page, lines = visitor.page, visitor.page.locator("#receipts li")
    await page.add_init_script(WAITS)
    await visitor.opens(uid)
    await button_is(page, "wait")
    await page.evaluate("(token) => (location.hash = `token=${token}`)", await house.token(uid))  # a new one
    await expect(lines).to_have_text([re.compile(f"^{day}, paid: receipt kept")])
    await visitor.travels(day + timedelta(days=1), "05:00:01")
    await check_in(page)
    await expect(lines).to_have_text([re.compile("paid: receipt kept"), re.compile("checked in: receipt kept")])
    await page.reload()
    await expect(lines).to_have_count(2)
    async with page.expect_download() as saved:
        await lines.nth(1).get_by_role("button").click()
    file = await saved.value
    assert file.suggested_filename == f"{day}-checked_in.json"
    receipt = json.loads(Path(await file.path()).read_text("utf-8"))
    assert receipt.keys() == {"leaf", "index", "size", "path", "note"}
    assert receipt["leaf"].startswith(f"clock/leaf/v1 checked_in\n{day}\n")
    await visitor.accessible("kept receipts")
    await publishes(house, day, uid, page)
    good = "the receipt is good, and in what was stated before the draw"
    await expect(lines).to_have_text([re.compile(f"paid: {good}"), re.compile(f"checked in: {good}")])
    assert await page.evaluate("waits.filter((ms) => ms === 25).length") == 2, "10 ms for each of 5, not all at once"
    await visitor.accessible("checked receipts")
    await page.locator("#tongue").click()
    await expect(lines.first).to_contain_text("付款：凭据有效，已列入抽签前公布的声明")
    await visitor.opens(uid + 1)  # another user of this device
    await expect(page.locator("#receipts-card")).to_be_hidden()


async def test_what_is_wrong_with_a_receipt_is_said(house: House, visits: Visits, day: date, uid: int) -> None:
    """The service denies a leaf, or its signature does not fit, or the browser cannot know."""

    async def denies(route: Route) -> None:
        await route.fulfill(json={"status": 0, "code": "not_checked_in", "message": "", "data": {}})

    async def swaps(route: Route) -> None:
        reply = await route.fetch()
        envelope = await reply.json()
        envelope["data"]["leaf"] = envelope["data"]["leaf"].replace("\n100\n", "\n200\n")
        await route.fulfill(response=reply, json=envelope)

    async def calls_off(route: Route) -> None:
        reply = await route.fetch()
        envelope = await reply.json()
        statements = envelope["data"]["statements"]
        statements["void"] = statements["closed"]
        await route.fulfill(response=reply, json=envelope)

    await house.it_is(day, "20:00:00")
    cases: list[tuple[Visitor, list[str]]] = []
    for player, (script, *sentences) in enumerate(
        (
            ("", "not in what was stated", "not in what was stated"),
            ("", "a signature of the receipt", "a signature of the receipt"),
            (
                NO_ED25519,
                "in what was stated before the draw; this device cannot check signatures",
                "cannot check signatures",
            ),
            (NO_SUBTLE, "kept, this device cannot check it", "kept, this device cannot check it"),
            ("", "called off, the receipt is for the refund", "called off, the receipt is for the refund"),
        ),
        uid,
    ):
        await house.joins(player)
        visitor: Visitor = await visits(language="en")
        await visitor.page.add_init_script(script)
        await visitor.opens(player)
        cases.append((visitor, sentences))
    await cases[0][0].page.route("**/proof/checked_in", denies)
    await cases[0][0].page.route("**/proof/stake", swaps)
    await cases[4][0].page.route("**/proof", calls_off)
    for visitor, _ in cases:
        await expect(visitor.page.locator("#receipts li")).to_have_count(1)
    for second, (visitor, _) in enumerate(cases):
        await visitor.travels(day + timedelta(days=1), f"05:00:{second + 10}")
        await check_in(visitor.page)
        await expect(visitor.page.locator("#receipts li")).to_have_count(2)
    await cases[1][0].page.evaluate(FORGED)
    await publishes(house, day, uid, *(visitor.page for visitor, _ in cases))
    for (visitor, sentences), mark in zip(cases, ("bad", "bad", "none", "none", "none"), strict=True):
        lines = visitor.page.locator("#receipts li")
        await expect(lines).to_have_text([re.compile(one) for one in sentences])
        await expect(lines).to_have_class([mark, mark])
    await cases[0][0].accessible("a receipt that is denied")


async def test_a_service_that_knows_no_receipts_is_asked_once(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    visitor: Visitor = await visits(language="en")
    visitor.expects("404")
    page = visitor.page
    asked: list[str] = []

    async def knows_none(route: Route) -> None:
        asked.append(route.request.url.rpartition("/")[2])
        await route.fulfill(status=404, json={"status": 0, "code": "not_found", "message": "", "data": {}})

    async def answers_as_before(route: Route) -> None:
        reply = await route.fetch()
        envelope = await reply.json()
        envelope["data"].pop("receipt", None)
        await route.fulfill(response=reply, json=envelope)

    await page.route("**/receipt/*", knows_none)
    await page.route("**/api/check-in", answers_as_before)
    await house.it_is(day + timedelta(days=1), "05:00:01")
    await visitor.opens(uid)
    async with page.expect_response("**/receipt/*"):
        await check_in(page)
    await visitor.travels(day + timedelta(days=1), "05:10:00")
    await expect(page.locator("#now")).to_have_text(re.compile("05:10"))
    await expect(page.locator("#receipts-card")).to_be_hidden()
    assert asked == ["checked_in"]  # and while everybody checks in, nothing else
