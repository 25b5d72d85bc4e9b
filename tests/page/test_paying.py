"""Paying with a provider that has to be asked first, with a host and without; the way out of the balance."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from playwright.async_api import Browser, Page, Route, expect

from clock.runtime import embedded
from tests.conftest import in_memory
from tests.page.visitor import House, Visitor, button_is, fits, soon, visitor, without_bar
from tests.page.visitor import house as started

Visits = Callable[..., Any]

PHONE = "Mozilla/5.0 (Linux; Android 13) AppleWebKit/537.36 Chrome/116.0 Mobile Safari/537.36"
WECHAT = f"{PHONE} MicroMessenger/8.0.47"
DESKTOP = "Mozilla/5.0 (X11; Linux x64) AppleWebKit/537.36 Chrome/116.0 Safari/537.36"

JSAPI = {
    **{"appId": "wx1", "timeStamp": "1", "nonceStr": "n", "package": "prepay_id=1", "signType": "RSA", "paySign": "s"},
}
BRIDGE = """window.WeixinJSBridge = { on() {}, invoke: (name, given, hear) => {
  (window.asked ??= []).push([name, given]);
  hear({ err_msg: name === "getBrandWCPayRequest" ? "get_brand_wcpay_request:ok" : `${name}:ok` }); } };"""


def envelope(code: str, status: int = 1, message: str = "", **data: Any) -> dict[str, Any]:
    return {"status": status, "code": code, "message": message, "data": data}


async def patched(page: Page, path: str, change: Callable[[dict[str, Any]], None]) -> None:
    """What the service says, with a part of its data changed."""

    async def handle(route: Route) -> None:
        reply = await route.fetch()
        body = await reply.json()
        if body["status"] == 1:
            change(body["data"])
        await route.fulfill(response=reply, json=body)

    await page.route(f"**{path}", handle)


async def with_provider(visitor: Visitor, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
    """Orders of a channel whose provider is asked by ``/api/pay``; what was asked. An empty answer is a 503."""
    await without_bar(visitor)
    asked: list[dict[str, Any]] = []

    def called(data: dict[str, Any]) -> None:
        data["pay"] = {"channel": "wechat", "call": "/api/pay"}

    async def pay(route: Route) -> None:
        asked.append(msgspec.json.decode(route.request.post_data or ""))
        body = answer(asked[-1])
        if "code" in body:
            await route.fulfill(json=body)
        else:
            await route.fulfill(status=503, headers={"retry-after": "1"}, json=envelope("unavailable", 0))

    await patched(visitor.page, "/api/join", called)
    await visitor.page.route("**/api/pay", pay)
    return asked


async def test_a_provider_that_is_away_can_be_asked_again_and_its_page_knows_where_the_payer_comes_from(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en", agent=PHONE)
    visitor.expects("503")
    page = visitor.page
    answers = [{}, envelope("ok", channel="wechat", pay={"h5_url": f"{house.url}/h5?prepay=1"})]
    asked = await with_provider(visitor, lambda _: answers.pop(0))
    heard: list[str | None] = []

    async def h5(route: Route) -> None:
        heard.append(await route.request.header_value("referer"))
        await route.fulfill(content_type="text/html", body="<!doctype html><title>pay</title>")

    await page.route("**/h5?*", h5)
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.locator("#act").click()
    await expect(page.locator("#said")).to_have_text(re.compile("provider does not answer"))
    await button_is(page, "pay")
    await page.locator("#act[aria-disabled=false]").click()
    await page.wait_for_url("**/h5?*")
    order = asked[0]["order_no"]
    assert asked == [{"uid": uid, "order_no": order, "how": "h5"}] * 2
    assert heard == [f"{house.url}/"]
    assert (await house.send("POST", "/dev/pay", {"order_no": order}))["code"] == "paid"
    await page.go_back()
    await button_is(page, "wait")


async def test_wechats_own_browser_pays(house: House, visits: Visits, day: date, uid: int) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(agent=WECHAT)
    page = visitor.page
    await page.add_init_script(BRIDGE)
    asked = await with_provider(visitor, lambda _: envelope("ok", channel="wechat", pay={**JSAPI, "more": 1}))
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.locator("#act").click()
    await button_is(page, "confirming")
    assert await page.evaluate("asked") == [["getBrandWCPayRequest", JSAPI]]
    assert asked[0]["how"] == "jsapi"


async def test_a_host_gets_what_the_provider_has_said(house: House, visits: Visits, day: date, uid: int) -> None:
    """It says itself where its users pay."""
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(agent=PHONE)
    page = visitor.page
    asked = await with_provider(visitor, lambda _: envelope("ok", channel="wechat", pay=JSAPI))
    await page.add_init_script(
        "addEventListener('clock:pay', (event) => (event.preventDefault(), (window.order = event.detail)))"
    )
    await page.goto(f"{house.url}/#token={await house.token(uid)}&openId=o&mobile=13800000000&nickname=n&how=app")
    await button_is(page, "join")
    await page.locator("#act").click()
    await button_is(page, "pay")
    order = await soon(page, "window.order")
    assert order["pay"] == {"channel": "wechat", **JSAPI}
    assert asked == [{"uid": uid, "order_no": order["order_no"], "how": "app"}]


@pytest.mark.parametrize("code", ["pay_refused", "already_paid"])
async def test_what_a_provider_refuses_is_told(house: House, visits: Visits, day: date, uid: int, code: str) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en", agent=PHONE)
    page = visitor.page
    status = int(code == "already_paid")
    await with_provider(visitor, lambda _: envelope(code, status, "" if status else "Told by the service"))
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.locator("#act").click()
    if status:
        await button_is(page, "confirming")
    else:
        await expect(page.locator("#said")).to_have_text("Told by the service")
        await button_is(page, "pay")


async def test_another_device_gets_a_link_and_finds_the_payment(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en", agent=DESKTOP)
    page = visitor.page
    url = "weixin://wxpay/bizpayurl?pr=abcdefg"
    asked = await with_provider(visitor, lambda _: envelope("ok", channel="wechat", pay={"code_url": url}))
    await visitor.opens(uid)
    await button_is(page, "join")
    await page.locator("#act").click()
    await expect(page.get_by_role("dialog").get_by_role("link")).to_have_attribute("href", url)
    assert asked[0]["how"] == "native"
    await visitor.accessible("code")
    assert (await house.send("POST", "/dev/pay", {"order_no": asked[0]["order_no"]}))["code"] == "paid"
    await page.get_by_role("button", name="I have paid").click()
    await button_is(page, "wait")


# -- the way out


NOTHING = dict.fromkeys(
    (
        *("spend_money", "income_money", "max_money", "join_num"),
        *("clock_day_num", "long_day_num", "streak_day_num"),
    ),
    0,
)


class Purse:
    """What ``/api/me`` says of the balance."""

    def __init__(self, balance: int, way: str = "pull", reason: str = "") -> None:
        self.balance = balance
        self.withdraw = {"minimum_fen": 30, "way": way, "open": None, "reason": reason}

    async def of(self, page: Page) -> None:
        async def put(route: Route) -> None:
            info = {**NOTHING, "balance": self.balance}
            await route.fulfill(json=envelope("ok", info=info, withdraw=self.withdraw))

        await page.route("**/api/me", put)

    def leaves(self, **more: Any) -> dict[str, Any]:
        self.withdraw["open"] = {"no": "W7N1", "amount": self.balance, "state": "processing", **more}
        self.balance = 0
        return envelope("withdrawing", message="On its way to you", withdrawal=self.withdraw["open"])

    def comes_back(self, balance: int, reason: str) -> None:
        self.balance = balance
        self.withdraw |= {"open": None, "reason": reason}


async def looks_at_me(visitor: Visitor, uid: int) -> None:
    await visitor.opens(uid)
    await visitor.page.locator("[data-to=me]").click()


async def test_a_balance_says_from_when_on_it_can_be_withdrawn(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    purse = Purse(12)
    await purse.of(page)
    await looks_at_me(visitor, uid)
    await expect(page.locator("#balance")).to_have_text("¥0.12")
    await expect(page.locator("#balance-why")).to_contain_text("Your packets")
    await expect(page.locator("#withdraw-state")).to_have_text("You can withdraw from ¥0.30 on: ¥0.18 to go.")
    await expect(page.locator("#withdraw")).to_be_hidden()
    await visitor.accessible("small balance")
    purse.balance = 0
    await page.locator("#tongue").click()
    await expect(page.locator("#balance-card")).to_be_hidden()


async def test_a_withdrawal_waits_for_the_user_and_can_be_made_again_when_it_has_lapsed(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en", agent=WECHAT)
    page = visitor.page
    await page.add_init_script(BRIDGE)
    await without_bar(visitor)
    purse, confirm = Purse(137), {"mchId": "1900000001", "appId": "wx1", "package": "ABBQ+"}
    await purse.of(page)

    async def withdraw(route: Route) -> None:
        await route.fulfill(json=purse.leaves(confirm=confirm))

    await page.route("**/api/withdraw", withdraw)
    await looks_at_me(visitor, uid)
    button = page.locator("#withdraw")
    await expect(button).to_have_text("Withdraw ¥1.37")
    await button.click()
    await expect(button).to_have_text("Confirm ¥1.37")
    await expect(page.locator("#withdraw-state")).to_contain_text("waits until you confirm it")
    assert await soon(page, "window.asked") == [["requestMerchantTransfer", confirm]]
    await button.click()
    assert await soon(page, "asked.length === 2")
    await visitor.accessible("confirm")
    await fits(visitor)
    purse.comes_back(137, "FAIL: OVERDUE_CLOSE")
    await page.evaluate("dispatchEvent(new Event('clock:moved'))")  # while it is under way each poll looks
    await expect(button).to_have_text("Withdraw ¥1.37")
    await expect(page.locator("#withdraw-state")).to_contain_text("not confirmed in time")
    await visitor.accessible("lapsed")


async def test_a_withdrawal_that_is_pushed_needs_no_confirmation_and_a_refusal_is_told(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    await house.it_is(day, "20:00:00")
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    purse = Purse(250, "push", reason="PAYEE_NOT_EXIST")
    await purse.of(page)
    answers = [envelope("below_minimum", 0, "Below the minimum")]

    async def withdraw(route: Route) -> None:
        await route.fulfill(json=answers.pop() if answers else purse.leaves())

    await page.route("**/api/withdraw", withdraw)
    await looks_at_me(visitor, uid)
    await expect(page.locator("#withdraw-state")).to_contain_text("did not arrive last time (PAYEE_NOT_EXIST)")
    await page.locator("#withdraw").click()
    await expect(page.locator("#withdraw-said")).to_have_text("Below the minimum")
    await page.locator("#withdraw").click()
    await expect(page.locator("#withdraw-state")).to_have_text("Withdrawal of ¥2.50: being sent")
    await expect(page.locator("#withdraw")).to_be_hidden()


# -- with the double of a provider


@pytest.mark.long
async def test_a_round_is_paid_won_and_withdrawn_with_wechat(browser: Browser, day: date, uid: int) -> None:
    """Everything that the page is told here comes from the service, and what moves, at the provider's double."""
    with embedded.scratch(in_memory()) as data_dir:
        async with started(data_dir, channel="wechat") as house, visitor(browser, house, language="en") as someone:
            page = someone.page
            await house.it_is(day, "20:00:00")
            await house.joins(uid + 1)
            await someone.opens(uid)
            await expect(page.locator("#hint")).to_contain_text("Your stake goes back by itself")
            await page.locator("#act").click()
            await page.get_by_role("dialog").get_by_role("button", name="Pay ¥1").click()
            await button_is(page, "wait")
            await someone.travels(day + timedelta(1), "05:00:01")
            await page.locator("#act[data-kind=check_in][aria-disabled=false]").click()
            await button_is(page, "counting")
            await someone.travels(day + timedelta(1), "08:05:01")
            await house.settled(day)
            await page.locator("#act[data-kind=packet][aria-disabled=false]").click()
            await page.locator("#packet-open").click()
            await expect(page.locator("#packet-parts")).to_contain_text("in your balance")
            await page.locator("#packet-done").click()
            await page.locator("[data-to=me]").click()
            await page.get_by_role("button", name="Withdraw ¥1").click()
            await page.get_by_role("dialog").get_by_role("button", name="Confirm ¥1").click()
            await expect(page.locator("#balance-card")).to_be_hidden(timeout=20_000)
            titles = await page.locator("#events strong").all_inner_texts()
            assert {"Withdrawn", "Stake, back to where you paid from"} <= set(titles)
