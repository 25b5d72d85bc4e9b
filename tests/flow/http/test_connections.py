"""HTTP as it comes over a socket: however a request is written, cut or heaped up, it gets its answer, in its order."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from clock.descriptors import clients
from clock.http import lane, protocol, server
from tests.conftest import Api, at
from tests.flow.http.stage import ME, Phone, call, held, request, unlimited, until
from tests.raw import Redis


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Says whether there is no room inside."""
    return lambda yes: monkeypatch.setattr(lane.inside, "most", 0 if yes else 100)


async def test_a_connection_too_many_is_told_so_and_has_its_turn_later(
    api: Api, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a bound the process runs out of descriptors: it accepts no more, and cannot reach Redis."""
    await phone.say(request(api))
    assert await phone.code() == "ok"
    monkeypatch.setattr(clients, "most", clients.open)
    many = Phone(*await asyncio.open_connection("127.0.0.1", api.settings.port))
    status, headers, reply = await many.answer()
    assert (status, reply["code"], headers["connection"]) == (503, "busy", "close")
    assert int(headers["retry-after"]) >= 1
    assert await many.ended()
    many.writer.close()
    await phone.say(request(api))
    assert await phone.code() == "ok", "those who are in stay"
    monkeypatch.setattr(clients, "most", clients.open + 1)
    later = Phone(*await asyncio.open_connection("127.0.0.1", api.settings.port))
    await later.say(request(api))
    assert await later.code() == "ok"
    later.writer.close()


CHUNKED = b'4\r\n{"ui\r\n5\r\nd":7}\r\n0\r\n\r\n'

WAYS: dict[str, tuple[dict[str, Any], bool]] = {
    "plain": ({}, True),
    "plain, another header's case": ({"ACCEPT_LANGUAGE": "en"}, True),
    "a query": ({"path": "/api/check-in/status?a=b"}, True),
    "blanks after a length": ({"body": b'{"uid":7}', "length": False, "Content_Length": "9 \t"}, True),
    "an absolute target": ({"path": "http://clock/api/check-in/status"}, True),
    "chunks": ({"body": CHUNKED, "length": False, "Transfer_Encoding": "chunked"}, True),
    "close after it": ({"Connection": "close"}, False),
    "HTTP/1.0": ({"version": "1.0"}, False),
    "an upgrade that nobody offers": ({"Connection": "upgrade", "Upgrade": "h2c"}, True),
}
"""Ways to write one request, and whether the connection stays open."""


@unlimited
@pytest.mark.usefixtures("phone")
async def test_however_a_request_is_written_it_gets_the_same_answer(api: Api) -> None:
    for way, (how, stays) in WAYS.items():
        phone = await call(api)
        await phone.say(request(api, **how))
        status, headers, reply = await phone.answer()
        assert (status, reply["code"], reply["data"]) == (200, "ok", {"is_check_in": 0}), way
        assert headers["content-type"].startswith("application/json"), way
        assert headers["date"].endswith("gmt"), way
        if stays:
            await phone.say(request(api))
            assert await phone.code() == "ok", way
        else:
            assert await phone.ended(), way
        phone.writer.close()


@unlimited
async def test_a_request_may_come_in_pieces(api: Api, phone: Phone) -> None:
    whole = request(api)
    for cut in (1, 4, 20, 90, -20, -9, -3, -1):
        await phone.say(whole[:cut], whole[cut:])
        assert await phone.code() == "ok", cut
        await phone.say(whole[:cut], whole[cut:] + whole)
        assert [await phone.code() for _ in range(2)] == ["ok", "ok"], cut


async def test_a_client_that_asks_first_is_told_to_go_on(api: Api, phone: Phone) -> None:
    whole = request(api, Expect="100-continue")
    await phone.say(whole[: -len(b'{"uid":7}')])
    async with asyncio.timeout(5):
        assert await phone.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await phone.say(b'{"uid":7}')
    assert await phone.code() == "ok"


async def test_requests_at_once_on_one_connection_are_answered_in_their_order(api: Api, phone: Phone) -> None:
    status, odd = request(api), request(api, "/api/check-in/status?x")
    claim, nothing = request(api, "/api/claim"), request(api, "/nothing")
    board = b"GET /api/board HTTP/1.1\r\nhost: clock\r\n\r\n"
    await phone.say(status + claim + board + nothing + odd + status + claim)
    expected = ["ok", "not_settled", "ok", "not_found", "ok", "ok", "not_settled"]
    assert [await phone.code() for _ in expected] == expected
    await phone.say(board + claim, status)
    assert [await phone.code() for _ in range(3)] == ["ok", "not_settled", "ok"]


@unlimited
@pytest.mark.usefixtures("phone")
async def test_when_there_is_no_room_every_way_of_asking_is_refused_and_none_when_there_is(
    api: Api, full: Callable[[bool], None]
) -> None:
    for way, (how, stays) in WAYS.items():
        phone = await call(api)
        full(True)
        await phone.say(request(api, **how))
        status, headers, reply = await phone.answer()
        assert (status, headers["retry-after"], reply["code"], reply["data"]) == (503, "1", "busy", {}), way
        assert reply["message"] == ("Busy, please try again" if "ACCEPT_LANGUAGE" in how else "人太多了，请稍后再试")
        full(False)
        if stays:
            await phone.say(request(api))
            assert await phone.code() == "ok", way
        assert lane.inside.count == 0, way
        phone.writer.close()


async def test_refusals_keep_their_place_among_other_answers(
    api: Api, phone: Phone, full: Callable[[bool], None]
) -> None:
    """What follows a refused request on its connection waits for the refusal, though there is room by then."""
    full(True)
    await phone.say(request(api) + request(api, "/api/claim"))
    await phone.say(request(api, "/api/claim"))
    assert [await phone.code() for _ in range(3)] == ["busy"] * 3
    phone.writer.write(request(api))
    await asyncio.sleep(server.REFUSE_SECONDS / 3)
    full(False)
    await phone.say(request(api, "/api/claim") + request(api))
    assert [await phone.code() for _ in range(3)] == ["busy", "not_settled", "ok"]


async def test_refusals_cost_no_look_at_a_token(
    api: Api, phone: Phone, full: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(api)
    full(True)
    monkeypatch.setattr(api.service.tokens, "caller", lambda _: pytest.fail("looked"))
    await phone.say(asked)
    assert await phone.code() == "busy"


@pytest.mark.parametrize(
    "lengths", ["Content-Length: 9\r\nContent-Length: 4", "Content-Length: 9\r\nTransfer-Encoding: chunked"]
)
@pytest.mark.parametrize("no_room", [False, True])
async def test_a_request_that_may_be_read_in_two_ways_is_not_http(
    api: Api, phone: Phone, full: Callable[[bool], None], lengths: str, no_room: bool
) -> None:
    full(no_room)
    await phone.say(request(api, length=False).replace(b"\r\n\r\n", f"\r\n{lengths}\r\n\r\n".encode()))
    status, headers, reply = await phone.answer()
    assert (status, reply["code"]) in {(400, "bad_request"), (503, "busy")}
    assert headers["connection"] == "close"
    assert await phone.ended()


@pytest.mark.parametrize("words", [b"POST claim HTTP/1.1\r\n\r\n", b"POST /api/claim HTTP/1.1\r\nno colon\r\n\r\n"])
async def test_what_is_not_http_is_told_so_and_the_connection_ends(phone: Phone, words: bytes) -> None:
    await phone.say(words)
    status, _, reply = await phone.answer()
    assert (status, reply) == (400, {"status": 0, "code": "bad_request", "message": "请求有误", "data": {}})
    assert await phone.ended()


async def test_a_method_that_nobody_knows_is_not_allowed(api: Api) -> None:
    for words in (b"BREW /api/claim HTTP/1.1\r\nhost: clock\r\n\r\n", b"\x16\x03\x01\x02\x00"):
        other = Phone(*await asyncio.open_connection("127.0.0.1", api.settings.port))
        await other.say(words)
        status, headers, reply = await other.answer()
        assert (status, reply["code"]) == (405, "method_not_allowed")
        assert "post" in headers["allow"]
        assert await other.ended()


async def test_a_body_that_does_not_come_takes_no_room(api: Api, phone: Phone) -> None:
    for how in ({}, {"path": "/api/claim?x"}, {"length": False, "Transfer_Encoding": "chunked", "body": CHUNKED}):
        waiting = Phone(*await asyncio.open_connection("127.0.0.1", api.settings.port))
        await waiting.say(request(api, **how)[:-6])
        assert lane.inside.count == 0
        waiting.writer.close()
    await phone.say(request(api))
    assert await phone.code() == "ok"


async def test_only_the_beginning_of_a_long_list_of_languages_is_kept(api: Api, phone: Phone) -> None:
    lane._language.cache_clear()
    for number in range(20):
        await phone.say(request(api, Accept_Language=f"en, {number:01000}"))
        assert await phone.code() == "ok"
    assert lane._language.cache_info().currsize == 1


async def test_a_head_without_end_is_refused(phone: Phone) -> None:
    await phone.say(b"POST /api/claim HTTP/1.1\r\n")
    for number in range(protocol.MAX_HEAD // 4_000 + 1):
        await phone.say(b"x-%d: %b\r\n" % (number, b"y" * 4_000))
    assert await phone.code() == "bad_request"
    assert await phone.ended()


async def test_a_request_that_does_not_get_on_is_given_up(
    api: Api, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.3)
    await phone.say(request(api)[:-3])
    assert await phone.ended()
    assert lane.inside.count == 0


def deadlines(api: Api) -> list[Any]:
    """Of each connection, the timer that ends it unless a request is whole by then."""
    return [one._deadline for one in api.connections]


async def test_a_slow_request_that_is_whole_in_time_is_answered_and_the_connection_stays(
    api: Api, phone: Phone
) -> None:
    for _ in range(4):
        await phone.say(request(api)[:30])
        assert any(deadlines(api)), "it is given up some time"
        await phone.say(request(api)[30:])
        assert await phone.code() == "ok"
        assert not any(deadlines(api))


@pytest.mark.parametrize("path", ["/api/check-in", "/api/check-in?odd"])
async def test_a_connection_ends_when_it_has_been_idle_and_not_before(
    api: Api, redis: Redis, later: Callable[[float], None], path: str
) -> None:
    api.service.time.stop_at(at("05:00", 1))
    silent, busy = [await call(api) for _ in range(2)]
    for _ in range(4):
        await busy.say(request(api, path))
        assert await busy.code() == "not_joined"
        later(protocol.IDLE_SECONDS / 3)
    assert await silent.ended()
    async with held(redis):
        await busy.say(request(api, path))
        later(2 * protocol.IDLE_SECONDS)
    assert await busy.code() == "not_joined"
    later(protocol.IDLE_SECONDS / 2)
    await busy.say(request(api, path))
    assert await busy.code() == "not_joined"
    later(protocol.IDLE_SECONDS)
    assert await busy.ended()


async def test_who_leaves_before_the_answer_has_checked_in_and_takes_no_room(
    api: Api, phone: Phone, redis: Redis
) -> None:
    api.service.time.stop_at(at("05:00", 1))
    async with held(redis):
        await phone.say(request(api, "/api/check-in"))
        await until(lambda: lane.inside.count == 1)
        phone.writer.transport.abort()
        await until(lambda: any(one._eof for one in api.connections))
    await until(lambda: lane.inside.count == 0)
    assert (await api.post("/api/check-in", ME))["code"] == "already_checked_in"


@pytest.mark.parametrize("way", ["plain", "chunks"])
@pytest.mark.parametrize("used", [False, True])
async def test_what_comes_while_the_process_stops_is_answered_and_was_the_last(
    api: Api, phone: Phone, monkeypatch: pytest.MonkeyPatch, used: bool, way: str
) -> None:
    """It was sent before anybody could know; whole, or its second half."""
    monkeypatch.setattr(protocol, "STILL_SECONDS", 3.0)
    whole = request(api, **WAYS[way][0])
    if used:
        await phone.say(request(api))
        assert await phone.code() == "ok"
    late = await call(api)
    await late.say(whole[:-5])
    await until_known(api, 2)
    for connection in list(api.connections):
        connection.shutdown()
    await phone.say(whole)
    await late.say(whole[-5:])
    for one in (phone, late):
        status, headers, _ = await one.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await one.ended()
    late.writer.close()


async def test_a_connection_that_is_still_is_closed_when_the_process_stops(
    api: Api, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "STILL_SECONDS", 0.1)
    await until_known(api, 1)
    for connection in list(api.connections):
        connection.shutdown()
    assert await phone.ended()


async def until_known(api: Api, connections: int) -> None:
    async with asyncio.timeout(10):
        while len(api.connections) < connections:
            await asyncio.sleep(0.01)
