"""A draw is had if one relay has it, whatever the others do."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from time import monotonic

import aiohttp
import pytest
from structlog.testing import capture_logs

from clock.beacon.relays import Beacon, fetch, survey
from clock.dev.beacon import BeaconDouble, BeaconTrouble, Does
from clock.runtime.ports import free_port
from tests.unit.beacon.stage import KEY, NUMBER, double, serving

SECONDS = 0.4
"""How long relays that never answer are waited for here."""

BAD: dict[Does, str] = {
    "late": "status 404",
    "fail": "status 500",
    "silence": "TimeoutError",
    "hang_up": "ServerDisconnectedError",
    "drip": "TimeoutError",
    "redirect": "status 302",
    "rubbish": "unreadable",
    "flood": "too large",
    "lie": "not signed by the chain",
    "other_number": "another number",
    "other_chain": "not signed by the chain",
}


async def test_a_draw_is_had_and_its_relay_is_named() -> None:
    good = double()
    async with serving(good) as beacon:
        with capture_logs() as logs:
            assert await fetch(beacon, NUMBER) == good.signature(NUMBER)
    assert logs == [
        {
            "event": "draw_had",
            "log_level": "info",
            "chain": "double",
            "number": NUMBER,
            "relay": beacon.relays[0],
            "others": {},
        }
    ]


async def test_any_one_good_relay_is_enough() -> None:
    good = double()
    async with serving(*(double(does) for does in BAD), good) as beacon:
        nobody = f"http://127.0.0.1:{free_port('127.0.0.1')}"
        began = monotonic()
        found = await fetch(Beacon(beacon.chain, (nobody, *beacon.relays)), NUMBER)
        assert monotonic() - began < 4, "nobody waits for those that are slow"
    assert found == good.signature(NUMBER)


async def test_each_relay_that_does_not_answer_says_how() -> None:
    doubles = {does: double(does) for does in BAD}
    async with serving(*doubles.values()) as beacon:
        nobody = f"http://127.0.0.1:{free_port('127.0.0.1')}"
        relays = {**dict(zip(beacon.relays, BAD.values(), strict=True)), nobody: "ClientConnectorError"}
        slow = Beacon(beacon.chain, tuple(url for url in relays if relays[url] == "TimeoutError"))
        others = Beacon(beacon.chain, tuple(url for url in relays if url not in slow.relays))
        surveys = survey(slow, NUMBER, SECONDS), survey(others, NUMBER)
        some, rest, *found = await asyncio.gather(*surveys, fetch(slow, NUMBER, SECONDS), fetch(others, NUMBER))
    assert found == [None, None]
    assert {**some, **rest} == relays
    assert doubles["redirect"].asked == deque([NUMBER] * 2), "a redirect is not followed"


RUBBISH = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-relay\r\n\r\n",
    "a body that ends early": b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{",
    "a head without an end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    "heads without an end": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 50_000,
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "what is said to be packed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "what is nested deeply": b'HTTP/1.1 200 OK\r\n\r\n{"x":' + b"[" * 4_000,
    "half a character": b'HTTP/1.1 200 OK\r\n\r\n{"round":1000,"signature":"\\ud800"}',
    "no digits": b'HTTP/1.1 200 OK\r\n\r\n{"round":1000,"signature":"zz"}',
    "a fraction": b'HTTP/1.1 200 OK\r\n\r\n{"round":1000.5,"signature":""}',
    "a status": b"HTTP/1.1 999999 OK\r\n\r\n{}",
    "a place to go": b"HTTP/1.1 301 Moved\r\nLocation: http://[\r\n\r\n",
}


async def test_whatever_bytes_a_relay_sends_are_no_draw_and_nothing_breaks() -> None:
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(sending(said)) for said in RUBBISH.values()]
        said = await survey(Beacon(double().chain, tuple(urls)), NUMBER, seconds=5)
    assert len(said) == len(RUBBISH)
    assert all(said.values()) and "TimeoutError" not in said.values(), said


@asynccontextmanager
async def sending(said: bytes) -> AsyncIterator[str]:
    """A server that says this to everybody, and hangs up; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_survey_names_those_that_are_good() -> None:
    async with serving(double(), double("lie")) as beacon:
        assert list((await survey(beacon, NUMBER)).values()) == ["", "not signed by the chain"]


@pytest.mark.parametrize("ahead_ms, out", [(0, True), (-1, False), (60_000, True)])
async def test_a_draw_that_is_late_is_not_there_yet(ahead_ms: int, out: bool) -> None:
    async with serving(double(ahead_ms=ahead_ms)) as beacon:
        assert (await fetch(beacon, NUMBER) is not None) == out


@pytest.mark.parametrize("asked", [1, NUMBER - 1])
async def test_an_older_draw_is_still_there(asked: int) -> None:
    good = double()
    async with serving(good) as beacon:
        assert await fetch(beacon, asked) == good.signature(asked)


async def test_a_relay_is_asked_for_the_chain_by_its_hash() -> None:
    """Another network has other draws, and a relay may have several."""
    async with serving(double()) as beacon:
        stranger = BeaconDouble(KEY, "stranger").chain
        assert list((await survey(Beacon(stranger, beacon.relays), NUMBER)).values()) == ["status 404"]


async def test_the_double_takes_its_troubles_over_http() -> None:
    one = double()
    async with serving(one) as beacon, aiohttp.ClientSession(beacon.relays[0]) as session:
        async with session.put("/trouble", json={"does": "lie"}) as reply:
            assert reply.status == 200
        async with session.put("/trouble", json={"does": "sing"}) as reply:
            assert reply.status == 400
        assert one.trouble == BeaconTrouble(does="lie")
        async with session.get(f"/{one.chain.hash}/info") as reply:
            assert await reply.text() == one.info
        async with session.get("/0000/info") as reply:
            assert reply.status == 404
        one.trouble = BeaconTrouble()
        async with session.get(f"/{one.chain.hash}/public/latest") as reply:
            assert (await reply.json())["round"] == NUMBER
