"""Hosts around the page, in a real browser: a page of another origin that frames it, and a mini-program.

Two hosts: one is named in ``CLOCK_ORIGINS``, the other is not.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from aiohttp import web
from playwright.async_api import Browser, Dialog, Frame, Page, Route, expect

from clock.http.origins import WECHAT_SDK
from clock.runtime import embedded
from clock.runtime.ports import free_port
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET, in_memory
from tests.host import hosting
from tests.page.visitor import House, person, soon
from tests.page.visitor import house as started

PAGE = """<!doctype html><title>host</title><iframe id="game" src="{game}" width="360" height="700"></iframe>
<script>
  window.heard = [];
  addEventListener("message", ({{ origin, data }}) => heard.push({{ origin, ...data }}));
  window.say = (type, detail) => document.getElementById("game").contentWindow.postMessage({{ type, detail }}, "*");
</script>"""

WX = """window.wx = { miniProgram: {
  navigateTo: ({ url }) => (window.asked ??= []).push(url),
  postMessage: ({ data }) => (window.posted ??= []).push(data) } };"""

Hosts = dict[str, str]


@asynccontextmanager
async def framing(port: int) -> AsyncIterator[None]:
    """A page that frames whatever its query names."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE.format(game=request.query["game"]), content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield
    await runner.cleanup()


@pytest.fixture(scope="module")
async def hosts() -> AsyncIterator[Hosts]:
    """Origins: one on another site than the game, one on the same site, and that of the example."""
    ports = {"named": free_port(), "stranger": free_port()}
    example = f"http://127.0.0.1:{free_port()}"
    async with AsyncExitStack() as stack:
        for port in ports.values():
            await stack.enter_async_context(framing(port))
        yield {
            "named": f"http://localhost:{ports['named']}",
            "stranger": f"http://127.0.0.1:{ports['stranger']}",
            "example": example,
        }


@pytest.fixture(scope="module")
async def game(hosts: Hosts) -> AsyncIterator[House]:
    changes = {
        "origins": f"{hosts['example']} {hosts['named']}",
        "miniprogram_pay": "/pages/pay/index",
        "platform_url": f"{hosts['example']}/platform",
        "jwt_secret": JWT_SECRET,
        "webhook_secret": WEBHOOK_SECRET,
        "statement_key": STATEMENT_KEY,
    }
    with embedded.scratch(in_memory()) as data_dir:
        async with started(data_dir, **changes) as house:
            with hosting(hosts["example"], house.url, data_dir / "host.sqlite"):
                yield house


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context(locale="en-GB", service_workers="block")
    context.set_default_timeout(10_000)
    yield await context.new_page()
    await context.close()


async def heard(page: Page, kind: str) -> dict[str, Any]:
    """The host's page waits for that message."""
    found = await page.wait_for_function("kind => heard.find(({ type }) => type === kind)", arg=kind)
    message: dict[str, Any] = await found.json_value()
    return message


async def framed(page: Page, hosts: Hosts, game: House) -> Frame:
    """The game in the named host's frame, as soon as it has said that it is there."""
    await page.goto(f"{hosts['named']}/?game={game.url}/")
    assert (await heard(page, "clock:ready"))["origin"] == game.url
    (frame,) = [frame for frame in page.frames if frame.url.startswith(game.url)]
    return frame


async def button_is(frame: Frame | Page, kind: str) -> None:
    await expect(frame.locator("#act")).to_have_attribute("data-kind", kind)


async def signs_in(page: Page, game: House, uid: int) -> None:
    await page.evaluate("who => say('clock:token', who)", {"token": await game.token(uid), **person(uid)})


async def pays(game: House, hosts: Hosts, uid: int, order_no: str) -> None:
    """With the host that the service knows."""
    body = {"order_no": order_no, "amount": 100}
    async with game.session.post(f"{hosts['example']}/pay?uid={uid}", json=body) as reply:
        assert await reply.json() == {"code": "paid"}


async def test_the_page_of_the_example_signs_its_user_in_and_pays(
    page: Page, hosts: Hosts, game: House, day: date, uid: int
) -> None:
    await game.it_is(day, "20:00:00")
    asked: list[str] = []

    async def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        await dialog.accept()

    page.on("dialog", answer)
    await page.goto(f"{hosts['example']}/?uid={uid}")
    frame = page.frame_locator("#game")
    await expect(frame.locator("#act")).to_have_attribute("data-kind", "join")
    await frame.locator("#act").click()
    await expect(frame.locator("#act")).to_have_attribute("data-kind", "wait")
    assert asked == ["Pay 1 yuan?"]


async def test_a_named_host_hands_over_the_token_and_takes_the_payment(
    page: Page, hosts: Hosts, game: House, day: date, uid: int
) -> None:
    await game.it_is(day, "20:00:00")
    frame = await framed(page, hosts, game)
    await button_is(frame, "guest")
    await signs_in(page, game, uid)
    await button_is(frame, "join")
    assert "token" not in frame.url
    await frame.locator("#act").click()
    order = (await heard(page, "clock:pay"))["detail"]
    assert order["amount"] == 100
    assert order["pay"]["channel"] == "platform"
    await page.evaluate("say('clock:paid', { order_no: 'another' })")
    await button_is(frame, "pay")
    await pays(game, hosts, uid, order["order_no"])
    await page.evaluate("order_no => say('clock:paid', { order_no })", order["order_no"])
    await button_is(frame, "wait")


OPEN: dict[str, Any] = {
    **{"no": "W7N1", "amount": 137, "state": "processing"},
    "confirm": {"mchId": "19", "package": "A+"},
}


async def waiting_for_the_user(page: Page) -> None:
    """A withdrawal that the user has to confirm."""

    async def put(route: Route) -> None:
        reply = await route.fetch()
        body = await reply.json()
        body["data"]["withdraw"] = {"minimum_fen": 30, "way": "pull", "open": OPEN, "reason": ""}
        await route.fulfill(response=reply, json=body)

    await page.route("**/api/me", put)


async def test_a_named_host_shows_what_the_user_has_to_confirm(
    page: Page, hosts: Hosts, game: House, day: date, uid: int
) -> None:
    await game.it_is(day, "20:00:00")
    await waiting_for_the_user(page)
    frame = await framed(page, hosts, game)
    await signs_in(page, game, uid)
    await frame.locator("[data-to=me]").click()
    await frame.locator("#withdraw").click()
    asked = (await heard(page, "clock:confirm"))["detail"]
    assert asked == {name: OPEN[name] for name in ("no", "amount", "confirm")}
    async with page.expect_response("**/api/me", timeout=5_000):  # sooner than a poll
        await page.evaluate("say('clock:confirmed', { no: 'W7N1' })")


async def test_the_host_hears_of_a_token_that_is_not_good_any_more(
    page: Page, hosts: Hosts, game: House, day: date, uid: int
) -> None:
    await game.it_is(day, "20:00:00")
    frame = await framed(page, hosts, game)
    spoilt = (await game.token(uid))[:-4] + "AAAA"
    await page.evaluate("who => say('clock:token', who)", {"token": spoilt, **person(uid)})
    await heard(page, "clock:expired")
    await button_is(frame, "expired")
    await signs_in(page, game, uid)
    await button_is(frame, "join")


async def test_what_others_say_is_not_heard(page: Page, hosts: Hosts, game: House, day: date, uid: int) -> None:
    await game.it_is(day, "20:00:00")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "/api/" in request.url else None)
    frame = await framed(page, hosts, game)
    other = f"{hosts['stranger']}/?game=about:blank"
    await page.evaluate("src => document.body.append(Object.assign(document.createElement('iframe'), { src }))", other)
    await page.frame_locator("iframe >> nth=1").locator("#game").wait_for()
    (sibling,) = [one for one in page.frames if one.url == other]
    message = {"type": "clock:token", "detail": {"token": await game.token(uid), **person(uid)}}
    await sibling.evaluate("message => parent.frames[0].postMessage(message, '*')", message)
    await frame.evaluate("message => postMessage(message, '*')", message)
    await signs_in(page, game, uid + 1)  # messages are heard in their order
    await button_is(frame, "join")
    bodies = [msgspec.json.decode(body) for body in asked if body]
    assert {body["uid"] for body in bodies} == {uid + 1}


async def test_no_other_host_can_frame_it(page: Page, hosts: Hosts, game: House) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    async with page.expect_event("console", lambda message: "frame-ancestors" in message.text):
        await page.goto(f"{hosts['stranger']}/?game={game.url}/")
    assert not [frame for frame in page.frames if frame.url.startswith(game.url)]
    assert await page.evaluate("heard.length") == 0


async def test_operators_pages_cannot_be_framed_by_anybody(page: Page, hosts: Hosts, game: House) -> None:
    async with page.expect_event("console", lambda message: "frame-ancestors" in message.text):
        await page.goto(f"{hosts['named']}/?game={game.url}/ops")


ASKS = """async ([url, token]) => {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  try {
    const home = await (await fetch(`${url}/api/summary`)).json();
    const body = JSON.stringify({ uid: UID, on: true });
    const reply = await fetch(`${url}/api/remind`, { method: "POST", headers, body });
    return [home.code, (await reply.json()).data.is_remind];
  } catch (error) {
    return String(error);
  }
}"""


async def test_a_named_origin_may_call_and_others_may_not(page: Page, hosts: Hosts, game: House, uid: int) -> None:
    asks, token = ASKS.replace("UID", str(uid)), await game.token(uid)
    await page.goto(f"{hosts['named']}/?game=about:blank")
    assert await page.evaluate(asks, [game.url, token]) == ["ok", 1]
    await page.goto(f"{hosts['stranger']}/?game=about:blank")
    assert await page.evaluate(asks, [game.url, token]) == "TypeError: Failed to fetch"


@pytest.fixture
async def wechat(browser: Browser) -> AsyncIterator[Page]:
    """A page as in the web-view of a mini-program; the script of WeChat's is ours."""
    agent = "Mozilla/5.0 (Linux; Android 13) Chrome/116.0 Mobile MicroMessenger/8.0.47 miniProgram/wx0123456789abcdef"
    context = await browser.new_context(locale="en-GB", user_agent=agent)
    context.set_default_timeout(10_000)
    yield await context.new_page()
    await context.close()


async def opens(page: Page, game: House, uid: int) -> None:
    who = "&".join(f"{name}={value}" for name, value in person(uid).items())
    await page.goto(f"{game.url}/#token={await game.token(uid)}&{who}")
    await button_is(page, "join")


@pytest.mark.parametrize("back", ["visibilitychange", "onPageStateChange"])
async def test_a_mini_program_takes_the_payment_on_a_page_of_its_own(
    wechat: Page, hosts: Hosts, game: House, day: date, uid: int, back: str
) -> None:
    async def sdk(route: Route) -> None:
        await route.fulfill(body=WX, content_type="text/javascript")

    await wechat.route(WECHAT_SDK, sdk)
    await wechat.add_init_script("window.WeixinJSBridge = { on: (name, hear) => (window[name] = hear) }")
    await game.it_is(day, "20:00:00")
    await opens(wechat, game, uid)
    await soon(wechat, "Boolean(window.wx)")
    await wechat.locator("#act").click()
    (url,) = await soon(wechat, "window.asked")
    order_no = url.partition("order_no=")[2].partition("&")[0]
    assert url == f"/pages/pay/index?order_no={order_no}&amount=100"
    await pays(game, hosts, uid, order_no)
    if back == "visibilitychange":
        await wechat.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    else:
        await wechat.evaluate("onPageStateChange({ active: 'true' })")
    await button_is(wechat, "wait")


async def test_a_mini_program_shows_what_the_user_has_to_confirm(
    wechat: Page, game: House, day: date, uid: int
) -> None:
    await wechat.route(WECHAT_SDK, lambda route: route.fulfill(body=WX, content_type="text/javascript"))
    await game.it_is(day, "20:00:00")
    await waiting_for_the_user(wechat)
    await opens(wechat, game, uid)
    await soon(wechat, "Boolean(window.wx)")
    await wechat.locator("#withdraw").click()
    (url,) = await soon(wechat, "window.asked")
    asked = dict(parse_qsl(url.partition("?")[2]))
    assert asked == {"no": "W7N1", "amount": "137", "confirm": '{"mchId":"19","package":"A+"}'}


async def test_a_mini_program_whose_script_does_not_come_is_told_that_nobody_takes_payments(
    wechat: Page, game: House, day: date, uid: int
) -> None:
    await wechat.route(WECHAT_SDK, lambda route: route.abort())
    await game.it_is(day, "20:00:00")
    await opens(wechat, game, uid)
    await wechat.evaluate("addEventListener('clock:pay', (event) => event.stopImmediatePropagation())")
    await wechat.locator("#act").click()
    await button_is(wechat, "pay")
    assert await wechat.evaluate("window.asked") is None


async def test_no_other_browser_loads_wechats_script(page: Page, game: House, day: date, uid: int) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await game.it_is(day + timedelta(days=1), "20:00:00")
    await opens(page, game, uid)
    assert asked and all(url.startswith(game.url) for url in asked)
