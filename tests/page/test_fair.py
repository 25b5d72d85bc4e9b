"""A player checks a round on their own device: it computes what the service computes, and says so where it differs."""

import asyncio
import hashlib
import random
import re
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import Any

from playwright.async_api import Page, Route, expect

from clock.domain.split import Split, split
from clock.fair import notes
from clock.http.web.linker import FOLDER
from tests.page.visitor import House, Visitor, button_is

Visits = Callable[..., Any]

STATED = [
    "The promise (statement O) is the one this device noted before settlement",
    "The three statements, opened, closed and published, follow from one another",
    "The published rules, numbers and sums are those of the statements",
    "The statements are signed by the keys this device knows",
]
GOOD = [
    "The fingerprint is the one this device noted before settlement",
    "The seed's SHA-256 is the published fingerprint",
    "The draw is the seed mixed with what was stated before it",
    *STATED,
    "Shared ¥3 = forfeited stakes ¥3 − fee ¥0 + carried in ¥0",
    "All 3 packets, computed from the draw, are those published",
    "The packets, ¥3, and what is carried on, ¥0, are all that was shared",
]


NOT_PROVED = [
    "No public beacon is used: nothing proves that the operator, who knows the seed, did not play along",
    "No witness has signed: nothing proves that everybody is shown the same round",
]


async def test_the_page_splits_a_pot_as_the_service_does(visits: Visits) -> None:
    dice = random.Random(20261125)
    splitter = re.sub("^export ", "", (FOLDER / "fair.js").read_text("utf-8"), flags=re.MULTILINE)
    visitor: Visitor = await visits()
    await visitor.opens(None)
    for _ in range(120):
        pot = dice.choice((0, dice.randrange(100), dice.randrange(10**6), dice.randrange(2**53)))
        lucky, bps = dice.choice(((0, 0), (1, 500), (5, 10_000), (100, 3000)))
        rules = Split(
            mode=dice.choice(("random", "equal")),
            lucky_count=lucky,
            lucky_bps=bps,
            packet_cap_fen=dice.choice((0, 0, 3, 400, 10**5)),
        )
        seed, winners = dice.randbytes(32), dice.randrange(1, 60)
        told = {"lucky_count": lucky, "lucky_bps": bps, "packet_cap_fen": rules.packet_cap_fen, "split": rules.mode}
        found = await visitor.page.evaluate(
            f"async (args) => {{ {splitter}; return (await split(...args)).map(Number); }}",
            [list(seed), pot, winners, told],
        )
        assert found == list(split(seed, pot, winners, rules).packets_fen), (seed, pot, winners, rules)


async def steps(page: Page) -> list[str]:
    """What the page found, without the word that only screen readers hear."""
    texts = await page.locator("#fair-steps li").all_text_contents()
    return [re.sub("^(Good|Wrong|Not checked):", "", text) for text in texts]


async def restated(route: Route) -> None:
    """Another promise, and what follows from it, signed by a key that nobody has seen."""
    reply = await route.fetch()
    envelope = await reply.json()
    signer, statements = notes.signers_of(notes.new_key("elsewhere/clock"))[0], envelope["data"]["statements"]
    before = after = ""
    for kind in ("opened", "closed", "published"):
        text, _ = notes.parts(statements[kind])
        hash_before = hashlib.sha256(text.encode()).hexdigest()
        text = re.sub("^origin: .*", "origin: elsewhere/clock", text, flags=re.MULTILINE)
        text = text.replace(f"{before}\n", f"{after}\n") if before else text
        before, after = hash_before, hashlib.sha256(text.encode()).hexdigest()
        statements[kind] = notes.sign(text, [signer])
    envelope["data"]["keys"] = [str(signer.verifier)]
    await route.fulfill(response=reply, json=envelope)


async def test_a_player_checks_the_round(house: House, visits: Visits, day: date, uid: int) -> None:
    """The fingerprint was noted when the round was seen, and one's own packet must be in the list."""
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    for player in range(uid, uid + 6):
        await house.joins(player)
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "wait")
    await expect(page.locator("#seed-next")).to_have_text(re.compile(f"^{day} [0-9a-f]{{64}}$"))
    async with asyncio.timeout(10):
        while not await page.evaluate("localStorage.getItem('clock.opened')"):
            await asyncio.sleep(0.05)
    await house.it_is(tomorrow, "05:00:00")
    for player in range(uid, uid + 3):
        await house.does(player, "/api/check-in")
    await house.it_is(tomorrow, "08:05:00")
    await house.settled(day)
    await page.evaluate("dispatchEvent(new Event('clock:moved'))")
    await button_is(page, "packet")
    await page.locator("#act").click()
    await page.locator("#packet-open").click()
    await page.locator("#packet-done").click()
    mine = re.sub("Today's packet: ", "", await page.locator("#result-title").inner_text())
    await expect(page.locator("#round-day")).to_have_text(str(day))
    await page.locator("#round-card summary").click()
    await page.locator("#fair-check").click()
    await expect(page.locator("#fair-said")).to_have_text("It agrees to the cent")
    place = (await house.send("GET", f"/api/me/place/{day}", None, await house.token(uid)))["data"]["place"]
    assert 1 <= place <= 3
    assert await steps(page) == [*GOOD, f"By your rank, packet {place} is yours: {mine}", *NOT_PROVED]
    await visitor.accessible("a round that agrees")
    await page.locator("#tongue").click()
    await expect(page.locator("#fair-said")).to_have_text("验算通过，一分不差")
    await expect(page.locator("#fair-steps li").nth(1)).to_contain_text("种子的 SHA-256 就是公布的指纹")
    await page.locator("#tongue").click()
    await page.route(f"**/api/rounds/{day}/proof", restated)
    await page.locator("#fair-check").click()
    await expect(page.locator("#fair-said")).to_have_text("It does not agree: keep a screenshot")
    assert [text for text in await steps(page) if text not in GOOD][:3] == [
        "The draw is not the seed mixed with what was stated before it",
        "The promise (statement O) is not the one this device noted before settlement",
        "The statements are not signed as they must be by a key this device knows",
    ]


async def three_of_six_win(house: House, day: date, uid: int) -> None:
    """The users from ``uid`` on."""
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    for player in range(uid, uid + 6):
        await house.joins(player)
    await house.it_is(tomorrow, "05:00:00")
    for player in range(uid, uid + 3):
        await house.does(player, "/api/check-in")
    await house.it_is(tomorrow, "08:05:00")
    await house.settled(day)


async def test_a_round_that_was_tampered_with_does_not_agree(house: House, visits: Visits, day: date, uid: int) -> None:
    await three_of_six_win(house, day, uid)

    async def favour(route: Route) -> None:
        """A fen goes from the first packet to the last."""
        reply = await route.fetch()
        envelope = await reply.json()
        items = envelope["data"]["items"]
        envelope["data"]["items"] = [items[0] - 1, *items[1:-1], items[-1] + 1]
        await route.fulfill(response=reply, json=envelope)

    async def reseed(route: Route) -> None:
        reply = await route.fetch()
        envelope = await reply.json()
        envelope["data"]["seed"] = "00" * 32
        await route.fulfill(response=reply, json=envelope)

    async def restate(route: Route) -> None:
        reply = await route.fetch()
        envelope = await reply.json()
        statements = envelope["data"]["statements"]
        statements["closed"] = statements["closed"].replace("late: 0", "late: 1")
        await route.fulfill(response=reply, json=envelope)

    not_drawn = "The draw is not the seed mixed with what was stated before it"
    for path, tamper, wrong in (
        ("**/packets?*", favour, {8: "Packet 1 is not the one that follows from the draw"}),
        (f"**/api/rounds/{day}", reseed, {1: "The seed's SHA-256 is not the published fingerprint", 2: not_drawn}),
        (
            f"**/api/rounds/{day}/proof",  # not that of the next round, which the page asks for to note it
            restate,
            {
                2: not_drawn,
                4: "The three statements do not follow from one another",
                5: "The published rules, numbers or sums are not those of the statements",
                6: "The statements are not signed as they must be by a key this device knows",
            },
        ),
    ):
        visitor: Visitor = await visits(language="en")
        page = visitor.page
        await page.route(path, tamper)
        await visitor.opens(uid + 5)
        await expect(page.locator("#round-day")).to_have_text(str(day))
        await page.locator("#round-card summary").click()
        await page.locator("#fair-check").click()
        await expect(page.locator("#fair-said")).to_have_text("It does not agree: keep a screenshot")
        found = await steps(page)
        assert found[0] == "This device had not seen the round before it was settled: no fingerprint was noted"
        for index, text in wrong.items():
            assert found[index] == text
            await expect(page.locator("#fair-steps li").nth(index)).to_have_class("bad")
        await visitor.accessible("a round that does not agree")


async def undrawn(why: str, route: Route) -> None:
    """The round had promised a draw, and has none: ``late`` or ``missing``."""
    reply = await route.fetch()
    envelope = await reply.json()
    said = envelope["data"]["statements"]
    said["opened"] = said["opened"].replace("beacon: none", f"beacon: quicknet {'5' * 64} 7")
    said["published"] = said["published"].replace("beacon: none", f"beacon: {why}")
    said["published"] = said["published"].replace("split: random", "split: equal")
    envelope["data"]["missing"] = ["draw"]
    await route.fulfill(response=reply, json=envelope)


async def test_a_round_without_its_draw_says_why_and_is_checked_as_an_equal_one(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await three_of_six_win(house, day, uid)
    visitor: Visitor = await visits(language="en")
    page = visitor.page

    async def equal(route: Route) -> None:
        reply = await route.fetch()
        await route.fulfill(response=reply, json={**await reply.json(), "data": {"total": 3, "items": [100] * 3}})

    await page.route("**/packets?*", equal)
    await visitor.opens(None)
    await expect(page.locator("#round-day")).to_have_text(str(day))
    await page.locator("#round-card summary").click()
    for why, says in (
        ("late", "The public draw was out before this round was closed: it was split equally, without lucky packets"),
        ("missing", "The public draw was not to be had in time: this round was split equally, without lucky packets"),
    ):
        await page.route(f"**/api/rounds/{day}/proof", partial(undrawn, why))
        await page.locator("#fair-check").click()
        await expect(page.locator("#fair-steps li", has_text=says)).to_have_count(1)
        assert GOOD[-2] in await steps(page), "equal packets follow"


async def test_what_cannot_be_fetched_is_not_called_fair(house: House, visits: Visits, day: date, uid: int) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.it_is(tomorrow, "05:00:00")
    await house.does(uid, "/api/check-in")
    await house.it_is(tomorrow, "08:05:00")
    await house.settled(day)
    visitor: Visitor = await visits(language="en")
    visitor.expects("503")
    page = visitor.page
    body = {"status": 0, "code": "unavailable", "message": "", "data": {}}
    await page.route("**/packets?*", lambda route: route.fulfill(status=503, json=body))
    await visitor.opens(None)
    await expect(page.locator("#round-day")).to_have_text(str(day))
    await page.locator("#round-card summary").click()
    await page.locator("#fair-check").click()
    await expect(page.locator("#fair-said")).to_have_text("That did not work, please tap again")
    await expect(page.locator("#fair-steps li")).to_have_count(0)


ROTATED = """
    async ([module, known, keys, statements]) => {
        const device = { get: () => known, set: () => {} };
        return await new Function("device", `${module}; return keysFor;`)(device)({ keys, statements });
    }
"""


async def test_a_key_that_signs_beside_a_known_one_is_known(visits: Visits) -> None:
    """Keys change in the middle of a round: O was signed before, C and P by both. A receipt is by the new one alone."""
    names = ("notes.js", "noted.js")
    sources = "".join((FOLDER / name).read_text("utf-8") for name in names)
    module = re.sub("^(export |import .*)", "", sources, flags=re.MULTILINE)
    visitor: Visitor = await visits()
    await visitor.opens(None)
    old, new, other = (notes.signers_of(notes.new_key("play.example.com/clock"))[0] for _ in range(3))
    first, second, third = (str(signer.verifier) for signer in (old, new, other))

    async def known(keys: list[str], *signers: list[notes.Signer]) -> Any:
        text = "clock.statement.v1/{}\norigin: play.example.com/clock\n"
        kinds = zip(("opened", "closed", "published"), signers, strict=False)
        statements = {kind: notes.sign(text.format(kind), some) for kind, some in kinds}
        return await visitor.page.evaluate(ROTATED, [module, [first], keys, {**statements, "void": None}])

    assert await known([first, second], [old], [new, old], [new, old]) == [first, second]
    assert await known([first, second, third], [old], [new, old]) == [first, second], "it has signed nothing"
    assert await known([first, second], [old], [new, old], [new]) == [first], "P is nobody's that is known"
    assert await known([second], [new], [new], [new]) == [first]
    assert await known([second]) == [first]
