"""The players' page on a slow line and a slow phone: from the navigation until the button works, in a real browser.

The line is Chrome's preset *Slow 3G* (2 s before each answer, 400 kbit/s), the processor is six times slower.
"""

import asyncio
import os
import shutil
from collections.abc import Sequence
from typing import Any

import aiohttp
from playwright.async_api import Browser, BrowserContext, async_playwright

from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, SETTLED, Cpu, Scene, bearer, mobile, open_id, staged

SLOW_3G = {"offline": False, "latency": 2000, "downloadThroughput": 51_200, "uploadThroughput": 51_200}
SLOWER = 6
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REQUESTS = 2_000

WATCH = """
    const timer = setInterval(() => {
        const button = document.getElementById("act");
        if (!button || button.disabled || button.getAttribute("aria-disabled") === "true") return;
        if (!["join", "check_in"].includes(button.dataset.kind)) return;
        window.worked = performance.now();
        clearInterval(timer);
    }, 10);
"""
"""Notes when the button works, in ms since the navigation began."""

Opening = dict[str, float]
"""``seconds``, ``requests`` and ``kilobytes`` until the button works."""


async def run(scale: Scale) -> Result:
    runs = scale.of(3, 1)
    found: dict[str, list[Opening]] = {}
    for who, windows in (("member", MORNING), ("joiner", SETTLED)):
        async with staged(**windows) as scene, async_playwright() as playwright:
            port, uids = await scene.serve("service"), scene.uids(runs)
            if who == "member":
                await scene.members(scene.yesterday, uids)
            options = ["--no-sandbox"] if os.geteuid() == 0 else []
            path = next(filter(None, map(shutil.which, BROWSERS)), None)
            browser = await playwright.chromium.launch(executable_path=path, args=options)
            for uid in uids:
                for how, opening in zip(("cold", "warm"), await _cold_and_warm(browser, port, uid), strict=True):
                    found.setdefault(f"{who}, {how}", []).append(opening)
            await browser.close()
            cost = await _costs(scene, port, scale.of(REQUESTS, REQUESTS // 10))
    return Result(
        name="page",
        targets=[
            target(f"the button works: {name}", "Slow 3G, 6 times slower", _of(openings, "seconds"), "<=", most, "s")
            for name, openings in found.items()
            for most in [4.0 if name.endswith("cold") else 2.5]
        ],
        figures={
            **{
                f"{name}, {what} until then": spread(_of(openings, what))
                for name, openings in found.items()
                for what in ("requests", "kilobytes")
            },
            **cost,
        },
    )


def _of(openings: Sequence[Opening], what: str) -> list[float]:
    return [opening[what] for opening in openings]


async def _cold_and_warm(browser: Browser, port: int, uid: int) -> tuple[Opening, Opening]:
    """A new browser opens the page, and opens it again."""
    context = await browser.new_context(viewport={"width": 360, "height": 740})
    await context.add_init_script(WATCH)
    token = bearer(uid)["authorization"].removeprefix("Bearer ")
    address = f"http://127.0.0.1:{port}/#token={token}&openId={open_id(uid)}&mobile={mobile(uid)}&nickname=n"
    openings = await _opening(context, address), await _opening(context, address)
    await context.close()
    return openings


async def _opening(context: BrowserContext, address: str) -> Opening:
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    await session.send("Network.enable")
    await session.send("Network.emulateNetworkConditions", SLOW_3G)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    await page.goto(address, wait_until="commit", timeout=60_000)
    async with asyncio.timeout(60):
        while not (worked := await page.evaluate("window.worked ?? 0")):
            await asyncio.sleep(0.05)
    sizes = [size for size in received if size > 0]  # the browser's own copies have none
    await page.wait_for_load_state("networkidle")
    await page.close()
    return {"seconds": worked / 1000, "requests": len(sizes), "kilobytes": sum(sizes) / 1000}


async def _costs(scene: Scene, port: int, requests: int) -> dict[str, Any]:
    """CPU time of an API process for a document, for one that the browser has, and for the summary."""
    found, url = {}, f"http://127.0.0.1:{port}"
    zipped = {"accept-encoding": "gzip"}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/") as reply:
            etag = reply.headers["etag"]
        asked: list[tuple[str, str, dict[str, str]]] = [
            ("the document", "/", zipped),
            ("the document that the browser has", "/", {**zipped, "if-none-match": etag}),
            ("the guest's summary", "/api/summary", zipped),
        ]
        for name, path, headers in asked:
            cpu = Cpu({"service": scene.pids["service"]})
            for _ in range(requests):
                async with session.get(url + path, headers=headers) as reply:
                    await reply.read()
            found[f"{name}, CPU of an API process, µs"] = spread([cpu.used()["service"] / requests * 1e6])
    return found
