"""Phones of 2019: what their browsers lack costs only what it would be used for, and who cannot play is told so."""

import base64
import hashlib
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from playwright.async_api import expect

from clock.config import Settings
from clock.http.pages import document
from clock.http.web.linker import linked
from tests.page.visitor import House, Visitor, button_is

Visits = Callable[..., Any]

OLD = """
    delete AbortSignal.timeout;
    delete window.BroadcastChannel;
    delete window.structuredClone;
    delete Array.prototype.at;
    delete Array.prototype.findLast;
    delete Object.hasOwn;
    delete Promise.any;
    delete crypto.randomUUID;
    for (const name of ["show", "showModal", "close"]) delete HTMLDialogElement.prototype[name];
    delete window.HTMLDialogElement;
"""
"""iOS 14 and Android WebView 90."""

NO_STORAGE = """
    for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, {value: null});
"""
FORBIDDEN = """
    for (const name of ["localStorage", "sessionStorage"])
        Object.defineProperty(window, name, {get() { throw new DOMException("denied", "SecurityError"); }});
"""
FULL = """
    Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
"""


@pytest.mark.parametrize("lacks", [OLD + NO_STORAGE, OLD + FORBIDDEN, OLD + FULL], ids=["none", "forbidden", "full"])
async def test_a_day_is_played_on_an_old_phone(house: House, visits: Visits, day: date, uid: int, lacks: str) -> None:
    tomorrow = day + timedelta(days=1)
    await house.it_is(day, "20:00:00")
    await house.joins(uid + 1)
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await page.add_init_script(lacks)
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.locator("#tongue").click()
    await page.locator("#tongue").click()
    await page.locator("#act").click()
    await page.locator(".till-yes").click()
    await button_is(page, "wait")
    await visitor.travels(tomorrow, "05:00:01")
    await button_is(page, "check_in")
    await page.locator("#act").click()
    await button_is(page, "counting")
    await expect(page.locator("#receipts li").last).to_contain_text("checked in: receipt kept")
    await visitor.travels(tomorrow, "08:05:01")
    await house.settled(day)
    await button_is(page, "packet")
    await page.locator("#act").click()
    await expect(page.locator("#packet")).to_be_visible()
    await page.locator("#packet-close").click()
    await expect(page.locator("#packet")).to_be_hidden()
    await page.locator("#act").click()
    await page.locator("#packet-open").click()
    await expect(page.locator("#packet-parts")).to_have_text("Packet ¥1 + stake ¥1 = ¥2, credited")
    await page.locator("#packet-done").click()
    await expect(page.locator("#packet")).to_be_hidden()
    await expect(page.locator("#result")).to_be_visible()


def broken() -> dict[str, Any]:
    """The page as an older parser reads newer words: its largest script has an error."""
    page, script = document(Settings(env="prod")), linked("page.js")
    wrong = script.replace("return { ", "return @ { ", 1)
    right, other = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (script, wrong))
    policy = page.headers["content-security-policy"].replace(right, other)
    headers = {**page.headers, "content-security-policy": policy, "content-type": "text/html; charset=utf-8"}
    return {"body": page.html.replace(script, wrong), "headers": headers}


@pytest.mark.parametrize(("language", "text"), [("en", "This page cannot start here"), ("zh", "页面无法启动")])
async def test_a_browser_that_cannot_run_the_page_is_told_so(
    house: House, visits: Visits, day: date, language: str, text: str
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language=language)
    visitor.expects("SyntaxError|Unexpected|Invalid")
    await visitor.page.route(f"{house.url}/", lambda route: route.fulfill(**broken()))
    await visitor.opens(None)
    await expect(visitor.page.locator("#lost")).to_contain_text(text)


async def test_a_page_that_runs_says_nothing_of_the_kind(house: House, visits: Visits, day: date, uid: int) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    await visitor.opens(uid)
    await button_is(visitor.page, "join")
    await expect(visitor.page.locator("#lost")).to_be_hidden()
