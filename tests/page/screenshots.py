"""``make screenshots``: some days are played, and the pictures of the README are taken of the last one."""

import asyncio
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import uvloop
from playwright.async_api import Browser, expect

from clock.runtime import embedded
from tests.page.visitor import House, Visitor, chromium, house, visitor, without_bar

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
MOST_BYTES = 150_000
DESK = (1100, 720)

LIN = 1
NAMES = (
    *("Lin", "早安小鹿", "六点半", "Mei", "Zhao", "晨跑老王", "Chen", "豆浆油条", "Sun", "不赖床", "Ada", "山里人"),
    *("Wu", "露水", "Nora", "麦田", "Kai", "早鸟", "Yan", "海边日出", "Fei", "白粥"),
)
PLAYERS = {uid: NAMES[(uid - 1) % len(NAMES)] for uid in range(1, 65)}
FIRST = date(2030, 1, 1)
DAYS = 4


async def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with embedded.scratch() as data_dir:
        async with house(data_dir) as town, chromium() as browser:
            for number in range(DAYS):
                await play(town, FIRST + timedelta(days=number), range(2 + number, 40, 2 + number % 2))
            await take(town, browser, FIRST + timedelta(days=DAYS))
    for path in sorted(FOLDER.glob("*.png")):
        print(f"{path.stat().st_size:>8,} bytes  {path.relative_to(FOLDER.parents[1])}")
        assert path.stat().st_size < MOST_BYTES, "too large for a README"


async def play(town: House, day: date, sleepers: Iterable[int]) -> None:
    """Some thirty people's day, with its settlement; those who are up take their packets."""
    players = range(1, 40)
    await town.it_is(day, "21:00:00")
    await asyncio.gather(*(town.joins(uid, PLAYERS[uid]) for uid in players))
    await town.it_is(day + timedelta(days=1), "05:00:00")
    up = [uid for uid in players if uid not in set(sleepers)]
    await asyncio.gather(*(town.does(uid, "/api/check-in") for uid in up))
    await town.it_is(day + timedelta(days=1), "08:05:00")
    await town.settled(day)
    await asyncio.gather(*(town.does(uid, "/api/claim") for uid in up))
    await town.does(LIN, "/api/alert/ack")


async def take(town: House, browser: Browser, day: date) -> None:
    morning = day + timedelta(days=1)
    await town.it_is(day, "21:30:00")
    await asyncio.gather(*(town.joins(uid, name) for uid, name in PLAYERS.items() if uid != LIN))
    async with (
        visitor(browser, town) as phone,
        visitor(browser, town, language="en", dark=True, size=DESK) as desk,
    ):
        for someone in (phone, desk):
            await without_bar(someone)
        await phone.opens(LIN, nickname=PLAYERS[LIN])
        await keep(phone, "join", "join")
        await town.joins(LIN, PLAYERS[LIN])
        await phone.travels(day, "22:10:00")
        await keep(phone, "wait", "wait")
        await town.it_is(morning, "05:00:00")
        await asyncio.gather(*(town.does(uid, "/api/check-in") for uid in range(8, 50)))
        await asyncio.sleep(0.5)  # figures may be a quarter of a second old
        await phone.travels(morning, "06:12:00")
        await keep(phone, "check_in", "check-in")
        await phone.page.locator("#act").click()
        await phone.travels(morning, "08:05:00")
        await expect(phone.page.locator("#act")).to_have_attribute("data-kind", "packet")
        await phone.page.locator("#act").click()
        await phone.page.locator("#packet-open").click()
        await phone.page.locator("#packet-done").wait_for()
        await phone.page.screenshot(path=FOLDER / "packet.png")
        await phone.page.locator("#packet-done").click()
        await town.it_is(morning, "22:10:00")
        await asyncio.gather(*(town.joins(uid, name) for uid, name in PLAYERS.items()))
        await desk.opens(LIN, nickname=PLAYERS[LIN])
        await keep(desk, "wait", "desktop")


async def keep(visitor: Visitor, kind: str, name: str) -> None:
    """The picture of a state, once its numbers are there."""
    await expect(visitor.page.locator("#act")).to_have_attribute("data-kind", kind)
    await visitor.page.wait_for_load_state("networkidle")
    await visitor.page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    uvloop.run(main())
