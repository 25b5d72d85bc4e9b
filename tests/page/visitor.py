"""Visitors of the pages: the real service as processes, a real browser, and everything that it complains about."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any, Literal

import aiohttp
import msgspec
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.http.pages import document
from clock.runtime.supervise import running

PHONE = (360, 740)
DESKTOP = (1280, 900)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

Language = Literal["zh", "en"]

expect.set_options(timeout=10_000)


def found_browser() -> str | None:
    """The path of a Chromium or Chrome on PATH."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless browser; as root it runs without its sandbox, which it refuses to build for root."""
    path = found_browser()
    assert path, "the tests of the pages need Chromium or Chrome on PATH: make chromium"
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        await browser.close()


class House:
    """The service, with everything that belongs to it, and its clock in our hands."""

    def __init__(self, url: str, redis_url: str, session: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/")
        self.redis_url = redis_url
        self.session = session

    async def send(self, method: str, path: str, body: Any = None, token: str = "") -> dict[str, Any]:
        """The envelope of a 200."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with self.session.request(method, self.url + path, json=body, headers=headers) as reply:
            envelope: dict[str, Any] = await reply.json()
            assert reply.status == 200, envelope
            return envelope

    async def token(self, uid: int, role: str = "user") -> str:
        token: str = (await self.send("POST", "/dev/token", {"uid": uid, "role": role}))["data"]["token"]
        return token

    async def it_is(self, day: date, time_of_day: str) -> None:
        """When this answers, every process is on the new time, which runs on from there."""
        await self.send("PUT", "/dev/time", {"now": f"{day}T{time_of_day}+08:00"})

    async def joins(self, uid: int, nickname: str = "", *, paying: bool = True) -> dict[str, Any]:
        """A player elsewhere orders, and pays; the order."""
        token, extra = await self.token(uid), person(uid, nickname)
        order: dict[str, Any] = (await self.send("POST", "/api/join", {"uid": uid, "extra": extra}, token))["data"]
        if paying:
            paid = await self.send("POST", "/dev/pay", {"order_no": order["order_no"]})
            assert paid["code"] == "paid", paid
        return order

    async def does(self, uid: int, path: str, **body: Any) -> dict[str, Any]:
        """A verb of a player elsewhere."""
        return await self.send("POST", path, {"uid": uid, **body}, await self.token(uid))

    async def claims(self, uid: int) -> dict[str, Any]:
        """Waits for the settlement; what was in the packet."""
        async with asyncio.timeout(20):
            while (reply := await self.does(uid, "/api/claim"))["code"] == "not_settled":
                await asyncio.sleep(0.1)
        assign: dict[str, Any] = reply["data"]["assign"]
        return assign

    async def settled(self, day: date) -> None:
        """Returns once the worker has settled the round."""
        async with asyncio.timeout(20):
            while (await self.send("GET", f"/api/rounds/{day}"))["data"]["state"] not in ("settled", "finished"):
                await asyncio.sleep(0.1)


@asynccontextmanager
async def house(data_dir: Path, **changes: Any) -> AsyncIterator[House]:
    settings = Settings(env="dev", port=0, data_dir=data_dir, api_workers=1, **changes)
    async with running(settings, quiet=True) as urls, aiohttp.ClientSession() as session:
        yield House(urls["page"], urls["redis_url"], session)


async def call_back(house: House, place: Path, number: str, **changes: Any) -> str:
    """A callback about an order, signed by the provider with the secret in the service's directory; its code."""
    raw = msgspec.json.encode({"order_no": number, "extra": {"amount": 100, **changes}})
    headers = Signatures((place / "webhook.secret").read_text().strip()).sign(raw)
    async with house.session.post(f"{house.url}/callbacks/platform", data=raw, headers=headers) as reply:
        code: str = (await reply.json())["code"]
        return code


def person(uid: int, nickname: str = "") -> dict[str, str]:
    return {"mobile": f"138{uid:08}", "nickname": nickname or f"user {uid}", "openId": f"open-{uid}"}


class Visitor:
    """One browser of one person. Whatever the browser complains about is kept in ``problems``."""

    def __init__(self, house: House, context: BrowserContext, page: Page) -> None:
        self.house = house
        self.context = context
        self.page = page
        self.problems: list[str] = []
        self._expected: list[str] = []
        context.on("page", self._watch)
        context.on("request", self._check_origin)
        self._watch(page)

    def expects(self, pattern: str) -> None:
        """From now on a complaint that matches is meant."""
        self._expected.append(pattern)

    def _complain(self, problem: str) -> None:
        if not any(re.search(pattern, problem) for pattern in self._expected):
            self.problems.append(problem)

    def _watch(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._complain(f"error: {error}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complain(f"console: {message.text} {message.location.get('url', '')}")

    def _check_origin(self, request: Request) -> None:
        if not request.url.startswith(f"{self.house.url}/"):
            self.problems.append(f"a request to another origin: {request.url}")

    async def opens(self, uid: int | None, path: str = "/", page: Page | None = None, nickname: str = "") -> None:
        """As the host app opens the page for a signed-in user, in the first tab or another; ``None`` for a guest."""
        address = self.house.url + path
        if uid is not None:
            person_of = "&".join(f"{name}={value}" for name, value in person(uid, nickname).items())
            address += f"#token={await self.house.token(uid)}&{person_of}"
        await (page or self.page).goto(address)

    async def travels(self, day: date, time_of_day: str) -> None:
        """The game's time moves, and the page asks at once instead of within ten seconds."""
        await self.house.it_is(day, time_of_day)
        await self.page.evaluate("dispatchEvent(new Event('clock:moved'))")

    async def accessible(self, state: str) -> None:
        """No violation that axe knows of."""
        results = await Axe().run(self.page)
        for violation in results.response["violations"]:
            nodes = "; ".join(f"{node['html'][:120]} {node['failureSummary']}" for node in violation["nodes"])
            self.problems.append(f"{state}: {violation['id']}: {nodes}")


@asynccontextmanager
async def visitor(
    browser: Browser,
    house: House,
    *,
    size: tuple[int, int] = PHONE,
    language: Language = "zh",
    dark: bool = False,
    calm: bool = True,
    agent: str | None = None,
) -> AsyncIterator[Visitor]:
    """A new person with a browser of their own; nothing must be left of which it complained."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        locale={"zh": "zh-CN", "en": "en-GB"}[language],
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce" if calm else "no-preference",
        has_touch=size == PHONE,
        device_scale_factor=1,
        user_agent=agent,
    )
    context.set_default_timeout(10_000)
    someone = Visitor(house, context, await context.new_page())
    yield someone
    if not someone.page.is_closed():
        await someone.page.unroute_all(behavior="ignoreErrors")  # a page may ask to its last moment
    await context.close()
    assert not someone.problems, "\n".join(someone.problems)


async def without_bar(visitor: Visitor) -> None:
    """From now on the page is sent as in production: without the bar that moves the clock, and without the till."""
    page = document(Settings(env="prod"))
    lines = {**page.headers, "content-type": "text/html; charset=utf-8"}
    html = page.html.replace(
        page.version, document(Settings(env="dev")).version
    )  # or the page would fetch the one with the bar
    await visitor.context.route(f"{visitor.house.url}/", lambda route: route.fulfill(body=html, headers=lines))


async def enter(someone: Visitor) -> Page:
    """The operators' page, as an operator does who has a token."""
    await someone.page.goto(f"{someone.house.url}/ops")
    await someone.page.fill("#token", await someone.house.token(99, "operator"))
    await someone.page.press("#token", "Enter")
    await expect(someone.page.locator("#figures dd").first).to_be_visible()
    return someone.page


async def button_is(page: Page, kind: str) -> None:
    await expect(page.locator("#act")).to_have_attribute("data-kind", kind)


async def left_ms(page: Page) -> int:
    """What the button's countdown shows."""
    hours, minutes, seconds = map(int, (await page.locator("#act-time").inner_text()).split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * 1000


async def fits(visitor: Visitor) -> None:
    """Nothing makes the page scroll sideways."""
    assert await visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


async def soon(page: Page, expression: str) -> Any:
    """Its value, once it is true. The page's policy forbids the browser's own way to wait for that."""
    async with asyncio.timeout(5):
        while not (found := await page.evaluate(expression)):
            await asyncio.sleep(0.05)
    return found


WATCH = """path => {
    window.hints = [], window.askedAt = [];
    const hint = document.getElementById("hint"), ask = window.fetch;
    new MutationObserver(() => hints.push(hint.textContent)).observe(hint, { childList: true, subtree: true });
    window.fetch = (what, ...more) => {
        if (String(what).endsWith(path)) askedAt.push(performance.now());
        return ask(what, ...more);
    };
}"""
"""The page keeps what its hint says, and when it asks for a path: whoever looks from outside may come too late."""


async def hinted(page: Page, text: str) -> None:
    await soon(page, f"hints.includes({text!r})")
