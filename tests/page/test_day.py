"""A whole day at phone size, in both languages, by touch and by keyboard; every state of it is accessible."""

import asyncio
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.page.visitor import DESKTOP, PHONE, House, Language, Visitor, call_back

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


async def button_is(page: Page, kind: str) -> None:
    await expect(page.locator("#act")).to_have_attribute("data-kind", kind)


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


async def left_ms(page: Page) -> int:
    """What the button's countdown shows."""
    hours, minutes, seconds = map(int, (await page.locator("#act-time").inner_text()).split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * 1000


async def fits(visitor: Visitor) -> None:
    """Nothing makes the page scroll sideways."""
    assert await visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize(("language", "dark"), [("zh", False), ("en", True)])
async def test_a_whole_day(house: House, visits: Visits, day: date, uid: int, language: Language, dark: bool) -> None:
    words, tomorrow = WORDS[language], day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    for sleeper in range(uid + 1, uid + 4):
        await house.joins(sleeper, "<b>Lin</b>")
    visitor: Visitor = await visits(language=language, dark=dark)
    page = visitor.page
    act, said = page.locator("#act"), page.locator("#said")

    # A guest sees the figures, and nothing to tap.
    await visitor.opens(None)
    await page.locator("[data-dev=guest]").click()
    await button_is(page, "guest")
    await expect(page.locator("#pool")).to_have_text("3.00")
    await expect(page.locator("#people")).to_have_text("3")
    await visitor.accessible("guest")

    # In the evening one joins, and pays.
    await visitor.opens(uid)
    await page.reload()  # who opened it is still known
    await button_is(page, "join")
    await expect(page.locator("#act-text")).to_have_text(words["join"])
    await visitor.accessible("join")
    await fits(visitor)
    await act.click()
    await page.locator(".till-sum").wait_for()
    await visitor.accessible("till")
    await button_is(page, "pay")  # an order is not a membership
    await page.locator(".till-yes").click()
    await button_is(page, "wait")
    await expect(page.locator("#act-text")).to_have_text(words["wait"])
    await expect(said).to_have_text(words["paid"])
    await expect(page.locator("#pool")).to_have_text("4.00")
    assert 8.9 * 3600_000 < await left_ms(page) <= 9 * 3600_000
    await visitor.accessible("wait")

    # Seconds before five the countdown is short; at five the button changes by itself.
    await visitor.travels(tomorrow, "04:59:58")
    await button_is(page, "check_in")
    await expect(page.locator("#act-text")).to_have_text(words["check_in"])
    await visitor.accessible("check_in")
    await act.click()
    await button_is(page, "counting")
    await expect(said).to_have_text(words["checked_in"])
    await expect(page.locator("#act-text")).to_have_text(words["counting"])
    await expect(page.locator("#risers")).to_have_text("1")
    assert 3 * 3600_000 < await left_ms(page) <= 3.1 * 3600_000
    await visitor.accessible("counting")

    # At 08:05 there is a packet: three slept, so it holds their stakes.
    await visitor.travels(tomorrow, "08:04:59")
    await button_is(page, "packet")
    await expect(page.locator("#act-text")).to_have_text(words["packet"])
    await visitor.accessible("packet")
    await act.click()
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

    # The rules, the board and one's own account.
    await page.locator(".rules summary").click()
    await expect(page.locator("#rules li")).to_have_count(7)
    await visitor.accessible("rules")
    await page.locator("[data-to=board]").click()
    await expect(page.locator("#board-card")).to_be_visible()
    await visitor.accessible("board")
    await page.locator("[data-to=me]").click()
    await expect(page.locator("#events li").first).to_be_visible()
    await visitor.accessible("me")
    await fits(visitor)

    # The other language is a tap away, everywhere at once, and stays chosen.
    await page.locator("#tongue").click()
    other = WORDS["en" if language == "zh" else "zh"]
    await page.reload()
    await expect(page.locator("#act-text")).to_have_text(other["join"])
    await expect(page.locator("html")).to_have_attribute("lang", "en" if language == "zh" else "zh-CN")


async def hold(route: Route) -> None:
    """An answer that takes two seconds."""
    await asyncio.sleep(2)
    await route.continue_()


async def test_who_oversleeps_is_told_so(house: House, visits: Visits, day: date, uid: int) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.joins(uid + 1)
    await house.it_is(tomorrow, "05:00:00")
    await house.does(uid + 1, "/api/check-in")
    visitor: Visitor = await visits(language="en", size=DESKTOP)
    page = visitor.page
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
    await page.route("**/api/summary", hold)
    await button_is(page, "loading")
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

    await visitor.opens(uid)
    await button_is(page, "join")
    await tab_to("#act")
    await page.keyboard.press("Enter")
    await tab_to(".till-yes")
    await page.keyboard.press("Space")
    await button_is(page, "wait")
    await visitor.travels(tomorrow, "05:00:00")
    await button_is(page, "check_in")
    await tab_to("#act")
    await page.keyboard.press("Space")
    await button_is(page, "counting")
    await focus_is_on("#act")
    await visitor.travels(tomorrow, "08:05:00")
    await button_is(page, "packet")
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
    """The button's countdown is silent; a new state is announced in one sentence."""
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "wait")
    await expect(page.locator("#announced")).to_have_text("")
    await visitor.travels(day + timedelta(days=1), "04:59:59")
    await button_is(page, "check_in")
    await expect(page.locator("#announced")).to_have_text(
        re.compile(r"^Check in \d\d:\d\d:\d\d left: one tap is enough$")
    )
    assert await page.locator("#act-time").get_attribute("aria-live") == "off"
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


async def test_the_reminder_is_on_when_the_service_says_so(house: House, visits: Visits, day: date, uid: int) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    visitor.expects("503")
    page = visitor.page
    await visitor.opens(uid)
    switch = page.get_by_role("switch", name="Wake-up reminder")
    body = {"status": 0, "code": "unavailable", "message": "", "data": {}}
    await page.route("**/api/remind", lambda route: route.fulfill(status=503, json=body), times=1)
    async with page.expect_response("**/api/remind"):
        await switch.click()
    await expect(switch).not_to_be_checked()
    await expect(switch).to_be_checked()  # asked again, and answered
    await expect(page.locator("#said")).to_have_text("The wake-up reminder is on")
    await page.reload()
    await expect(switch).to_be_checked()
    await visitor.accessible("reminder")


async def test_the_best_the_board_and_the_last_round(house: House, visits: Visits, day: date, uid: int) -> None:
    """Others are a name and a masked number, and a name is never markup."""
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid, "<b>Lin</b>")
    await house.joins(uid + 1)
    await house.it_is(tomorrow, "05:00:00")
    await house.does(uid, "/api/check-in")
    await house.it_is(tomorrow, "08:05:00")
    assign = await house.claims(uid)
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    talents = page.locator("#talents li")
    async with asyncio.timeout(30):
        texts: list[str] = []
        while not (
            len(texts) == 3 and await page.locator("#round-day").text_content() == str(day) and "¥1" in texts[1]
        ):
            await visitor.opens(None)  # the luckiest is known last, when the board has the round
            await page.wait_for_load_state("networkidle")
            texts = await talents.all_inner_texts()
    assert texts[2].endswith("05:00:00")
    figures = (await page.locator("#round-figures dd").all_inner_texts())[:4]
    assert figures == ["2", "1", "1", "¥1"]
    await page.locator("#round-card summary").click()
    for published in ("#seed-hash", "#seed"):
        await expect(page.locator(published)).to_have_text(re.compile("^[0-9a-f]{64}$"))
    await visitor.accessible("last round")
    await fits(visitor)

    await page.locator("[data-to=board]").click()
    await expect(talents.first).to_contain_text("<b>Lin</b>")
    row = page.locator("#ranks li", has_text=f"138****{uid % 10_000:04}")
    await expect(row).to_contain_text("<b>Lin</b>")
    await expect(row).to_contain_text(f"¥{assign['money'] // 100}")
    assert f"138{uid:08}" not in await page.content()
    await visitor.accessible("board")
    await fits(visitor)


@pytest.mark.parametrize(
    ("up", "text"),
    [
        (True, "Your stake went to those who got up. Sleep early and come back."),
        (False, "If nobody checks in, every stake is refunded."),
    ],
)
async def test_a_result_waits_until_it_has_been_seen(
    house: House, visits: Visits, day: date, uid: int, up: bool, text: str
) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.joins(uid + 1)
    await house.it_is(tomorrow, "05:00:00")
    if up:
        await house.does(uid + 1, "/api/check-in")
    await house.it_is(tomorrow, "08:05:00")
    await house.settled(day)
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await visitor.opens(uid)
    await expect(page.locator("#result-title")).to_have_text("You missed yesterday's round")
    await expect(page.locator("#result-text")).to_have_text(text)
    await visitor.accessible("missed")
    await page.locator("#result-done").click()
    await expect(page.locator("#result")).to_be_hidden()
    await page.reload()
    await button_is(page, "join")
    await expect(page.locator("#result")).to_be_hidden()


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
    await page.route("**/web/dev.js", lambda route: route.fulfill(content_type="text/javascript"))
    await page.add_init_script(SHIFTS)
    page.on("request", lambda request: asked.append(request.url.removeprefix(house.url).partition("?")[0]))
    await visitor.opens(uid)
    await button_is(page, "wait")
    await page.wait_for_load_state("networkidle")
    always = ["/api/me/yesterday", f"/api/rounds/{day - timedelta(days=1)}", "/api/summary", "/api/talents"]
    more = ["/api/board", "/api/me", "/api/me/history"] if size == DESKTOP else []
    assert sorted(path for path in asked if path.startswith("/api")) == sorted([*always, *more])
    assert await page.evaluate("shifts") < 0.02
    if size == PHONE:
        await page.locator("[data-to=me]").click()
        await expect(page.locator("#info dd").first).to_be_visible()
        assert {"/api/me", "/api/me/history"} <= set(asked)


CLIPPED = """
    () => [...document.querySelectorAll('.figures :is(dd, dt), .act span, .grid :is(dd, dt), .talents *')]
        .filter((node) => node.offsetParent && !node.matches('strong'))
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


async def test_who_paid_late_and_overslept_is_not_told_that_the_stake_is_lost(
    house: House, place: Path, visits: Visits, day: date, uid: int
) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    order = (await house.joins(uid + 1, paying=False))["order_no"]
    await house.it_is(tomorrow, "05:00:00")
    paid = {"buyerId": f"open-{uid + 1}", "transactionId": f"T{uid}", "notify_time": f"{day} 23:50:00"}
    assert await call_back(house, place, order, **paid) == "paid"
    await house.does(uid, "/api/check-in")
    await house.it_is(tomorrow, "08:05:00")
    await house.settled(day)
    visitor: Visitor = await visits(language="en")
    await visitor.opens(uid + 1)
    await expect(visitor.page.locator("#result-title")).to_have_text("You missed yesterday's round")
    await expect(visitor.page.locator("#result-text")).to_have_text(re.compile("refunded"))
    await expect(visitor.page.locator("#result-text")).not_to_have_text(re.compile("Your stake went to"))


async def test_a_round_that_is_called_off_is_said(house: House, visits: Visits, day: date, uid: int) -> None:
    """In the morning, to who had paid for it and to nobody else; in the evening, instead of asking to join again."""
    tomorrow = day + timedelta(days=1)
    operator = await house.token(1, "operator")
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.it_is(tomorrow, "05:30:00")
    await house.does(uid, "/api/check-in")
    await house.send("POST", f"/ops/rounds/{day}/void", {"reason": "a storm"}, operator)
    for someone, told in ((uid, True), (uid + 1, False)):
        visitor: Visitor = await visits(language="en")
        await visitor.opens(someone)
        await button_is(visitor.page, "join")
        await visitor.page.wait_for_load_state("networkidle")
        await expect(visitor.page.locator("#result")).to_be_visible(visible=told)
        if told:
            await expect(visitor.page.locator("#result-title")).to_have_text("Yesterday's round was called off")
            await visitor.accessible("called off")

    await house.joins(uid + 1)
    await house.send("POST", f"/ops/rounds/{tomorrow}/void", {"reason": "another"}, operator)
    await asyncio.sleep(0.3)
    await visitor.page.evaluate("dispatchEvent(new Event('clock:moved'))")
    await button_is(visitor.page, "called_off")
    await expect(visitor.page.locator("#hint")).to_contain_text("Every stake is refunded")
    await visitor.accessible("called off today")


async def test_a_round_without_players_has_no_best_and_no_figures(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    await house.it_is(day + timedelta(days=1), "08:05:00")
    await house.settled(day)
    visitor: Visitor = await visits(language="en")
    await visitor.opens(None)
    await expect(visitor.page.locator("#round-day")).to_have_text(str(day))
    await expect(visitor.page.locator("#round-empty")).to_have_text("Nobody joined this round")
    await expect(visitor.page.locator("#round-figures")).to_be_hidden()
    await visitor.page.locator("[data-to=board]").click()
    await expect(visitor.page.locator("#talents li").nth(1)).to_contain_text("Nobody")
    await visitor.accessible("nobody")


async def test_a_packet_that_was_opened_elsewhere_is_not_offered_again(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.it_is(tomorrow, "05:00:00")
    await house.does(uid, "/api/check-in")
    await house.it_is(tomorrow, "08:05:00")
    await house.settled(day)
    visitor: Visitor = await visits(language="en")
    await visitor.opens(uid)
    await button_is(visitor.page, "packet")
    await house.claims(uid)
    await visitor.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await button_is(visitor.page, "join")
    await expect(visitor.page.locator("#result-title")).to_have_text("Your last round is settled")


async def test_my_mornings_and_my_account(house: House, visits: Visits, day: date, uid: int) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.joins(uid + 1)
    await house.it_is(tomorrow, "05:00:00")
    await house.does(uid, "/api/check-in")
    await house.it_is(tomorrow, "08:05:00")
    await house.claims(uid)
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "join")
    rows = page.locator("#events li")
    async with asyncio.timeout(20):
        while not (await page.locator("#info dd").all_inner_texts() and await rows.count() >= 3):
            await page.locator("[data-to=me]").click()  # the books follow within a second
            await page.wait_for_load_state("networkidle")
    await expect(page.locator("#info dd")).to_have_text(["1 day", "1 day", "1 day", "1", "¥1", "¥1"])
    amounts = await page.locator("#events .money").all_inner_texts()
    assert sorted(amounts)[:2] == ["+1.00", "+1.00"]
    assert "−1.00" in amounts
    await visitor.accessible("my account")
    await page.locator("[data-dev=guest]").click()
    await expect(rows).to_have_count(0)
    await expect(page.locator("#info-card")).to_be_hidden()


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
