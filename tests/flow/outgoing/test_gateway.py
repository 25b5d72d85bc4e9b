"""What stands between us and the platform may answer in its place: nothing that it says is taken for the platform's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from clock.channels import OrderState, Result
from clock.channels.platform import Platform
from clock.runtime.ports import free_port
from tests.conftest import WEBHOOK_SECRET
from tests.flow.stage import lines_of

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def behind(answer: Answer) -> AsyncIterator[Platform]:
    """The channel, at a server that answers every request like this."""
    app = web.Application()
    app.router.add_route("*", "/{action}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    platform = Platform(f"http://127.0.0.1:{port}", WEBHOOK_SECRET)
    try:
        yield platform
    finally:
        await platform.close()
        await runner.cleanup()


def always(status: int, text: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    return answer


@pytest.mark.parametrize(
    "text", ["", "404 page not found", "<html>", "null", "[]", '{"state": "unpaid"}', '{"error": 1}']
)
async def test_a_404_that_is_not_the_platforms_says_nothing(text: str) -> None:
    async with behind(always(404, text)) as platform:
        assert await platform.query_order("TTC1") == OrderState("unknown")
        assert await platform.close_order("TTC1") == OrderState("unknown")
        assert (await platform.query_transfer("P1")).state == "unknown"
        assert (await platform.query_refund("R1", "O1")).state == "unknown"


async def test_a_404_that_is_the_platforms_says_that_it_does_not_know_the_number() -> None:
    async with behind(always(404, '{"state": "not_found"}')) as platform:
        assert await platform.query_order("TTC1") == OrderState("unpaid")
        assert await platform.query_transfer("P1") == Result("not_found")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_with_our_signature(status: int) -> None:
    asked = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async with behind(elsewhere) as platform:
        assert (await platform.transfer("P1", "open-1", 100)).state == "unknown"
        assert await platform.query_order("TTC1") == OrderState("unknown")
        assert await lines_of(platform, "2026-11-22") is None
    assert asked == ["/transfer", "/query_order", "/bill"]


@pytest.mark.parametrize("kept", [r'"ab\ud83d"', "7", "false", "null", '{"a": [1]}', r'"x\u0000y"'])
async def test_what_is_kept_of_a_reply_and_not_looked_at_changes_nothing(kept: str) -> None:
    extra = f'{{"amount": 100, "buyerId": "b", "transactionId": "T1", "nickname": {kept}, "notify_time": {kept}}}'
    async with behind(always(200, f'\ufeff{{"state": "paid", "payment": {extra}}}')) as platform:
        found = await platform.query_order("TTC1")
        assert found.payment is not None
        assert (found.state, found.payment.amount_fen, found.payment.transaction_id) == ("paid", 100, "T1")
    async with behind(always(200, f'{{"state": "failed", "reason": {kept}, "more": {kept}}}')) as platform:
        assert (await platform.query_refund("R1", "O1")).state == "failed"


async def test_a_reply_without_end_is_unreadable_and_not_kept() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        with suppress(ConnectionError):
            while True:
                await reply.write(b"x" * 65_536)
        return reply

    async with behind(endless) as platform:
        async with asyncio.timeout(5):
            assert (await platform.query_refund("R1", "O1")).state == "unknown"
            assert await platform.query_order("TTC1") == OrderState("unknown")
