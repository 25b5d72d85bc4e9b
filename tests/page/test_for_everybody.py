"""The page works with a keyboard, a screen reader, large letters and without motion, and stays where it is."""

import asyncio
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from playwright.async_api import Route, expect

from tests.page.visitor import DESKTOP, PHONE, House, Visitor, button_is, fits, without_bar

Visits = Callable[..., Any]


RING = """
    (node) => {
        node.focus({ focusVisible: true });
        const light = (text) => {
            const [r, g, b] = text.match(/[\\d.]+/g).map((part) => part / 255)
                .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = node.closest(".card, .tabs, .bar");
        const [one, other] = [getComputedStyle(node).outlineColor, getComputedStyle(behind).backgroundColor].map(light);
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    }
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_the_keyboards_place_can_be_seen(house: House, visits: Visits, day: date, uid: int, dark: bool) -> None:
    """The ring around what has the focus stands out, 3:1 at least (WCAG 2.2, 1.4.11)."""
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(dark=dark)
    await visitor.opens(uid)
    await button_is(visitor.page, "join")
    for selector in ("#tongue", "#remind", ".rules summary", "[data-to=board]"):
        assert await visitor.page.locator(selector).evaluate(RING) >= 3, selector


async def test_screen_readers_hear_of_every_change_once(house: House, visits: Visits, day: date, uid: int) -> None:
    """The button's countdown is a part of its name and silent; a new state is announced in one sentence."""
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "wait")
    await expect(page.get_by_role("button", name=re.compile(r"^Opens in \d\d:\d\d:\d\d$"))).to_be_visible()
    await expect(page.locator("#announced")).to_have_text("")
    await visitor.travels(day + timedelta(days=1), "04:59:59")
    await button_is(page, "check_in")
    await expect(page.locator("#announced")).to_have_text(
        re.compile(r"^Check in \d\d:\d\d:\d\d left: one tap is enough$")
    )
    await page.locator("#act").click()
    await expect(page.locator("#said")).to_have_text("Checked in")
    await expect(page.locator("#announced")).to_have_text(
        re.compile(
            r"^You are up! \d\d:\d\d:\d\d Good morning! Red packets open at 08:05$|"
            r"^You are up! Good morning! Red packets open at 08:05$"
        )
    )
    await expect(page.locator("#said")).to_have_text("Checked in")


@pytest.mark.parametrize("calm", [True, False])
async def test_a_page_for_who_wants_calm_does_not_move(
    house: House, visits: Visits, day: date, uid: int, calm: bool
) -> None:
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.it_is(day + timedelta(days=1), "05:00:00")
    visitor: Visitor = await visits(calm=calm)
    await visitor.opens(uid)
    await button_is(visitor.page, "check_in")
    moving = await visitor.page.evaluate("document.getAnimations().some((one) => one.playState === 'running')")
    assert moving is not calm


SHIFTS = """
    window.shifts = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => (shifts += entry.value)))
        .observe({ type: "layout-shift", buffered: true });
"""


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_opening_the_page_asks_little_and_moves_nothing(
    house: House, visits: Visits, day: date, uid: int, size: tuple[int, int]
) -> None:
    """At five everybody opens it at once: each question is asked once, and what is not looked at is not asked for."""
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.settled(day - timedelta(days=1))
    visitor: Visitor = await visits(size=size)
    page, asked = visitor.page, []
    await without_bar(visitor)
    await page.add_init_script(SHIFTS)
    page.on("request", lambda request: asked.append(request.url.removeprefix(house.url).partition("?")[0]))
    await visitor.opens(uid)
    await button_is(page, "wait")
    always = [f"/api/rounds/{day - timedelta(days=1)}", "/api/summary", "/api/talents"]
    more = ["/api/board", "/api/me", "/api/me/history"] if size == DESKTOP else []
    async with asyncio.timeout(10):
        while not {*always, *more} <= set(asked):
            await asyncio.sleep(0.05)
    await page.wait_for_load_state("networkidle")
    later = f"/api/rounds/{day}/proof"  # what the round promises, a second or two afterwards
    needed = [path for path in asked if path not in ("/web/icon.svg", later)]
    assert sorted(needed) == sorted(["/", *always, *more])
    assert asked.count(later) <= 1
    assert await page.evaluate("shifts") < 0.02
    if size == PHONE:
        await page.locator("[data-to=me]").click()
        await expect(page.locator("#info dd").first).to_be_visible()
        assert {"/api/me", "/api/me/history"} <= set(asked)


CLIPPED = """
    () => [...document.querySelectorAll('.figures :is(dd, dt), .act span, .grid :is(dd, dt), .talents *')]
        .filter((node) => node.offsetParent && !node.matches('.name'))
        .map((node) => [node, document.createRange()])
        .map(([node, range]) => (range.selectNodeContents(node), [node, range.getBoundingClientRect()]))
        .filter(([node, box]) => box.left < -1 || box.right > innerWidth + 1
            || box.right > node.closest('.figures, .act, .card').getBoundingClientRect().right + 1)
        .map(([node]) => node.outerHTML)
"""


@pytest.mark.parametrize("font", ["16px", "32px"])
async def test_large_figures_and_large_letters_are_not_cut_off(
    house: House, visits: Visits, day: date, uid: int, font: str
) -> None:
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    visitor: Visitor = await visits(language="en")
    page = visitor.page

    async def enlarge(route: Route) -> None:
        reply = await route.fetch()
        envelope = await reply.json()
        shown = envelope["data"].get("summary", envelope["data"].get("info"))
        large = {
            "clock_money": 10**12,
            "user_num": 10**9,
            "yest_money": 10**12,
            "income_money": 10**11,
            "join_num": 10**6,
        }
        shown.update({name: value for name, value in large.items() if name in shown})
        await route.fulfill(response=reply, json=envelope)

    await page.route("**/api/summary", enlarge)
    await page.route("**/api/me", enlarge)
    await visitor.opens(uid)
    await page.evaluate(f"document.documentElement.style.setProperty('font-size', '{font}')")
    await expect(page.locator("#pool")).to_have_text("10,000,000,000.00")
    for tab in ("me", "board", "today"):
        await page.locator(f"[data-to={tab}]").click()
        await page.wait_for_load_state("networkidle")
        assert await page.evaluate(CLIPPED) == []
        await fits(visitor)
    await page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("size", [(740, 360), (180, 370)], ids=["on its side", "at twice the size"])
async def test_the_button_and_its_words_are_above_the_fold(
    house: House, visits: Visits, day: date, uid: int, size: tuple[int, int]
) -> None:
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    visitor: Visitor = await visits(language="en", size=size)
    await without_bar(visitor)
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "wait")
    fold = await page.evaluate("document.querySelector('.tabs').getBoundingClientRect().top")
    for words in ("#act-text", "#act-time", "#hint"):
        box = await page.locator(words).bounding_box()
        assert box and box["y"] >= 0 and box["y"] + box["height"] <= fold, words
    await visitor.accessible("low")
    await fits(visitor)


async def test_back_leads_to_today_and_only_then_away(house: House, visits: Visits, day: date, uid: int) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits()
    visitor.expects("favicon.ico")
    page = visitor.page
    await page.goto(f"{house.url}/healthz")
    await visitor.opens(uid)
    await button_is(page, "join")
    for _ in range(2):
        for tab in ("board", "me"):
            await page.locator(f"[data-to={tab}]").click()
            await expect(page.locator(f"#{tab}")).to_be_visible()
        await page.reload()
        await expect(page.locator("#me")).to_be_visible()
        await page.locator("[data-to=today]").click()
        await expect(page.locator("#today")).to_be_visible()
    await page.locator("[data-to=board]").click()
    await page.go_back()
    await expect(page.locator("#today")).to_be_visible()
    await page.go_back()
    assert page.url == f"{house.url}/healthz"


async def test_a_nickname_does_not_turn_the_text_around_it(house: House, visits: Visits, day: date, uid: int) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits()
    page = visitor.page
    body = {
        "total": 1,
        "items": [{"rank": 1, "nickname": "\u202eniL\u2066", "mobile": "138****0001", "income_money": 100}],
    }
    envelope = {"status": 1, "code": "ok", "message": "", "data": body}
    await page.route("**/api/board*", lambda route: route.fulfill(json=envelope))
    await visitor.opens(uid)
    await page.locator("[data-to=board]").click()
    await expect(page.locator("#ranks bdi")).to_have_text("niL")
    assert "\u202e" not in (await page.locator("#ranks").text_content() or "")
