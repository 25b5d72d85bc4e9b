"""A whole day at phone size, in both languages, by touch and by keyboard; every state of it is accessible."""

import asyncio
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from playwright.async_api import Route, expect

from tests.page.visitor import DESKTOP, House, Language, Visitor, button_is, fits, left_ms

Visits = Callable[..., Any]


WORDS = {
    "zh": {
        "join": "¥1 参加",
        "wait": "打卡倒计时",
        "paid": "支付成功，已参加",
        "check_in": "打卡",
        "checked_in": "打卡成功",
        "counting": "已打卡",
        "packet": "拆红包",
        "parts": "红包 ¥3 + 押金 ¥1，共 ¥4，已入账",
        "result": "今天的红包 ¥3",
        "overslept": "错过打卡",
    },
    "en": {
        "join": "Join for ¥1",
        "wait": "Opens in",
        "paid": "Paid: you are in",
        "check_in": "Check in",
        "checked_in": "Checked in",
        "counting": "You are up!",
        "packet": "Open it",
        "parts": "Packet ¥3 + stake ¥1 = ¥4, credited",
        "result": "Today's packet: ¥3",
        "overslept": "Overslept",
    },
}


Words = dict[str, str]


@pytest.mark.parametrize(("language", "dark"), [("zh", False), ("en", True)])
async def test_a_whole_day(house: House, visits: Visits, day: date, uid: int, language: Language, dark: bool) -> None:
    words, tomorrow = WORDS[language], day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    for sleeper in range(uid + 1, uid + 4):
        await house.joins(sleeper, "<b>Lin</b>")
    visitor: Visitor = await visits(language=language, dark=dark)
    await a_guest_sees_the_figures(visitor)
    await in_the_evening_one_joins_and_pays(visitor, uid, words)
    await at_five_the_button_changes_by_itself(visitor, tomorrow, words)
    await at_five_past_eight_there_is_a_packet(visitor, tomorrow, words)
    await the_rules_the_board_and_ones_own_account(visitor)
    await the_other_language_stays_chosen(visitor, language)


async def a_guest_sees_the_figures(visitor: Visitor) -> None:
    page = visitor.page
    # A guest sees the figures, and nothing to tap.
    await visitor.opens(None)
    await page.locator("[data-dev=guest]").click()
    await button_is(page, "guest")
    await expect(page.locator("#pool")).to_have_text("3.00")
    await expect(page.locator("#people")).to_have_text("3")
    await visitor.accessible("guest")


async def in_the_evening_one_joins_and_pays(visitor: Visitor, uid: int, words: Words) -> None:
    page = visitor.page
    # In the evening one joins, and pays.
    await visitor.opens(uid)
    await page.reload()  # who opened it is still known
    await button_is(page, "join")
    await expect(page.locator("#act-text")).to_have_text(words["join"])
    await visitor.accessible("join")
    await fits(visitor)
    await page.locator("#act").click()
    await page.locator(".till-sum").wait_for()
    await visitor.accessible("till")
    await button_is(page, "pay")  # an order is not a membership
    await page.locator(".till-yes").click()
    await button_is(page, "wait")
    await expect(page.locator("#act-text")).to_have_text(words["wait"])
    await expect(page.locator("#said")).to_have_text(words["paid"])
    await expect(page.locator("#pool")).to_have_text("4.00")
    assert 8.9 * 3600_000 < await left_ms(page) <= 9 * 3600_000
    await visitor.accessible("wait")


async def at_five_the_button_changes_by_itself(visitor: Visitor, tomorrow: date, words: Words) -> None:
    page = visitor.page
    # Seconds before five the countdown is short; at five the button changes by itself.
    await visitor.travels(tomorrow, "04:59:58")
    await button_is(page, "check_in")
    await expect(page.locator("#act-text")).to_have_text(words["check_in"])
    await visitor.accessible("check_in")
    await page.locator("#act").click()
    await button_is(page, "counting")
    await expect(page.locator("#said")).to_have_text(words["checked_in"])
    await expect(page.locator("#act-text")).to_have_text(words["counting"])
    await expect(page.locator("#risers")).to_have_text("1")
    assert 3 * 3600_000 < await left_ms(page) <= 3.1 * 3600_000
    await visitor.accessible("counting")


async def at_five_past_eight_there_is_a_packet(visitor: Visitor, tomorrow: date, words: Words) -> None:
    page = visitor.page
    # At 08:05 there is a packet: three slept, so it holds their stakes.
    await visitor.travels(tomorrow, "08:04:59")
    await button_is(page, "packet")
    await expect(page.locator("#act-text")).to_have_text(words["packet"])
    await visitor.accessible("packet")
    await page.locator("#act").click()
    await page.locator("#packet-open").wait_for()
    await visitor.accessible("sealed packet")
    await page.locator("#packet-open").click()
    await expect(page.locator("#packet-money")).to_have_text("3.00")
    await expect(page.locator("#packet-parts")).to_have_text(words["parts"])
    await visitor.accessible("open packet")
    async with page.expect_response("**/api/alert/ack"):
        await page.locator("#packet-done").click()
    await expect(page.locator("#result-title")).to_have_text(words["result"])
    await button_is(page, "join")  # today's round
    await visitor.accessible("result")


async def the_rules_the_board_and_ones_own_account(visitor: Visitor) -> None:
    page = visitor.page
    # The rules, the board and one's own account.
    await page.locator(".rules summary").click()
    await expect(page.locator("#rules li")).to_have_count(8)
    await visitor.accessible("rules")
    await page.locator("[data-to=board]").click()
    await expect(page.locator("#board-card")).to_be_visible()
    await visitor.accessible("board")
    await page.locator("[data-to=me]").click()
    await expect(page.locator("#events li").first).to_be_visible()
    await visitor.accessible("me")
    await fits(visitor)


async def the_other_language_stays_chosen(visitor: Visitor, language: Language) -> None:
    page = visitor.page
    # The other language is a tap away, everywhere at once, and stays chosen.
    await page.locator("#tongue").click()
    other = WORDS["en" if language == "zh" else "zh"]
    await page.reload()
    await expect(page.locator("#act-text")).to_have_text(other["join"])
    await expect(page.locator("html")).to_have_attribute("lang", "en" if language == "zh" else "zh-CN")


async def test_who_oversleeps_is_told_so(house: House, visits: Visits, day: date, uid: int) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.joins(uid + 1)
    await house.it_is(tomorrow, "05:00:00")
    await house.does(uid + 1, "/api/check-in")
    visitor: Visitor = await visits(language="en", size=DESKTOP)
    page, seen = visitor.page, asyncio.Event()

    async def until_seen(route: Route) -> None:
        await seen.wait()
        await route.continue_()

    await visitor.opens(uid)
    await button_is(page, "check_in")
    await visitor.travels(tomorrow, "07:59:59")
    await button_is(page, "overslept")
    await expect(page.locator("#act")).to_have_attribute("aria-disabled", "true")
    assert 4 * 60_000 < await left_ms(page) <= 5 * 60_000
    await visitor.accessible("overslept")
    await page.locator("#act").focus()
    async with page.expect_response("**/api/summary"):
        await visitor.travels(tomorrow, "08:04:57")
    await page.route("**/api/summary", until_seen)
    await button_is(page, "loading")
    seen.set()
    await button_is(page, "join")
    await expect(page.locator("#act")).to_be_focused()  # the keyboard's place survives every state
    await visitor.accessible("desktop")
    await fits(visitor)


async def test_the_whole_day_by_keyboard(house: House, visits: Visits, day: date, uid: int) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid + 1)
    visitor: Visitor = await visits(language="en")
    page = visitor.page

    async def tab_to(selector: str) -> None:
        for _ in range(30):
            if await page.locator(selector).evaluate("node => node === document.activeElement"):
                return
            await page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {selector}")

    async def focus_is_on(selector: str) -> None:
        await expect(page.locator(selector)).to_be_focused()

    async def button_does(kind: str) -> None:
        """It has had this meaning for a while."""
        await button_is(page, kind)
        await expect(page.locator("#act")).to_have_attribute("aria-disabled", "false")

    await visitor.opens(uid)
    await button_is(page, "join")
    await tab_to("#act")
    await page.keyboard.press("Enter")
    await tab_to(".till-yes")
    await page.keyboard.press("Space")
    await button_is(page, "wait")
    await visitor.travels(tomorrow, "05:00:00")
    await button_does("check_in")
    await tab_to("#act")
    await page.keyboard.press("Space")
    await button_is(page, "counting")
    await focus_is_on("#act")
    await visitor.travels(tomorrow, "08:05:00")
    await button_does("packet")
    await page.keyboard.press("Enter")
    await focus_is_on("#packet-open")
    await page.keyboard.press("Escape")
    await focus_is_on("#act")  # closed unopened: it is still there
    await button_is(page, "packet")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await focus_is_on("#packet-done")
    await page.keyboard.press("Enter")
    await focus_is_on("#act")
    await button_is(page, "join")
    await tab_to("[data-to=me]")
    await page.keyboard.press("Enter")
    await expect(page.locator("#me")).to_be_visible()


async def test_a_token_that_comes_late_does_not_undo_a_later_choice(house: House, visits: Visits, day: date) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    page, asked, go_on = visitor.page, asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await go_on.wait()
        await route.continue_()

    await page.route("**/dev/token", hold, times=1)
    await visitor.opens(None)
    await asked.wait()
    await page.locator("[data-dev=guest]").click()
    await button_is(page, "guest")
    async with page.expect_response("**/dev/token"):
        go_on.set()
    await page.wait_for_load_state("networkidle")
    await button_is(page, "guest")


async def test_the_bar_of_development_tries_a_day_in_a_minute(house: House, visits: Visits, day: date) -> None:
    await house.it_is(day, "12:00:00")
    visitor: Visitor = await visits(language="en", calm=False)
    page = visitor.page
    await visitor.opens(None)
    await expect(page.locator("[data-dev=user-7]")).to_have_attribute("aria-pressed", "true")
    await page.locator("[data-dev=user-8]").click()
    await expect(page.locator("[data-dev=user-8]")).to_have_attribute("aria-pressed", "true")
    await page.locator("[data-dev='20:00:00']").click()
    await expect(page.locator("#now")).to_contain_text("20:00:0")
    await page.locator("[data-dev=neighbours]").click()
    await expect(page.locator("#people")).to_have_text("5")
    await button_is(page, "join")
    await page.locator("#act").click()
    await page.locator(".till-yes").click()
    await button_is(page, "wait")
    await page.locator("[data-dev='05:00:00']").click()
    await button_is(page, "check_in")
    await page.locator("#act").click()
    await button_is(page, "counting")
    await page.locator("[data-dev='08:05:00']").click()
    await button_is(page, "packet")
    await page.locator("#act").click()
    await page.locator("#packet-open").click()
    await expect(page.locator("#packet-money")).to_have_text("5.00")  # it has run up to there
    assert await page.locator("#sparks i").count() > 0
