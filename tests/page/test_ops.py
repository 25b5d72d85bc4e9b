"""The operators' page, as an operator uses it: coming in, looking, voiding, deciding about the quarantine.

It tells of the whole service, so it has a service of its own.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.async_api import Route, expect

from clock.audit.counts import Lag
from clock.game.gametime import Verdict
from clock.operators.live import add_up
from clock.operators.watch.alarms import alarms
from clock.operators.watch.room import ROOMS, Used
from clock.operators.watch.seen import Watched
from clock.runtime import embedded
from clock.runtime.supervise import running_urls
from tests.conftest import in_memory
from tests.page.visitor import DESKTOP, PHONE, House, Visitor, call_back, enter, fits, person
from tests.page.visitor import house as started

DAY = date(2031, 3, 3)
ALL_RING = Watched(
    redis=True,
    replicas_wanted=1,
    clocks=Verdict("a", 0, {"redis": 6_000, "postgres": 0, "worker": -9}, ["redis"]),
    differing=[Lag("2031-03-03", 0, "paid", "redis", 3), Lag("2031-03-03", 0, "paid", "books", 3)],
    differences=1,
    settlement_late_ms=600_000,
    late_day="2031-03-03",
    draw_awaited_ms=600_000,
    awaited_day="2031-03-03",
    draws_failed=1,
    failed_day="2031-03-03",
    outbox_oldest_ms=60_000,
    outbox_entries=7,
    disk_failing=True,
    disk_free=0.01,
    room={name: Used(10**12, 10**12) for name in ROOMS},
    days_without=2,
    first_without="2031-04-01",
    months_due=["2028-12"],
    dead_rows=1_000_000,
    dead_rows_table="orders_203103",
    channels_silent={"platform": 600},
    outgoing=[{"kind": "refund", "state": "failed", "count": 2, "fen": 300, "oldest_seconds": 9}],
    outgoing_stuck=1,
    quarantine_waiting=1,
    events_oldest_seconds=700,
    events_given_up=1,
    unanswered_orders=1,
    log_waiting_seconds=700,
    witnesses=[
        {"witness": "w.example.org/1", "unsigned_seconds": 7_200, "contradicts": True, "said": "status 422"},
        {"witness": "w.example.org/2", "unsigned_seconds": 7_200, "contradicts": False, "said": "TimeoutError"},
    ],
    traffic={
        **add_up([]),
        **{"fullest": 0.99, "failed_per_second": 0.5, "ahead_ms": {"host-1": 360_000}, "bad_signatures": 10},
    },
)
"""Every alarm but that of Redis, without which others are not known."""
STEPS = {"ordered": 7, "paid": 5, "checked_in": 3, "claimed": 0}


@pytest.fixture(scope="module")
async def place() -> AsyncIterator[Path]:
    with embedded.scratch(in_memory()) as data_dir:
        yield data_dir


@pytest.fixture(scope="module")
async def house(place: Path) -> AsyncIterator[House]:
    """Seven have ordered, five have paid, three are up; two callbacks are in quarantine."""
    async with started(place) as house:
        await house.it_is(DAY, "20:00:00")
        for uid in range(1, 6):
            await house.joins(uid)
        orders = {}
        for uid in (6, 7):
            reply = await house.does(uid, "/api/join", extra=person(uid))
            orders[uid] = reply["data"]["order_no"]
        payer = {"buyerId": "open-6"}
        assert await call_back(house, place, orders[6], amount=250, transactionId="T6", **payer) == "amount_mismatch"
        assert await call_back(house, place, "SHOP-1", transactionId="T9", **payer) == "order_not_found"
        await house.it_is(DAY + timedelta(1), "05:30:00")
        for uid in (1, 2, 3):
            await house.does(uid, "/api/check-in")
        yield house


Visits = Callable[..., Any]


@pytest.mark.parametrize(("size", "dark"), [(PHONE, True), (DESKTOP, False)], ids=["phone-dark", "desktop-light"])
async def test_the_page_is_readable_for_everybody_and_fits(visits: Visits, dark: bool, size: tuple[int, int]) -> None:
    someone: Visitor = await visits(size=size, dark=dark, language="zh" if dark else "en")
    await someone.page.goto(f"{someone.house.url}/ops")
    await expect(someone.page.locator("#token")).to_be_focused()
    await someone.accessible("the door")
    page = await enter(someone)
    await expect(page.locator("#kept li").first).to_be_visible()
    await someone.accessible("the room")
    await page.get_by_role("button", name="退款" if dark else "Refund", exact=True).first.click()
    await expect(page.locator("#ask")).to_be_visible()
    await someone.accessible("the question")
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


async def test_nobody_comes_in_without_an_operators_token_and_the_token_is_not_in_the_address(visits: Visits) -> None:
    someone: Visitor = await visits(language="en")
    someone.expects(r"status of 40[13]")
    page = someone.page
    await page.goto(f"{someone.house.url}/ops")
    for token, said in (("nonsense", "not valid"), (await someone.house.token(7), "not an operator's")):
        await page.fill("#token", token)
        await page.press("#token", "Enter")
        await expect(page.locator("#door-said")).to_contain_text(said)
        await expect(page.locator("#room")).to_be_hidden()
    await enter(someone)
    assert page.url == f"{someone.house.url}/ops"
    assert (await someone.context.storage_state())["origins"] == []  # the session's storage only
    await page.reload()
    await expect(page.locator("#figures dd").first).to_be_visible()
    await page.click("#leave")
    await expect(page.locator("#token")).to_be_focused()
    await page.click("#dev-enter")
    await expect(page.locator("#figures dd").first).to_be_visible()


async def test_the_round_of_the_morning_its_funnel_and_what_happens_now(visits: Visits) -> None:
    someone: Visitor = await visits(size=DESKTOP, language="en")
    someone.expects(r"status of 404")  # a day without a round
    page = await enter(someone)
    await expect(page.locator("#day")).to_have_value(DAY.isoformat())
    await expect(page.locator("#state")).to_have_text("checking in")
    await expect(page.locator("#way [aria-current]")).to_have_text("checking in")
    for name in ("Forfeited", "Pot", "Fee"):  # nobody knows before the round is split
        await expect(page.locator("#figures div", has_text=name).locator("dd")).to_have_text("–")
    sums = page.locator("#funnel .sum")
    for index, count in enumerate(STEPS.values()):
        await expect(sums.nth(index)).to_contain_text(f"{count} ")
    await expect(page.locator("#curve path.line")).to_have_count(4)
    assert await page.locator("#curve title").text_content() == (
        "Users over time, cumulated: ordered 7, paid 5, checked in 3, claimed 0"
    )
    await page.get_by_text("As a table").click()
    await expect(page.locator("#hours tr")).to_have_count(3)
    await expect(page.locator("#parts")).to_contain_text("Postgres up")
    await expect(page.locator("#parts")).to_contain_text("worker up")
    await expect(page.locator("#live-figures")).to_contain_text("API processes")
    await expect(page.locator("[data-alarm=quarantine]")).to_contain_text("wait for a decision")
    await expect(page.locator("#verbs td").first).to_be_visible()
    await expect(page.locator("#settle")).to_be_disabled()
    await page.click("#compare")
    await expect(page.locator("#compared")).to_contain_text("All books agree")

    await page.click("#tongue")
    await expect(page.locator("h1")).to_have_text("运营台")
    await expect(page.locator("[data-alarm=quarantine]")).to_contain_text("隔离区")
    await page.click("#day-after")
    await expect(page.locator("#state")).to_have_text("报名中")
    await page.click("#day-after")
    await expect(page.locator("#state")).to_have_text("未开放")  # its joining opens at midnight
    await page.fill("#day", "2024-01-01")
    await expect(page.locator("#round-none")).to_be_visible()


async def test_a_user_is_found_and_told_whole_and_a_round_has_its_rules_and_books(visits: Visits) -> None:
    someone: Visitor = await visits(language="zh")
    page = await enter(someone)
    await page.get_by_text("本轮规则").click()
    await expect(page.locator("#rules-list div", has_text="押金").first).to_contain_text("¥1")
    await expect(page.locator("#rules-list div", has_text="打卡结束")).to_contain_text("08:00")
    await page.get_by_text("导出账目").click()
    async with page.expect_download() as saved:
        await page.get_by_role("button", name="订单", exact=True).click()
    file = await saved.value
    assert file.suggested_filename == f"{DAY}-orders.csv"
    text = Path(await file.path()).read_text("utf-8-sig")
    assert len(text.splitlines()) == 1 + STEPS["ordered"]
    await page.get_by_text("相似账号").click()
    await page.get_by_role("button", name="查看").click()
    await expect(page.locator("#alike-said")).to_have_text("看了 5 名成员，没有发现")

    await page.fill("#sought", "13800000002")
    await page.press("#sought", "Enter")
    story = page.locator("#story")
    await expect(story).to_be_focused()
    for told in ("用户 2", "user 2", "open-2", "13800000002", "打卡（第 2 名）", "platform"):
        await expect(story).to_contain_text(told)
    await someone.accessible("a story")
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    await page.click("#tongue")
    await expect(story).to_contain_text("(place 2)")
    await page.fill("#sought", "nobody")
    await page.press("#sought", "Enter")
    await expect(page.locator("#found-said")).to_have_text("Nobody was found")
    await expect(story).to_be_hidden()


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_every_alarm_is_told_whole_and_leads_to_its_paragraph(visits: Visits, language: str) -> None:
    someone: Visitor = await visits(language=language)
    everything = alarms(ALL_RING)

    async def ring(route: Route) -> None:
        reply = await route.fetch()
        told = await reply.json()
        await route.fulfill(response=reply, json={**told, "data": {**told["data"], "alarms": everything}})

    await someone.page.route("**/ops/live", ring)
    page = await enter(someone)
    shown = page.locator("#alarms li")
    await expect(shown).to_have_count(len(everything))
    for text in await shown.all_inner_texts():
        assert not re.search(r"undefined|NaN|null|\{\d\}", text), text
        assert bool(re.search("[\u4e00-\u9fff]", text)) == (language == "zh"), text
    assert await page.title() == f"({len(everything)}) ⚠ {'运营台' if language == 'zh' else 'Operations'}"
    await expect(page.locator("#icon")).to_have_attribute("href", "/web/icon-alarm.svg")
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    await someone.accessible("alarms")
    links = await page.locator("#alarms .manual").evaluate_all("all => all.map((one) => one.getAttribute('href'))")
    await page.unroute_all(behavior="ignoreErrors")
    await expect(page.locator("#icon")).to_have_attribute("href", "/web/icon-alarm.svg")  # the quarantine waits
    await page.goto(f"{someone.house.url}/ops/runbook")
    for link in links:
        path, anchor = link.split("#")
        assert path == "/ops/runbook"
        await expect(page.locator(f"h2#{anchor}")).to_be_visible()
    await fits(someone)
    await someone.accessible("the runbook")


async def test_a_callback_is_released_after_a_question_and_its_money_goes_back(visits: Visits) -> None:
    someone: Visitor = await visits(language="en")
    page = await enter(someone)
    entry = page.locator("#kept li", has_text="Wrong amount")
    await expect(entry).to_contain_text("¥2.50")
    await entry.get_by_role("button", name="Refund").click()
    question = page.locator("#ask")
    await expect(question).to_contain_text("transaction T6")
    await question.get_by_role("button", name="Refund").click()
    await expect(question).to_contain_text("A reason is needed")
    await page.keyboard.press("Escape")
    await expect(question).to_be_hidden()
    await expect(entry).to_be_visible()

    await entry.get_by_role("button", name="Refund").click()
    await page.fill("#why", "he paid too much")
    await question.get_by_role("button", name="Refund").click()
    await expect(question).to_be_hidden()
    await expect(entry).to_be_hidden()
    other = page.locator("#kept li", has_text="SHOP-1")
    await other.get_by_role("button", name="Dismiss").click()
    await page.fill("#why", "given back by hand")
    await question.get_by_role("button", name="Dismiss").click()
    await expect(page.locator("#kept-none")).to_be_visible()
    await page.click("#show-all")
    await expect(entry).to_contain_text("Refunded ¥2.50")
    await expect(entry).to_contain_text("99, ")
    await expect(other).to_contain_text("given back by hand")
    token = await someone.house.token(99, "operator")
    outgoing = await someone.house.send("GET", f"/ops/outgoing?day={DAY}", None, token)
    assert [(one["kind"], one["fen"]) for one in outgoing["data"]["counts"]] == [("refund", 250)]

    # The provider does not know that transaction: a person must see which refund it is, and what was answered.
    unsent = page.locator("#unsent li")
    await expect(unsent).to_contain_text(f"round {DAY}", timeout=30_000)
    await expect(unsent).to_contain_text("The channel says: ")
    await expect(unsent.locator("code").first).to_have_text(re.compile("^R[0-9a-f]{31}$"))
    await expect(entry.locator(".bad")).to_contain_text("refund failed")
    await someone.accessible("money that did not arrive")

    await expect(page.locator("[data-alarm=money_failed]")).to_be_visible()
    number = await unsent.locator("code").first.inner_text()
    await unsent.get_by_role("button", name="Send again").click()
    await expect(question).to_contain_text("under the same refund number")
    await page.fill("#why", "the provider has mended it")
    await question.get_by_role("button", name="Send again").click()
    await expect(question).to_be_hidden()
    await expect(unsent.get_by_role("button", name="Acknowledge")).to_be_visible(timeout=30_000)  # it failed again
    await expect(unsent.locator("code").first).not_to_have_text(number)
    await unsent.get_by_role("button", name="Acknowledge").click()
    await page.fill("#why", "paid by hand")
    await question.get_by_role("button", name="Acknowledge").click()
    await expect(unsent).to_have_count(0)
    await expect(page.locator("[data-alarm=money_failed]")).to_have_count(0)
    acts = page.locator("#acts li")
    await expect(acts.first).to_contain_text("Acknowledge a failure")
    await expect(acts.first).to_contain_text("paid by hand")
    await expect(acts.nth(1)).to_contain_text("the provider has mended it")
    await expect(acts.nth(1)).to_contain_text("99 · 127.0.0.1")
    newest = await acts.evaluate_all("all => all.map((one) => one.dataset.act)")
    assert newest[:4] == ["acknowledge", "again", "release", "release"]


async def execute(place: Path, statement: str) -> None:
    urls = running_urls(place)
    assert urls is not None
    async with await psycopg.AsyncConnection.connect(urls["database_url"], autocommit=True) as books:
        await books.execute(statement.encode())


async def test_long_work_is_shown_as_a_bar_that_moves(visits: Visits, place: Path) -> None:
    """As a worker writes it that settles a million."""
    someone: Visitor = await visits(language="en", size=DESKTOP)
    page = await enter(someone)
    await execute(
        place,
        "INSERT INTO work (kind, about, asked_by, state, holder, began_at, beat_at, step, done, total) "
        "VALUES ('settle', '2020-01-01', 'anna', 'running', 'far away', now(), now(), 'begun', 4000, 10000)",
    )
    item = page.locator("#work li", has_text="2020-01-01")
    bar = item.locator("progress")
    await expect(item).to_contain_text("begun · 4,000 / 10,000")
    await expect(item).to_contain_text("Settle 2020-01-01")
    await expect(item).to_contain_text("anna")
    assert await bar.evaluate("bar => bar.position") == 0.4
    await execute(place, "UPDATE work SET done = 9000, beat_at = now() WHERE about = '2020-01-01'")
    await expect(item).to_contain_text("9,000 / 10,000")
    await someone.accessible("a bar")
    await execute(place, "UPDATE work SET beat_at = now() - interval '40 seconds' WHERE about = '2020-01-01'")
    await expect(item).to_contain_text("no such round")  # its holder has vanished: the worker has taken it over
    await expect(item).to_have_attribute("data-state", "ended")
    await page.click("#tongue")
    await expect(item).to_contain_text("没有这一轮")


async def test_a_sealed_round_has_its_sums_and_says_which_draw_it_waits_for(visits: Visits) -> None:
    """As the service answers between C and the draw."""
    someone: Visitor = await visits(language="en")

    async def seal(route: Route) -> None:
        reply = await route.fetch()
        told = await reply.json()
        sealed = {"state": "settling", "step": "sealed", "forfeited": 200, "pot": 190, "fee": 10, "can_be_void": False}
        await route.fulfill(response=reply, json={**told, "data": {**told["data"], **sealed}})

    async def promise(route: Route) -> None:
        reply = await route.fetch()
        text = (await reply.text()).replace("beacon: none", f"beacon: quicknet {'5' * 64} 123456")
        await route.fulfill(response=reply, body=text)

    await someone.page.route(f"**/ops/rounds/{DAY}", seal)
    await someone.page.route(f"**/api/rounds/{DAY}/proof", promise)
    page = await enter(someone)
    await expect(page.locator("#state")).to_have_text("members and sums are fixed, to be drawn")
    await expect(page.locator("#draw")).to_have_text("Waits for draw 123456 of the public beacon quicknet")
    for name, sum_ in (("Forfeited", "¥2"), ("Pot", "¥1.90"), ("Fee", "¥0.10")):
        await expect(page.locator("#figures div", has_text=name).locator("dd")).to_have_text(sum_)
    await expect(page.locator("#void")).to_be_disabled()
    await someone.accessible("a sealed round")
    await page.click("#day-after")
    await expect(page.locator("#draw")).to_be_hidden()


async def test_a_round_is_voided_only_after_a_question_and_with_a_reason(visits: Visits) -> None:
    """The last one: afterwards the round is called off."""
    someone: Visitor = await visits(language="en")
    page = await enter(someone)
    await page.click("#void")
    question = page.locator("#ask")
    await expect(question).to_contain_text("The stakes of 5 members, ¥5 in all, are refunded.")
    await question.get_by_role("button", name="Void round").click()
    await expect(question).to_contain_text("A reason is needed")
    await question.get_by_role("button", name="Back").click()
    await expect(page.locator("#state")).to_have_text("checking in")
    await page.click("#void")
    await page.fill("#why", "a storm")
    await question.get_by_role("button", name="Void round").click()
    await expect(page.locator("#state")).to_have_text("void")
    await expect(page.locator("#void-reason")).to_have_text("Called off: a storm")
    await expect(page.locator("#void")).to_be_disabled()
    token = await someone.house.token(99, "operator")
    for _ in range(50):
        outgoing = await someone.house.send("GET", f"/ops/outgoing?day={DAY}", None, token)
        states = {(one["kind"], one["state"]): one["count"] for one in outgoing["data"]["counts"]}
        if states.get(("refund", "done"), 0) >= 5:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"the stakes were not refunded: {states}")
