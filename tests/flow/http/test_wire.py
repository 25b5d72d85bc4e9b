"""Bytes that come cut, heaped up, slowly, half, or are never read: nobody's request is done twice or read as another's,
and nothing is kept for ever."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from clock.channels.webhooks import Signatures
from clock.descriptors import clients
from clock.http import protocol
from tests.conftest import WEBHOOK_SECRET, Api
from tests.flow.http.stage import Phone, call, look, request, unlimited, until
from tests.raw import raw

CHUNKED = b'4\r\n{"ui\r\n5\r\nd":7}\r\n0\r\nX-Late: x\r\n\r\n'


def signed(body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in Signatures(WEBHOOK_SECRET).sign(body).items()]
    head = ["POST /callbacks/platform HTTP/1.1", "Host: clock", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


KINDS: dict[str, tuple[Callable[[Api], bytes], int]] = {
    "plain": (request, 200),
    "a query": (lambda api: request(api, "/api/check-in/status?a"), 200),
    "chunks and a trailer": (lambda api: request(api, body=CHUNKED, length=False, Transfer_Encoding="chunked"), 200),
    "an offer": (lambda api: request(api, Connection="Upgrade, HTTP2-Settings", UPGRADE="h2c"), 200),
    "an offer with chunks": (
        lambda api: request(
            api, body=CHUNKED, length=False, Transfer_Encoding="chunked", Connection="upgrade", uPGRADE="websocket"
        ),
        200,
    ),
    "a callback": (lambda _: signed(b'{"order_no":"TTC1"}'), 404),
    "a public read": (lambda _: b"GET /api/talents HTTP/1.1\r\nhost: clock\r\n\r\n", 200),
    "nowhere": (lambda api: request(api, "/nowhere"), 404),
}
"""Kinds of requests, and the status of their answer."""


@unlimited
@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_that_is_cut_anywhere_gets_one_answer(api: Api, phone: Phone, kind: str) -> None:
    made, status = KINDS[kind]
    whole = made(api)

    async def cut(at: int) -> list[int]:
        one = await call(api)
        one.writer.write(whole[:at])
        await asyncio.sleep(0.02)
        one.writer.write(whole[at:])
        await asyncio.sleep(0.02)
        one.writer.write_eof()
        found = await one.statuses()
        one.writer.close()
        return found

    for first in range(1, len(whole), 64):
        several = range(first, min(first + 64, len(whole)))
        assert await asyncio.gather(*(cut(at) for at in several)) == [[status]] * len(several)


@unlimited
@pytest.mark.usefixtures("phone")
async def test_a_request_behind_and_before_others_gets_its_answer_in_its_turn(api: Api) -> None:
    for kind, (made, status) in KINDS.items():
        phone = await call(api)
        whole, claim, nowhere = made(api), request(api, "/api/claim"), request(api, "/nowhere?")
        at_once = claim + whole + nowhere + whole + whole + nowhere
        phone.writer.write(at_once[: len(at_once) // 2])
        await asyncio.sleep(0.01)
        phone.writer.write(at_once[len(at_once) // 2 :])
        phone.writer.write_eof()
        assert await phone.statuses() == [200, status, 404, status, status, 404], kind
        phone.writer.close()


@pytest.mark.parametrize("offer", ["Upgrade", "UPGRADE", "upgrade"])
async def test_a_body_is_never_executed_as_a_second_request(api: Api, phone: Phone, offer: str) -> None:
    hidden = request(api, "/api/claim")
    whole = request(api, body=hidden, Connection="upgrade", Offer="h2c").replace(b"Offer", offer.encode())

    async def cut(at: int) -> list[int]:
        one = await call(api)
        one.writer.write(whole[:at])
        await asyncio.sleep(0.01)
        one.writer.write(whole[at:])
        one.writer.write_eof()
        return await one.statuses()

    end = whole.index(hidden) + 8
    assert await asyncio.gather(*(cut(at) for at in range(1, end))) == [[400]] * (end - 1)


async def test_what_follows_a_request_to_connect_is_not_read(api: Api, phone: Phone) -> None:
    await phone.say(b"CONNECT clock:443 HTTP/1.1\r\nhost: clock\r\n\r\n" + request(api))
    assert await phone.statuses() == [405]


async def test_a_trailer_is_no_header(api: Api, phone: Phone) -> None:
    token = api.token(7, "operator")["authorization"].encode()
    for path in (b"/api/check-in/status", b"/ops/rounds/2026-11-22/settle"):
        head = b"POST %b HTTP/1.1\r\nhost: clock\r\ntransfer-encoding: chunked\r\n\r\n" % path
        await phone.say(head, b'9\r\n{"uid":7}\r\n', b"0\r\nauthorization: " + token + b"\r\n\r\n")
        assert (await phone.answer())[0] == 401, path


async def test_an_error_does_not_overtake_the_answers_before_it(api: Api, phone: Phone) -> None:
    await raw(api.service.redis).client_pause(300)
    await phone.say(request(api) + request(api, "/api/claim?") + b"what is this\r\n\r\n" + request(api))
    assert await phone.statuses() == [200, 200, 405]


@pytest.mark.parametrize("path", ["/api/check-in/status", "/api/check-in/status?"])
async def test_a_broken_body_is_refused_in_its_turn(api: Api, phone: Phone, path: str) -> None:
    broken = request(api, path, b"zz\r\n", length=False, Transfer_Encoding="chunked")
    await raw(api.service.redis).client_pause(300)
    await phone.say(request(api) + broken + request(api))
    assert await phone.statuses() == [200, 400]
    alone = await call(api)
    await alone.say(broken[:-4], broken[-4:])
    assert await alone.statuses() == [400]


async def test_a_heads_size_is_its_own(api: Api, phone: Phone) -> None:
    large = request(api, Cookie="x" * 40_000)
    await phone.say(large + large + large[:30_000], large[30_000:])
    assert [await phone.code() for _ in range(3)] == ["ok"] * 3
    await phone.say(request(api, Cookie="x" * 70_000))
    assert await phone.statuses() == [400]


async def test_the_time_for_a_request_begins_with_it(api: Api, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = request(api)
    phone.writer.write(whole[:50])
    ends: list[float] = []
    for _ in range(4):
        phone.writer.write(whole[50:] + whole[:50])
        assert await phone.code() == "ok"
        ends += [one._deadline.when() for one in api.connections if one._deadline]
    assert len(ends) == 4 and ends == sorted(set(ends)), "each has a time of its own"
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    phone.writer.write(whole[50:] + whole[:50])
    assert await phone.code() == "ok"
    assert await phone.ended()


async def test_an_answer_that_is_slow_is_not_taken_by_a_request_that_does_not_end(
    api: Api, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    await raw(api.service.redis).client_pause(600)
    await phone.say(request(api) + request(api)[:50])
    assert await phone.statuses() == [200]


@pytest.mark.parametrize("path", ["/api/check-in/status", "/api/check-in/status?", "/api/talents"])
async def test_who_has_said_all_and_listens_is_answered(api: Api, phone: Phone, path: str) -> None:
    await raw(api.service.redis).client_pause(200)
    one = request(api, path)
    phone.writer.write(one + one + one[:40])
    phone.writer.write_eof()
    assert await phone.statuses() == [405 if "talents" in path else 200] * 2


@pytest.mark.parametrize("size", ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", ["/api/check-in/status", "/api/board", "/nowhere"])
async def test_a_body_without_end_is_refused_and_not_read_for_long(
    api: Api, phone: Phone, size: str, path: str
) -> None:
    phone.writer.write(f"POST {path} HTTP/1.1\r\nhost: clock\r\n{size}\r\n\r\n".encode())
    answered = asyncio.create_task(phone.statuses())
    chunk, sent = b"%x\r\n%b\r\n" % (65_536, b"x" * 65_536), 0
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(5):
            while True:
                phone.writer.write(chunk)
                await phone.writer.drain()
                sent += len(chunk)
                await asyncio.sleep(0.001 if sent < protocol.MOST_READ else 0.02)
    answers = await asyncio.gather(answered, return_exceptions=True)
    assert answers[0] in ([413], [404], [405]) or isinstance(answers[0], ConnectionError)


async def test_a_length_beyond_all_bounds_is_refused_before_the_body(api: Api, phone: Phone) -> None:
    await phone.say(b"POST /api/claim HTTP/1.1\r\nhost: clock\r\ncontent-length: 1000000000000\r\n\r\n")
    assert await phone.statuses() == [413]


async def test_requests_that_wait_behind_one_are_few(api: Api, phone: Phone) -> None:
    """Each costs some kilobytes, and a read has room for thousands."""
    await raw(api.service.redis).client_pause(300)
    phone.writer.write(request(api) + b"GET /healthz HTTP/1.1\r\nhost: c\r\n\r\n" * 3_000)
    found = await phone.statuses()
    assert found == [200] * (protocol.MOST_PIPELINED + 1) + [429]


async def test_those_that_are_refused_at_once_are_few_too(api: Api, phone: Phone) -> None:
    """Nobody else is answered while one read is gone through."""
    nobody = b"POST /api/check-in HTTP/1.1\r\nhost: c\r\ncontent-length: 0\r\n\r\n"
    phone.writer.write(nobody * 1_000)
    found = await phone.statuses()
    assert found[-1] == 429 and set(found[:-1]) == {401}
    assert len(found) <= protocol.MOST_PIPELINED + 3


LARGE = b"GET /schema/static/swagger-ui-bundle.js HTTP/1.1\r\nhost: clock\r\n\r\n"


def unread(api: Api) -> int:
    """Bytes that the service holds for clients."""
    return sum(one.transport.get_write_buffer_size() for one in api.connections)


async def test_who_never_reads_costs_little_and_is_cut(api: Api) -> None:
    before = clients.open
    many = [await call(api) for _ in range(20)]
    for one in many:
        one.writer.transport.pause_reading()  # type: ignore[attr-defined]
        one.writer.write(LARGE * 30)
    async with asyncio.timeout(5):
        seen = 0
        while not 0 < unread(api) == seen:  # they have got what the system keeps for them
            seen = unread(api)
            await asyncio.sleep(0.05)
    assert seen / len(many) <= 200_000
    look(api)
    assert clients.open >= before + len(many), "they may be slow"
    look(api)
    await until(lambda: clients.open <= before)
    assert unread(api) == 0


async def test_who_reads_slowly_gets_it_all(api: Api) -> None:
    one = await call(api)
    one.writer.write(LARGE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    size = reads = 0
    while piece := await one.reader.read(40_000):
        size, reads = size + len(piece), reads + 1
        await asyncio.sleep(0.01)
        if reads % 8 == 0:
            look(api)
    assert size > 1_000_000
    one.writer.close()


@pytest.mark.parametrize("full", [False, True])
async def test_idle_connections_leave_sooner_when_it_is_crowded(
    api: Api, later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    before = len(api.connections)
    many = [await call(api) for _ in range(20)]
    await until(lambda: len(api.connections) == before + len(many))
    monkeypatch.setattr(clients, "most", clients.open + (2 if full else 100))
    later(protocol.WATCH_SECONDS)
    if full:
        await until(lambda: any(one.reader.at_eof() for one in many))
    await asyncio.sleep(0.02)
    assert any(one.reader.at_eof() for one in many) == full
    for one in many:
        one.writer.close()


async def test_garbage_writes_no_log(api: Api, phone: Phone, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for words in (
        b"\x00\x01",
        b"GET * HTTP/1.1\r\nhost: c\r\n\r\n",
        b"GET ftp://c/ HTTP/1.1\r\nhost: c\r\n\r\n",
        b"\xff" * 99,
    ):
        one = await call(api)
        await one.say(words)
        assert (await one.statuses())[0] in (400, 405)
    spoken: Any = capsys.readouterr()
    assert (spoken.out, spoken.err) == ("", "")
