"""The book of rules on the operators' page, at the size of a phone: a preview before anything is planned, planning, and
taking back; and what players are told.

What is planned holds for the whole service, so it has a service of its own.
"""

from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from clock.runtime import embedded
from tests.conftest import in_memory
from tests.page.visitor import PHONE, House, Language, Visitor, fits
from tests.page.visitor import house as started

TODAY = date(2031, 6, 1)
HOLIDAY = TODAY + timedelta(9)

SAID = {
    "zh": {
        "previewed": "还没有排定",
        "stake": "押金 ¥1 → ¥5",
        "bonus": "平台加奖 ¥0 → ¥88",
        "in_all": "平台加奖一共 ¥176",
        "plan": "排定",
        "take_back": "撤回",
        "back": "已撤回",
        "misfit": "check_in_closes=08:00 must be after check_in_opens=09:00",
        "name": "端午",
        "environment": "环境变量",
    },
    "en": {
        "previewed": "Nothing is planned yet",
        "stake": "Stake ¥1 → ¥5",
        "bonus": "Bonus of the house ¥0 → ¥88",
        "in_all": "The house adds ¥176 in all",
        "plan": "Plan",
        "take_back": "Take back",
        "back": "Taken back by",
        "misfit": "check_in_closes=08:00 must be after check_in_opens=09:00",
        "name": "Dragon Boat",
        "environment": "The environment",
    },
}


@pytest.fixture(scope="module")
async def house() -> AsyncIterator[House]:
    with embedded.scratch(in_memory()) as data_dir:
        async with started(Path(data_dir)) as house:
            await house.it_is(TODAY, "10:00:00")
            yield house


async def enter(someone: Visitor) -> Page:
    await someone.page.goto(f"{someone.house.url}/ops")
    await someone.page.fill("#token", await someone.house.token(99, "operator"))
    await someone.page.press("#token", "Enter")
    await expect(someone.page.locator("#rules-days li").first).to_be_visible()
    return someone.page


async def planned(house: House) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = (await house.send("GET", "/ops/rules", token=await house.token(99, "operator")))[
        "data"
    ]["changes"]
    return changes


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_change_is_seen_before_it_is_planned_and_is_taken_back(
    visits: Callable[..., Any], house: House, language: Language
) -> None:
    someone: Visitor = await visits(size=PHONE, language=language)
    said, page, before = SAID[language], await enter(someone), len(await planned(house))
    await expect(page.locator("#rules-days li")).to_have_count(31)
    await expect(page.locator("#rules-environment")).to_be_hidden()

    await page.fill("#rules-first", HOLIDAY.isoformat())
    await page.fill("#rules-last", (HOLIDAY + timedelta(1)).isoformat())
    await page.fill("#rule-stake_fen", "5")
    await page.fill("#rule-bonus_fen", "88.00")
    await page.fill("#rules-zh", "端午")
    await page.fill("#rules-en", "Dragon Boat")
    await page.click("#rules-preview")
    await expect(page.locator("#rules-days .touched")).to_have_count(2)
    await expect(page.locator("#rules-days .touched").first).to_contain_text(said["stake"])
    await expect(page.locator("#rules-days .touched").first).to_contain_text(said["bonus"])
    await expect(page.locator("#rules-previewed")).to_contain_text(said["previewed"])
    await someone.accessible("the preview")
    await fits(someone)
    assert len(await planned(house)) == before

    await page.locator("#rules-plan").get_by_role("button", name=said["plan"], exact=True).click()
    await expect(page.locator("#ask-text")).to_contain_text(said["in_all"])
    await page.fill("#why", "the festival")
    await page.click("#ask-yes")
    await expect(page.locator("#ask")).to_be_hidden()
    entry = page.locator("#rules-changes li").first
    await expect(entry).to_contain_text(said["name"])
    await expect(entry).to_contain_text("the festival")
    first = page.locator(f"#rules-days [data-day='{HOLIDAY}']")
    await expect(first).to_contain_text(said["name"])
    await expect(page.locator("#rules-previewed")).to_be_empty()
    (one, *_) = await planned(house)
    assert (one["first_day"], one["bonus_fen"], one["changes"]) == (HOLIDAY.isoformat(), 8800, {"stake_fen": 500})

    await entry.get_by_role("button", name=said["take_back"]).click()
    await page.fill("#why", "it rains")
    await page.click("#ask-yes")
    await expect(entry).to_contain_text(said["back"])
    await expect(entry).to_contain_text("it rains")
    await expect(first).not_to_contain_text(said["name"])
    await someone.accessible("the list")
    await fits(someone)


async def test_what_cannot_be_played_is_said_and_a_day_that_is_open_is_named(visits: Callable[..., Any]) -> None:
    someone: Visitor = await visits(size=PHONE, language="en")
    page = await enter(someone)
    await page.fill("#rules-first", HOLIDAY.isoformat())
    await page.fill("#rule-check_in_opens", "09:00")
    await page.click("#rules-preview")
    await expect(page.locator("#rules-said")).to_contain_text(SAID["en"]["misfit"])
    await page.fill("#rules-first", TODAY.isoformat())
    await page.fill("#rule-check_in_opens", "04:00")
    await page.click("#rules-preview")
    await expect(page.locator("#rules-said")).to_contain_text(f"its rules do not change any more · {TODAY}")
    await page.click("#tongue")
    await expect(page.locator("#rules-name")).to_have_text("规则")
    await expect(page.locator("#rule-check_in_opens")).to_have_value("04:00")  # what was typed stays


async def test_a_player_is_told_of_tomorrow_and_gets_the_round_that_was_promised(
    visits: Callable[..., Any], house: House
) -> None:
    token, day = await house.token(99, "operator"), TODAY + timedelta(20)
    plan = {"first_day": str(day), "last_day": str(day), "changes": {"stake_fen": 300}, "bonus_fen": 5_000}
    name = {"zh": "夏至", "en": "Midsummer"}
    reply = await house.send("POST", "/ops/rules", {**plan, "campaign": name, "reason": "the longest day"}, token)
    assert reply["code"] == "planned"
    await house.it_is(day - timedelta(1), "20:00:00")
    shown = (await house.send("GET", "/api/summary"))["data"]["summary"]
    assert (shown["rules"]["stake_fen"], shown["rules"]["bonus_fen"], shown["rules"]["campaign"]) == (100, 0, None)
    assert (shown["next"]["round"], shown["next"]["campaign"]) == (str(day), name)
    assert (shown["next"]["rules"]["stake_fen"], shown["next"]["rules"]["bonus_fen"]) == (300, 5_000)
    assert shown["next"]["rules"].keys() == shown["rules"].keys()
    await house.it_is(day, "20:00:00")
    order = await house.joins(1)
    assert order["amount"] == 300
    await house.it_is(day + timedelta(1), "06:00:00")
    await house.does(1, "/api/check-in")
    await house.it_is(day + timedelta(1), "08:05:00")
    assert await house.claims(1) == {"money": 5_000, "stake": 300, "total": 5_300}
    await house.settled(day)
    figures = (await house.send("GET", f"/api/rounds/{day}"))["data"]
    assert (figures["bonus"], figures["pot"], figures["rules"]["campaign"]) == (5_000, 5_000, name)

    someone: Visitor = await visits(size=PHONE, language="en")
    await someone.opens(None)
    await expect(someone.page.locator("#round-day")).to_have_text(str(day))
    await someone.page.locator("#round-card summary").click()
    await someone.page.locator("#fair-check").click()
    await expect(someone.page.locator("#fair-said")).to_have_text("It agrees to the cent")
    await expect(someone.page.locator("#fair-steps")).to_contain_text(
        "Shared ¥50 = forfeited stakes ¥0 − fee ¥0 + carried in ¥0 + bonus ¥50"
    )
