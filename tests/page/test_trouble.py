"""What goes wrong is said, and nothing is shown as done that the service has not acknowledged."""

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from clock.domain.outcomes import RETRY_AFTER_SECONDS
from clock.game.client.calls import connect
from tests.page.visitor import WATCH, House, Visitor, button_is, hinted, left_ms, without_bar

Visits = Callable[..., Any]

MORNING = "05:00:00"


@pytest.fixture
async def riser(house: House, visits: Visits, day: date, uid: int) -> Visitor:
    """A member in the morning, who has not checked in yet."""
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.joins(uid + 1)
    await house.it_is(day + timedelta(days=1), MORNING)
    visitor: Visitor = await visits(language="en")
    await visitor.opens(uid)
    await button_is(visitor.page, "check_in")
    return visitor


async def is_up(house: House, uid: int) -> int:
    status: int = (await house.does(uid, "/api/check-in/status"))["data"]["is_check_in"]
    return status


async def risers(house: House, uid: int) -> int:
    """Of the round that the user sees; figures may be a quarter of a second old."""
    await asyncio.sleep(0.3)
    count: int = (await house.does(uid, "/api/summary"))["data"]["summary"]["clock_user_num"]
    return count


async def test_offline_in_the_middle(house: House, riser: Visitor, uid: int) -> None:
    page = riser.page
    riser.expects("ERR_INTERNET_DISCONNECTED")
    await riser.context.set_offline(True)
    await expect(page.locator("#lost")).to_have_text("You are offline. This page updates when you are back")
    await page.evaluate(WATCH, "/api/check-in")
    await page.locator("#act").click()
    await hinted(page, "You are offline: trying again (1)")
    await riser.accessible("offline")
    await button_is(page, "check_in")
    assert await is_up(house, uid) == 0

    await riser.context.set_offline(False)
    await button_is(page, "counting")  # without another tap
    await expect(page.locator("#said")).to_have_text("Checked in")
    await expect(page.locator("#lost")).to_be_hidden()
    assert await is_up(house, uid) == 1


async def test_an_answer_that_is_lost_on_its_way(house: House, riser: Visitor, uid: int) -> None:
    """It was done, but nobody heard so: the page asks again, and it counts once."""
    page = riser.page
    riser.expects("ERR_CONNECTION_RESET")
    lost = asyncio.Event()

    async def swallow(route: Route) -> None:
        await route.fetch()
        await route.abort("connectionreset")
        lost.set()

    await page.route("**/api/check-in", swallow, times=1)
    await page.locator("#act").click()
    await lost.wait()
    await button_is(page, "check_in")
    assert await is_up(house, uid) == 1
    await button_is(page, "counting")
    assert await risers(house, uid) == 1


async def test_busy_at_the_opening_is_asked_again_politely(house: House, riser: Visitor, uid: int) -> None:
    page, asked, seen = riser.page, [], asyncio.Event()
    riser.expects("503")

    async def refuse(route: Route) -> None:
        asked.append(route)
        if len(asked) > 2:
            return await route.continue_()
        if len(asked) == 2:
            await seen.wait()
        body = {"status": 0, "code": "busy", "message": "busy", "data": {}}
        return await route.fulfill(status=503, json=body, headers={"retry-after": str(RETRY_AFTER_SECONDS["busy"])})

    await page.route("**/api/check-in", refuse)
    await page.evaluate(WATCH, "/api/check-in")
    await page.locator("#act").click()
    await hinted(page, "Many people are here: trying again (1)")
    await expect(page.locator("#act-text")).to_have_text("One moment")
    await page.locator("#act").click(force=True)  # impatience adds no request
    seen.set()
    await button_is(page, "counting")
    times_ms = await page.evaluate("askedAt")
    assert len(asked) == len(times_ms) == 3
    assert all(after - before >= RETRY_AFTER_SECONDS["busy"] * 1000 - 1 for before, after in pairwise(times_ms))


async def test_who_is_connected_is_not_told_to_be_offline(riser: Visitor) -> None:
    """A gateway before the service answers in its own words: the phone's connection is not to blame, nor the crowd."""
    page = riser.page
    riser.expects("502")
    asked, seen = [], asyncio.Event()

    async def gateway(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            return await route.fulfill(status=502, body="<h1>Bad gateway</h1>")
        await seen.wait()
        return await route.continue_()

    await page.route("**/api/check-in", gateway)
    await page.evaluate(WATCH, "/api/check-in")
    await page.locator("#act").click()
    await hinted(page, "The service does not answer: trying again (1)")
    await expect(page.locator("#lost")).to_contain_text("The service does not answer just now")
    seen.set()
    await button_is(page, "counting")
    await expect(page.locator("#lost")).to_be_hidden()


async def test_the_service_loses_its_store_in_the_middle(house: House, riser: Visitor, uid: int) -> None:
    page = riser.page
    riser.expects("503")
    redis = connect(house.redis_url)
    valkey: int = (await redis.info("server"))["process_id"]
    os.kill(valkey, signal.SIGSTOP)
    try:
        async with page.expect_response("**/api/check-in") as refusal:
            await page.locator("#act").click()
        assert (await refusal.value).status == 503
        await expect(page.locator("#lost")).to_contain_text("The service does not answer just now")
        await button_is(page, "check_in")
        await riser.accessible("away")
    finally:
        os.kill(valkey, signal.SIGCONT)
        await redis.aclose()
    await button_is(page, "counting")
    await expect(page.locator("#lost")).to_be_hidden()
    assert await is_up(house, uid) == 1


async def test_two_tabs_that_tap_at_once_count_once(house: House, riser: Visitor, day: date, uid: int) -> None:
    one, other = riser.page, await riser.context.new_page()
    await riser.opens(uid, page=other)
    await button_is(other, "check_in")
    await asyncio.gather(*(page.locator("#act").dispatch_event("click") for page in (one, other)))
    for page in (one, other):
        await button_is(page, "counting")
    assert await risers(house, uid) == 1

    await riser.travels(day + timedelta(days=1), "08:05:00")
    await other.evaluate("dispatchEvent(new Event('clock:moved'))")
    for page in (one, other):
        await button_is(page, "packet")
        await page.locator("#act").click()
    await asyncio.gather(*(page.locator("#packet-open").dispatch_event("click") for page in (one, other)))
    for page in (one, other):
        await expect(page.locator("#packet-parts")).to_have_text("Packet ¥1 + stake ¥1 = ¥2, credited")


async def tap(page: Page, selector: str) -> None:
    """In the tab in front; behind it, the browser draws once a second."""
    await page.bring_to_front()
    await page.locator(selector).click()


async def test_what_is_done_in_one_tab_shows_in_the_other(house: House, visits: Visits, day: date, uid: int) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid + 1)
    visitor: Visitor = await visits()
    one, other = visitor.page, await visitor.context.new_page()
    await visitor.opens(uid)
    await visitor.opens(uid, page=other)
    await button_is(other, "join")
    await tap(one, "#act")
    await tap(one, ".till-yes")
    await button_is(one, "wait")
    await button_is(other, "wait")

    await visitor.travels(tomorrow, MORNING)
    await other.evaluate("dispatchEvent(new Event('clock:moved'))")
    await button_is(other, "check_in")
    await tap(other, "#act")
    await button_is(other, "counting")
    await button_is(one, "counting")

    await visitor.travels(tomorrow, "08:05:00")
    await button_is(one, "packet")
    await other.evaluate("dispatchEvent(new Event('clock:moved'))")
    await button_is(other, "packet")
    await tap(one, "#act")
    await tap(one, "#packet-open")
    await expect(one.locator("#packet-money")).to_have_text("1.00")
    await button_is(other, "join")
    await expect(other.locator("#result-title")).to_have_text("今天的红包 ¥1")


@pytest.mark.parametrize("wrong_ms", [3_600_000, -3_600_000])
async def test_the_phones_clock_changes_nothing(
    house: House, visits: Visits, day: date, uid: int, wrong_ms: int
) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    visitor: Visitor = await visits()
    await visitor.context.add_init_script(
        f"const right = Date.now.bind(Date); Date.now = () => right() + {wrong_ms};"
        f"Date = new Proxy(Date, {{ construct: (date, given) => new date(...(given.length ? given : [Date.now()])) }});"
    )
    await visitor.opens(uid)
    page = visitor.page
    assert await page.evaluate("Math.abs(new Date() - performance.timeOrigin - performance.now()) > 3_500_000")
    await button_is(page, "wait")
    await expect(page.locator("#now")).to_contain_text("20:00")
    assert 8.9 * 3600_000 < await left_ms(page) <= 9 * 3600_000
    await visitor.travels(tomorrow, "04:59:58")
    await button_is(page, "check_in")
    await page.locator("#act").click()
    await button_is(page, "counting")


async def test_a_payment_that_nobody_confirmed_is_not_shown_as_done(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    visitor.expects("ERR_FAILED")
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.locator("#act").click()
    await page.locator(".till .plain").click()  # a change of mind: the order waits
    await button_is(page, "pay")
    await visitor.accessible("pay")
    order = (await house.joins(uid, paying=False))["order_no"]
    await page.route("**/dev/pay", lambda route: route.abort())
    await page.wait_for_timeout(1_300)  # sooner, it would be the second half of a double tap
    await page.locator("#act").click()
    await expect(page.locator(".till-yes")).to_be_visible()
    await expect(page.locator(".till .soft")).to_have_text(order)  # the same one
    await page.locator(".till-yes").click()
    await button_is(page, "confirming")
    await expect(page.locator("#people")).to_have_text("0")
    await visitor.accessible("confirming")
    await house.send("POST", "/dev/pay", {"order_no": order})
    await button_is(page, "wait")
    await expect(page.locator("#said")).to_have_text("Paid: you are in")


async def test_a_payment_that_is_under_way_outlives_the_page(house: House, visits: Visits, day: date, uid: int) -> None:
    """Paying leads out of the page and back: nobody is asked to pay again, and what arrives too late is said."""
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    visitor.expects("ERR_FAILED")
    await page.route("**/dev/pay", lambda route: route.abort())
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.locator("#act").click()
    await page.locator(".till-yes").click()
    await button_is(page, "confirming")
    await page.reload()
    await button_is(page, "confirming")
    await visitor.travels(day + timedelta(days=1), "00:10:00")
    await button_is(page, "join")
    await expect(page.locator("#said")).to_contain_text("Joining has closed. Once your payment has arrived")


async def test_without_anybody_to_pay_with_the_page_says_so(house: House, visits: Visits, day: date, uid: int) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await without_bar(visitor)
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.locator("#act").click()
    await button_is(page, "pay")
    await expect(page.locator("#said")).to_have_text("Please pay inside the app")


async def test_a_settlement_that_takes_its_time(house: House, riser: Visitor, day: date) -> None:
    page = riser.page
    await page.locator("#act").click()
    await button_is(page, "counting")
    await riser.travels(day + timedelta(days=1), "08:05:00")
    await button_is(page, "packet")
    envelope = {"status": 0, "code": "not_settled", "message": "", "data": {}}
    await page.route("**/api/claim", lambda route: route.fulfill(json=envelope), times=4)
    await page.evaluate(WATCH, "/api/claim")
    await page.locator("#act").click()
    await page.locator("#packet-open").click()
    await expect(page.locator("#packet-text")).to_have_text("Being settled: it may take a while, and nothing is lost")
    await expect(page.locator("#packet-sum")).to_be_hidden()
    await expect(page.locator("#packet-money")).to_have_text("1.00", timeout=20_000)
    asked = await page.evaluate("askedAt")
    assert asked[3] - asked[2] > 1.4 * (asked[1] - asked[0])  # 0.8 × 2.25 at least, against 1.2


async def test_a_token_that_has_expired(house: House, visits: Visits, day: date, uid: int) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    visitor.expects("401")
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.evaluate(
        "sessionStorage['clock.caller'] = sessionStorage['clock.caller'].replace('\"token\":\"', '$&x')"
    )
    await page.reload()
    await button_is(page, "expired")
    await expect(page.locator("#hint")).to_have_text("Your session has ended, please open this page from the app again")
    await expect(page.locator("#remind-card")).to_be_hidden()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_the_token_does_not_stay_in_the_address(house: House, visits: Visits, uid: int) -> None:
    visitor: Visitor = await visits()
    await visitor.opens(uid)
    await expect(visitor.page.locator("#now")).not_to_contain_text("--")
    assert visitor.page.url == f"{house.url}/"


async def waits_between_polls(page: Page) -> list[float]:
    """Seconds until the next one, as planned after each of some polls."""
    await page.evaluate("waits.length = 0")
    async with asyncio.timeout(10):
        for number in range(8):
            await page.evaluate("dispatchEvent(new Event('clock:moved'))")
            while await page.evaluate("waits.length") <= number:
                await page.wait_for_timeout(10)
    waits: list[float] = await page.evaluate("waits.map((ms) => ms / 1000)")
    return waits


async def test_polls_are_spread_and_rare_while_nobody_looks(house: House, visits: Visits, uid: int) -> None:
    visitor: Visitor = await visits()
    await visitor.context.add_init_script(
        "const later = setTimeout; window.waits = [];"  # 10,000: how long a request may take
        "setTimeout = (run, ms) => { if (ms > 5000 && ms !== 10000) waits.push(ms); return later(run, ms); };"
        "window.away = false; Object.defineProperty(document, 'hidden', { get: () => away });"
    )
    await visitor.opens(uid)
    page = visitor.page
    await expect(page.locator("#now")).not_to_contain_text("--")
    seen = await waits_between_polls(page)
    assert all(7 <= wait <= 13 for wait in seen)
    assert len(set(seen)) > 1
    await page.evaluate("away = true")
    hidden = await waits_between_polls(page)
    assert all(42 <= wait <= 78 for wait in hidden)


async def test_the_tests_notice_what_a_page_must_not_do(house: House, visits: Visits) -> None:
    """Requests to elsewhere, inline scripts and markup from strings are stopped by the browser, and seen by us."""
    for forbidden in (
        "fetch('http://127.0.0.1:9/').catch(() => 0)",
        "document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/' }))",
        "try { document.body.innerHTML = '<b>x</b>' } catch (error) { console.error(error) }",
        "document.head.append(Object.assign(document.createElement('style'), { textContent: 'b { color: red }' }))",
        "console.error('anything')",
        "setTimeout(() => { throw new Error('anything') })",
    ):
        visitor: Visitor = await visits()
        await visitor.opens(None)
        await visitor.page.evaluate(f"() => {{ {forbidden} }}")
        async with asyncio.timeout(5):
            while not visitor.problems:
                await visitor.page.wait_for_timeout(10)
        visitor.problems.clear()
        await visitor.context.close()
