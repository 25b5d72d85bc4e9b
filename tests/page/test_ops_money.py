"""What operators do on their page about all money that failed, and for one user."""

from collections.abc import Callable
from typing import Any

import msgspec
from playwright.async_api import Route, expect

from tests.page.visitor import House, Visitor, enter, person

Visits = Callable[..., Any]


async def test_all_of_a_kind_is_sent_again_and_a_balance_is_withdrawn_for_its_user(
    house: House, visits: Visits, uid: int
) -> None:
    someone: Visitor = await visits(language="en")
    await house.does(uid, "/api/summary", extra=person(uid))
    page = someone.page
    asked: list[tuple[str, Any]] = []

    async def two_failed(route: Route) -> None:
        reply = await route.fetch()
        body = await reply.json()
        body["data"]["outgoing"] = [{"kind": "refund", "state": "failed", "count": 2, "fen": 300, "oldest_seconds": 9}]
        await route.fulfill(response=reply, json=body)

    async def with_balance(route: Route) -> None:
        reply = await route.fetch()
        body = await reply.json()
        body["data"]["info"]["balance"] = 137
        await route.fulfill(response=reply, json=body)

    async def done(route: Route) -> None:
        asked.append((route.request.url.partition("/ops/")[2], msgspec.json.decode(route.request.post_data or "")))
        await route.fulfill(json={"status": 1, "code": "ok", "message": "", "data": {}})

    await page.route("**/ops/live", two_failed)
    await page.route(f"**/ops/people/{uid}?*", with_balance)
    for path in ("outgoing/again", f"people/{uid}/withdraw"):
        await page.route(f"**/ops/{path}", done)
    await enter(someone)
    question = page.locator("#ask")
    await page.get_by_role("button", name="Send all again: Refund, 2").click()
    await expect(question).to_contain_text("¥3 in all?")
    await page.fill("#why", "the provider is back")
    await question.get_by_role("button", name="Send again").click()
    await expect(question).to_be_hidden()
    await page.fill("#sought", str(uid))
    await page.press("#sought", "Enter")
    await page.locator("#story").get_by_role("button", name="Withdraw ¥1.37 for the user").click()
    await page.fill("#why", "asked by phone")
    await someone.accessible("withdraw for a user")
    await question.get_by_role("button", name="Withdraw").click()
    await expect(question).to_be_hidden()
    assert asked == [
        ("outgoing/again", {"kind": "refund", "reason": "the provider is back"}),
        (f"people/{uid}/withdraw", {"reason": "asked by phone"}),
    ]
