"""A check-in that becomes longer is shown: to members while it is open, to all afterwards, to operators with why."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from playwright.async_api import Route, expect

from tests.page.visitor import House, Visitor, button_is, enter

Visits = Callable[..., Any]


async def test_members_have_until_then_and_everybody_is_told_why(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    tomorrow = day + timedelta(days=1)
    operator = await house.token(99, "operator")
    await house.it_is(day, "20:00:00")
    for player in (uid, uid + 1):
        await house.joins(player)
    await house.it_is(tomorrow, "07:50:00")
    visitor: Visitor = await visits(language="en")
    page = visitor.page
    await visitor.opens(uid)
    await button_is(page, "check_in")
    await expect(page.locator("#hint")).to_contain_text("left")
    body = {"minutes": 20, "reason": "the power was cut"}
    reply = await house.send("POST", f"/ops/rounds/{day}/extend", body, operator)
    assert reply["code"] == "extended"
    await visitor.travels(tomorrow, "08:10:00")
    await expect(page.locator("#hint")).to_contain_text("Check-in is longer today: open until 08:20")
    await button_is(page, "check_in")
    await visitor.accessible("longer")
    await page.locator("#act").click()
    await button_is(page, "counting")
    await expect(page.locator("#hint")).to_contain_text("08:25")
    await house.it_is(tomorrow, "08:24:00")
    assert (await house.does(uid, "/api/claim"))["code"] == "not_settled"
    assert (await house.send("POST", f"/ops/rounds/{day}/extend", {**body, "reason": "again"}, operator))["code"] == (
        "check_in_closed"
    )
    await house.it_is(tomorrow, "08:25:00")
    await house.settled(day)
    await visitor.travels(tomorrow, "08:26:00")
    await expect(page.locator("#round-day")).to_have_text(str(day))
    await expect(page.locator("#round-extended")).to_have_text("Check-in was 20 minutes longer: the power was cut")
    figures = (await house.send("GET", f"/ops/rounds/{day}", None, operator))["data"]
    assert [(one["by_ms"], one["asleep"], one["by_whom"]) for one in figures["extensions"]] == [(20 * 60_000, 2, "99")]


async def test_operators_are_told_that_the_public_draw_does_not_wait(
    house: House, visits: Visits, day: date, uid: int
) -> None:
    """Before they make check-in longer than that, and before they call a round off, until when they can."""
    await house.it_is(day, "20:00:00")
    await house.joins(uid)
    await house.it_is(day + timedelta(days=1), "07:50:00")
    visitor: Visitor = await visits(language="en")

    async def promise(route: Route) -> None:
        reply = await route.fetch()
        told = await reply.json()
        told["data"]["draw_ms"] = told["data"]["at"]["check_in_closes_ms"] + 180_000
        await route.fulfill(response=reply, json=told)

    await visitor.page.route(f"**/ops/rounds/{day}", promise)
    page = await enter(visitor)
    for button, said in (
        ("#extend", "The public draw is out at 08:03, before check-in closes then: the round is split equally"),
        ("#void", "It can be done until 08:03, when the public draw is out."),
    ):
        await page.click(button)
        await expect(page.locator("#ask")).to_contain_text(said)
        await page.click("#ask-no")
