"""The page comes as one document that the browser keeps, and learns from the summary that there is a newer one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import date

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from clock.config import Settings
from clock.http.pages import document
from tests.page.visitor import House, Visitor, button_is, visitor

PASSED_ON = ("authorization", "content-type", "accept-language")
NOT_PASSED_ON = ("content-encoding", "content-length", "transfer-encoding", "connection")
NEWEST = document(Settings(env="dev")).version

HIDDEN = "Object.defineProperty(document, 'hidden', { get: () => true });"


class Before:
    """What stands before the service and can still have an older page. ``changes``: what it makes of the next answers
    with the page; ``asked`` are the paths."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.changes: list[Callable[[str], str]] = []
        self.asked: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        url, body = self.house.url + str(request.rel_url), await request.read()
        async with self.house.session.request(request.method, url, headers=headers, data=body) as reply:
            text = await reply.text()
            lines = {name: value for name, value in reply.headers.items() if name.lower() not in NOT_PASSED_ON}
        if request.path == "/" and self.changes:
            text = self.changes.pop(0)(text)
        return web.Response(status=reply.status, text=text, headers=lines)

    def documents(self) -> int:
        return self.asked.count("/")


def older(text: str) -> str:
    return text.replace(f'data-page="{NEWEST}"', 'data-page="an older one"')


def broken(text: str) -> str:
    """An older page whose large script does not run."""
    return older(text).replace('(() => {\n"use strict";', '(() => {\n"used strict";')


@pytest.fixture
async def before(house: House) -> AsyncIterator[Before]:
    place, app = Before(house), web.Application()
    app.router.add_route("*", "/{path:.*}", place.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    place.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield place
    await runner.cleanup()


@pytest.fixture
async def member(house: House, before: Before, browser: Browser, day: date, uid: int) -> AsyncIterator[Visitor]:
    """A member who waits for the morning, and opens the page as it comes through :class:`Before`."""
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    async with visitor(browser, House(before.url, house.redis_url, house.session)) as someone:
        yield someone


async def version_is(visitor: Visitor, version: str) -> None:
    await expect(visitor.page.locator("html")).to_have_attribute("data-page", version)


async def test_a_page_that_is_kept_is_opened_without_a_question_for_it(
    before: Before, member: Visitor, uid: int
) -> None:
    """And nothing but the summary is needed until the button says what is."""
    for needed in (["/", "/api/summary"], ["/api/summary"]):
        page = await member.context.new_page()
        before.asked.clear()
        await member.opens(uid, page=page)
        await button_is(page, "wait")
        assert [path for path in before.asked if path != "/dev/token"][: len(needed)] == needed
        assert before.documents() == needed.count("/")
        assert {path for path in before.asked if path.startswith("/web/")} <= {"/web/icon.svg"}


async def test_an_older_page_is_new_at_the_next_opening(before: Before, member: Visitor, uid: int) -> None:
    before.changes = [older]
    await member.opens(uid)
    await button_is(member.page, "wait")
    async with asyncio.timeout(10):
        while before.documents() < 2:
            await asyncio.sleep(0.02)
    await member.page.wait_for_load_state("networkidle")
    await version_is(member, "an older one")  # nobody's page is taken from under the finger
    other = await member.context.new_page()
    await member.opens(uid, page=other)
    await button_is(other, "wait")
    assert await other.locator("html").get_attribute("data-page") == NEWEST
    assert before.documents() == 2


async def test_an_older_page_that_nobody_looks_at_opens_the_new_one_itself(
    before: Before, member: Visitor, uid: int
) -> None:
    before.changes = [older]
    await member.page.add_init_script(HIDDEN)
    await member.opens(uid)
    await version_is(member, NEWEST)
    await button_is(member.page, "wait")


async def test_an_older_page_that_does_not_run_mends_itself(before: Before, member: Visitor, uid: int) -> None:
    member.expects("Content Security Policy")
    before.changes = [broken]
    await member.opens(uid)
    await version_is(member, NEWEST)
    await button_is(member.page, "wait")


async def test_two_versions_that_answer_by_turns_open_the_page_once_more_at_most(
    before: Before, member: Visitor, uid: int
) -> None:
    before.changes = [older] * 9
    await member.page.add_init_script(HIDDEN)
    await member.opens(uid)
    async with asyncio.timeout(10):
        while before.documents() < 4:  # opened, fetched, opened again, fetched
            await asyncio.sleep(0.02)
    await button_is(member.page, "wait")
    await asyncio.sleep(1)
    assert before.documents() == 4
    await version_is(member, "an older one")
