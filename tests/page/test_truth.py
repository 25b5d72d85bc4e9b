"""Each state of a life is told as the service says it, in words that are true for this player."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.page.visitor import House, Visitor, button_is, call_back, without_bar

Visits = Callable[..., Any]

HOST = """
    window.heard = [];
    for (const name of ["clock:pay", "clock:expired"])
        addEventListener(name, (event) => { event.preventDefault(); heard.push([name, event.detail]); });
"""
"""A host app that takes orders and waits."""

MOVED = "dispatchEvent(new Event('clock:moved'))"


@asynccontextmanager
async def said_otherwise(page: Page, **changes: Any) -> AsyncIterator[None]:
    """The summary with other values of some fields; a dictionary changes the fields in it."""

    async def other(route: Route) -> None:
        reply = await route.fetch()
        envelope = await reply.json()
        summary = envelope["data"]["summary"]
        for name, value in changes.items():
            summary[name] = {**(summary.get(name) or {}), **value} if isinstance(value, dict) else value
        await route.fulfill(response=reply, json=envelope)

    await page.route("**/api/summary", other)
    await page.evaluate(MOVED)
    yield
    await page.unroute("**/api/summary", other)
    await page.evaluate(MOVED)


async def test_an_order_is_known_again_asked_for_once_and_looked_into(
    house: House, place: Path, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    order = (await house.joins(uid, paying=False))["order_no"]
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await without_bar(visitor)
    await page.add_init_script(HOST)
    await visitor.opens(uid)  # nothing is remembered here: the service knows of the order
    await button_is(page, "pay")
    await expect(page.locator("#hint")).to_contain_text("do not pay twice")
    await visitor.accessible("pay")
    await page.locator("#act").dblclick()
    await expect(page.locator("#act")).to_have_attribute("aria-disabled", "false")
    assert await page.evaluate("heard.map(([name, order]) => [name, order.order_no])") == [["clock:pay", order]]
    await page.evaluate("heard[0][1].done()")
    await button_is(page, "confirming")
    await page.reload()
    await button_is(page, "confirming")

    paid = {"buyerId": f"open-{uid}", "transactionId": f"T{uid}"}
    assert await call_back(house, place, order, **{**paid, "amount": 1}) == "amount_mismatch"
    await button_is(page, "checking")
    await expect(page.locator("#act")).to_have_attribute("aria-disabled", "true")
    await expect(page.locator("#hint")).to_contain_text("not lost: do not pay again")
    await visitor.accessible("checking")
    assert await call_back(house, place, order, **paid) == "paid"
    await page.evaluate(MOVED)
    await button_is(page, "wait")


async def test_a_token_that_expires_while_a_stake_is_in_the_round(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    visitor: Visitor = await visits(language="en")
    visitor.expects("401")
    page = visitor.page
    await page.add_init_script(HOST)
    await visitor.opens(uid)
    await button_is(page, "wait")
    envelope = {"status": 0, "code": "unauthenticated", "message": "", "data": {}}
    await page.route("**/api/summary", lambda route: route.fulfill(status=401, json=envelope), times=1)
    await page.evaluate(MOVED)
    await button_is(page, "expired")
    await expect(page.locator("#hint")).to_have_text(
        f"Your session has ended. Your stake of ¥1 is in the round of {day}: "
        "open this page from the app again and check in before 08:00"
    )
    await visitor.accessible("expired")
    [[name, detail]] = await page.evaluate("heard")
    assert (name, detail["uid"], detail["stake"]["round"]) == ("clock:expired", uid, str(day))
    await visitor.opens(uid)  # the host hands over a new token, in the same page
    await button_is(page, "wait")
    await expect(page.locator("#said")).to_have_text("")
    await expect(page.locator("#lost")).to_be_hidden()


TAP_AT_ONCE = """
    new MutationObserver(() => {
        const button = document.getElementById("act");
        if (button.dataset.kind !== "join" || window.shown) return;
        window.shown = {
            result: !document.getElementById("result").hidden,
            inert: button.getAttribute("aria-disabled") === "true",
        };
        button.click();
    }).observe(document.getElementById("act"), { attributes: true });
"""


async def test_no_button_changes_its_meaning_under_a_finger(house: House, visits: Visits, day: date, uid: int) -> None:
    """A round is called off while the finger is on its way to *check in*: it must not join today's round."""
    tomorrow = day + timedelta(days=1)
    operator = await house.token(1, "operator")
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.it_is(tomorrow, "05:30:00")
    visitor: Visitor = await visits(language="en")
    page, asked = visitor.page, []
    await visitor.opens(uid)
    await button_is(page, "check_in")
    await house.send("POST", f"/ops/rounds/{day}/void", {"reason": "a storm"}, operator)
    await asyncio.sleep(0.3)
    page.on("request", lambda request: asked.append(request.url))
    await page.evaluate(TAP_AT_ONCE)
    await page.evaluate(MOVED)
    await button_is(page, "join")
    assert await page.evaluate("shown") == {"result": True, "inert": True}
    await expect(page.locator("#act")).to_have_attribute("aria-disabled", "false")
    assert not any(url.endswith("/api/join") for url in asked)
    await expect(page.locator("#result-title")).to_have_text(f"The round of {day} was called off")
    await expect(page.locator("#result-text")).to_have_text("Your stake of ¥1 is refunded; there are no packets.")
    await page.locator("#result-done").click()
    await expect(page.locator("#result")).to_be_hidden()


async def test_why_there_is_nothing_in_a_packet(house: House, visits: Visits, day: date, uid: int) -> None:
    """Everybody got up, or the sleepers left fewer fen than there are winners: these are not the same."""
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.it_is(tomorrow, "05:00:00")
    await house.does(uid, "/api/check-in")
    await house.it_is(tomorrow, "08:05:00")
    await house.settled(day)
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "packet")
    await page.locator("#act").click()
    await page.locator("#packet-open").click()
    await expect(page.locator("#packet-text")).to_have_text(
        "Everybody got up, so there was nothing to share: your stake comes back"
    )
    async with said_otherwise(page, result={"sleepers": 1}):
        await expect(page.locator("#packet-text")).to_contain_text("1 overslept and left fewer cents")
    async with page.expect_response("**/api/alert/ack"):
        await page.locator("#packet-done").click()
    await expect(page.locator("#result-title")).to_have_text("No packet today: your stake is back")


async def test_rules_are_those_of_the_shown_round_and_tomorrows_are_said_before(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "join")
    rules = (await house.does(uid, "/api/summary"))["data"]["summary"]["rules"]
    later = {name: value + 86_400_000 if name.endswith("_ms") and value else value for name, value in rules.items()}
    following = {
        "round": str(day + timedelta(days=1)),
        "rules": {**later, "stake_fen": 200},
        "campaign": {"zh": "元旦", "en": "New Year"},
    }
    await expect(page.locator("#next")).to_be_hidden()
    async with said_otherwise(page, rules={"fee_bps": 500, "lucky_count": 2, "lucky_bps": 1000}, next=following):
        await expect(page.locator("#next-title")).to_have_text(f"Other rules in the round of {day + timedelta(days=1)}")
        await expect(page.locator("#next-campaign")).to_have_text("New Year")
        await expect(page.locator("#next-rules li").first).to_contain_text("for a stake of ¥2")
        await page.locator(".rules summary").click()
        await expect(page.locator("#rules li")).to_have_count(9)
        await expect(page.locator("#rules li").first).to_have_text(
            "Join between 00:00 and 24:00 for a stake of ¥1. "
            "If you were in yesterday's round, you can join again after it is settled at 08:05."
        )
        await expect(page.locator("#rules")).to_contain_text("First, 2 of them share 10% of it.")
        await expect(page.locator("#rules")).to_contain_text("The fee is 5%")
        await visitor.accessible("rules")
    await expect(page.locator("#next")).to_be_hidden()


async def test_after_sleep_the_time_is_asked_for_before_it_is_told(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    visitor: Visitor = await visits(language="en")
    visitor.expects("503")
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "wait")
    body = {"status": 0, "code": "unavailable", "message": "", "data": {}}
    asked, seen = [], asyncio.Event()

    async def away_once(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            return await route.fulfill(status=503, json=body, headers={"retry-after": "1"})
        await seen.wait()
        return await route.continue_()

    await page.route("**/api/summary", away_once)
    began = asyncio.get_running_loop().time()
    await page.evaluate("{ const now = Date.now.bind(Date); Date.now = () => now() + 3_600_000; }")
    await button_is(page, "loading")
    await expect(page.locator("#act-time")).to_have_text("")
    seen.set()
    await button_is(page, "wait")
    assert asyncio.get_running_loop().time() - began < 6


async def test_an_answer_that_was_asked_for_before_does_not_switch_the_reminder_back(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    page, held, go_on = visitor.page, asyncio.Event(), asyncio.Event()
    await visitor.opens(uid)
    await button_is(page, "join")

    async def hold(route: Route) -> None:
        reply = await route.fetch()
        held.set()
        await go_on.wait()
        await route.fulfill(response=reply)

    await page.route("**/api/summary", hold, times=1)
    await page.evaluate(MOVED)
    await held.wait()
    switch = page.get_by_role("switch")
    async with page.expect_response("**/api/remind"):
        await switch.click()
    await expect(switch).to_be_checked()
    async with page.expect_response("**/api/summary"):
        go_on.set()
    await page.wait_for_load_state("networkidle")
    await expect(switch).to_be_checked()


@pytest.mark.parametrize(
    ("language", "text"), [("en", "What did not arrive is not lost"), ("zh", "没有到账的钱没有丢")]
)
async def test_money_that_did_not_arrive_is_not_lost(
    house: House, visits: Visits, day: date, uid: int, language: str, text: str
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language=language)
    page = visitor.page
    line = {"title": "a transfer", "round": str(day), "created_at": 1_900_000_000_000, "kind": "payout"}
    items = [{**line, "money": -100, "state": "failed"}, {**line, "money": 0, "state": None}]
    envelope = {"status": 1, "code": "ok", "message": "", "data": {"total": 2, "items": items}}
    await page.route("**/api/me/history*", lambda route: route.fulfill(json=envelope))
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.locator("[data-to=me]").click()
    await expect(page.locator("#events-help")).to_contain_text(text)
    await expect(page.locator("#events .money")).to_have_text(["−1.00", "0.00"])
    await visitor.accessible("a failed transfer")
