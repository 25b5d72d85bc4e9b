"""What the page tells of rounds that are over, of the best, of the player and of the money."""

import asyncio
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.page.visitor import House, Visitor, button_is, call_back, fits

Visits = Callable[..., Any]


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
        (False, "Your stake is not lost: ¥1 is refunded."),
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
    await expect(page.locator("#result-title")).to_have_text(f"You missed the round of {day}")
    await expect(page.locator("#result-text")).to_have_text(text)
    await visitor.accessible("missed")
    await page.locator("#result-done").click()
    await expect(page.locator("#result")).to_be_hidden()
    await page.reload()
    await button_is(page, "join")
    await expect(page.locator("#result")).to_be_hidden()


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
    await expect(visitor.page.locator("#result-title")).to_have_text(f"You missed the round of {day}")
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
            await expect(visitor.page.locator("#result-title")).to_have_text(f"The round of {day} was called off")
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
    await expect(visitor.page.locator("#result-title")).to_have_text("No packet today: your stake is back")


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
