"""RFC 9110 and 9112, as far as clients, proxies and caches rely on them: heads, methods, fields that say what may be
kept, one spelling of a path, limits for strangers."""

from typing import Any

import pytest

from clock import metrics
from clock.http import lane
from tests.conftest import Api
from tests.flow.http.stage import ME, Phone, call, request

HEADS: dict[str, tuple[bytes, int]] = {
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /healthz HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n", 400),
    "no host in HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    "two hosts in HTTP/1.0": (b"GET /healthz HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    "a blank before the colon": (b"GET /healthz HTTP/1.1\r\nhost : a\r\n\r\n", 400),
    "a field on two lines": (b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: b\r\n c\r\n\r\n", 400),
    "a line without a colon": (b"GET /healthz HTTP/1.1\r\nhost: a\r\nx\r\n\r\n", 400),
    "a bare CR": (b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: b\rc\r\n\r\n", 400),
    "a NUL": (b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: \x00\r\n\r\n", 400),
    "a bell": (b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: \x07\r\n\r\n", 400),
    "brackets in a name": (b"GET /healthz HTTP/1.1\r\nhost: a\r\nx[]: b\r\n\r\n", 400),
    "an empty value": (b"GET /healthz HTTP/1.1\r\nhost:\ta\r\nx:\r\ny: \r\n\r\n", 200),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "another version": (b"GET /healthz HTTP/9.9\r\nhost: a\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an empty line before it": (b"\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n", 200),
    "a target for proxies": (b"GET http://a/healthz HTTP/1.1\r\nhost: a\r\n\r\n", 200),
    "a target without a path": (b"GET http://a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "another scheme": (b"GET ftp://a/healthz HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "the server itself": (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "a letter in a length": (b"POST /api/claim HTTP/1.1\r\nhost: a\r\ncontent-length: 1a\r\n\r\n{}", 400),
    "a sign in a length": (b"POST /api/claim HTTP/1.1\r\nhost: a\r\ncontent-length: +2\r\n\r\n{}", 400),
    "a negative length": (b"POST /api/claim HTTP/1.1\r\nhost: a\r\ncontent-length: -2\r\n\r\n{}", 400),
    "no length": (b"POST /api/claim HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\n{}", 400),
    "two lengths": (b"POST /api/claim HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}", 400),
    "a list of lengths": (b"POST /api/claim HTTP/1.1\r\nhost: a\r\ncontent-length: 2, 2\r\n\r\n{}", 400),
    "a length above 64 bits": (
        b"POST /api/claim HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
        400,
    ),
    "a length and chunks": (
        b"POST /api/claim HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a coding that we do not know": (
        b"POST /api/claim HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a coding without chunks": (b"POST /api/claim HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 400),
    "a chunk without a size": (
        b"POST /api/claim HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n\r\n",
        400,
    ),
}


async def test_a_head_is_read_as_everybody_reads_it(api: Api) -> None:
    for head, (words, status) in HEADS.items():
        phone = await call(api)
        await phone.say(words)
        if status == 200:
            phone.writer.write_eof()
        assert await phone.statuses() == [status], head
        phone.writer.close()


@pytest.mark.parametrize("path", ["/api/check-in/status", "/api/check-in/status?", "/api/me"])
async def test_two_tokens_are_none(api: Api, phone: Phone, path: str) -> None:
    token = api.token(ME)["authorization"].encode()
    method = b"GET" if path == "/api/me" else b"POST"
    one = b"%b %b HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nauthorization: %b\r\n" % (method, path.encode(), token)
    for second, status in ((b"", 200), (b"authorization: %b\r\n" % token, 401), (b"authorization: Basic x\r\n", 401)):
        await phone.say(one + second + b'\r\n{"uid":7}')
        answer = await phone.answer()
        assert answer[0] == status
        assert answer[1].get("www-authenticate") == (None if status == 200 else "bearer")


READS = ["/", "/ops", "/web/clock.css", "/schema", "/schema/openapi.json", "/schema/static/swagger-ui.css"]
READS += ["/healthz", "/readyz", "/metrics", "/api/summary", "/api/talents", "/api/board", "/api/rounds/2026-11-22"]


@pytest.mark.parametrize("described", [True])
async def test_head_answers_as_get_without_the_body(api: Api) -> None:
    for path in READS:
        async with api.session.get(api.url + path) as got, api.session.head(api.url + path) as head:
            assert head.status == got.status, path
            same = ("content-type", "cache-control", "vary", "etag", "content-length", "content-encoding")
            changing = ("content-length",) if path in ("/metrics", "/readyz", "/api/summary") else ()
            for name in same:
                assert name in changing or head.headers.get(name) == got.headers.get(name), (path, name)
            assert await head.read() == b""
            assert got.headers["cache-control"], path
    async with api.session.head(api.url + "/api/claim") as head:
        assert (head.status, head.headers["allow"]) == (405, "POST")
    async with api.session.post(api.url + "/") as page, api.session.post(api.url + "/api/board") as board:
        assert (page.status, page.headers["allow"]) == (board.status, board.headers["allow"]) == (405, "GET, HEAD")


async def test_public_answers_say_how_long_they_may_be_kept_and_no_others_at_all(api: Api, phone: Phone) -> None:
    kept = {"/api/summary": 1, "/api/talents": 60, "/api/board": 60, "/api/rounds/2026-11-22": 1}
    for path, seconds in kept.items():
        async with api.session.get(api.url + path) as reply:
            assert reply.headers["cache-control"] == f"public, max-age={seconds}", path
            assert "accept-language" in reply.headers["vary"]
    ours, operators = api.token(ME), api.token(9, "operator")
    never: list[tuple[str, str, dict[str, str]]] = [
        ("GET", "/api/me", ours),
        ("GET", "/api/me", {}),
        ("GET", "/api/board?page=0", {}),
        ("GET", "/api/rounds/2020-01-01", {}),
        ("GET", "/nowhere", {}),
        ("GET", "/nowhere/", {}),
        ("GET", "/ops/live", operators),
        ("GET", "/readyz", {}),
        ("POST", "/api/check-in/status", ours),
        ("POST", "/api/check-in/status?", ours),
        ("POST", "/callbacks/platform", {}),
        ("POST", "/api/summary", ours),
    ]
    for method, path, headers in never:
        async with api.session.request(method, api.url + path, data=b'{"uid":7}', headers=headers) as reply:
            assert reply.headers.getall("cache-control") == ["no-store"], path


ENCODINGS = {
    "gzip": True,
    "br, gzip;q=0.5": True,
    "GZIP": True,
    "*": True,
    "gzip;q=0": False,
    "gzip; q=0.000, *": False,
    "*;q=0": False,
    "identity": False,
    "xgzip": False,
    "gzip;q=x": False,
    "": False,
}
"""What a client accepts, and whether it takes gzip."""


async def test_a_page_is_compressed_for_those_who_want_it(api: Api) -> None:
    for accepted, zipped in ENCODINGS.items():
        headers = {"accept-encoding": accepted}
        async with api.session.get(api.url + "/", headers=headers, skip_auto_headers=["accept-encoding"]) as reply:
            assert reply.headers.get("content-encoding") == ("gzip" if zipped else None), accepted
            assert "accept-encoding" in reply.headers["vary"]


async def test_a_page_that_the_client_has_is_not_sent_again(api: Api) -> None:
    async with api.session.get(api.url + "/") as reply:
        tag = reply.headers["etag"]
    strong = tag.removeprefix("W/")
    for asked, status in {
        tag: 304,
        strong: 304,
        f'"a", W/"b" , {tag}': 304,
        "*": 304,
        '"a"': 200,
        f'"a{strong[1:]}': 200,
        "": 200,
    }.items():
        async with api.session.get(api.url + "/", headers={"if-none-match": asked}) as reply:
            assert (reply.status, reply.headers["etag"]) == (status, tag), asked
            assert bool(await reply.read()) == (status == 200)


OTHER_SPELLINGS = ["/metrics/", "//metrics", "/./metrics", "/m%65trics", "/metrics%20", "/METRICS", "/metrics;x"]
OTHER_SPELLINGS += [
    "/api/claim/",
    "/api/check%2din",
    "/api//claim",
    "/schema/static/%00",
    "/schema/static/" + "a" * 5_000,
]
OTHER_SPELLINGS += [
    "/schema/static/..%2f..%2fetc",
    "/web/../web/clock.css",
    "/schema/static/",
    "/api/rounds/" + "/x" * 99,
]


async def test_a_path_has_one_spelling(api: Api, phone: Phone, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for path in OTHER_SPELLINGS:
        await phone.say(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path.encode())
        assert (await phone.answer())[0] == 404, path
        await phone.say(request(api, path))
        assert (await phone.answer())[0] == 404, path
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("changes", [{"client_rate": 5}])
async def test_strangers_are_limited_by_address_and_users_are_not(api: Api) -> None:
    async def codes(count: int, path: str = "/api/board", **headers: str) -> list[Any]:
        found = []
        for _ in range(count):
            async with api.session.get(api.url + path, headers=headers) as reply:
                found.append(reply.status)
                assert reply.status != 429 or reply.headers["retry-after"] == "1"
        return found

    assert 429 in await codes(20)
    assert 429 in await codes(20, "/api/summary")
    assert 429 in await codes(20, "/")
    assert await codes(20, "/healthz") == [200] * 20
    assert await codes(20, "/api/me", **api.token(ME)) == [200] * 20
    for number in range(20):
        assert await codes(1, **{"x-forwarded-for": f"203.0.113.{number}"}) == [200]
    assert 429 in await codes(20, **{"x-forwarded-for": "203.0.113.99, 10.0.0.1"})
    assert 429 in [(await codes(1, **{"x-forwarded-for": f"2001:db8::{number:x}"}))[0] for number in range(20)]
    assert {(await codes(1, **{"x-forwarded-for": f"2001:db8:0:{number:x}::1"}))[0] for number in range(1, 21)} == {200}


@pytest.mark.parametrize("changes", [{"client_rate": 5, "proxies": ""}])
async def test_who_is_no_proxy_of_ours_cannot_name_another_address(api: Api) -> None:
    found = set()
    for number in range(20):
        async with api.session.get(api.url + "/", headers={"x-forwarded-for": f"203.0.113.{number}"}) as reply:
            found.add(reply.status)
    assert found == {200, 429}


@pytest.mark.parametrize("changes", [{"metrics_token": "a token for Prometheus"}])
async def test_metrics_can_be_kept_from_strangers(api: Api) -> None:
    for headers, status in (
        ({}, 401),
        ({"authorization": "Bearer another"}, 401),
        (api.token(9, "operator"), 401),
        ({"authorization": "Bearer a token for Prometheus"}, 200),
    ):
        async with api.session.get(api.url + "/metrics", headers=headers) as reply:
            assert reply.status == status
            assert reply.headers["content-type"].count("charset") == (1 if status == 200 else 0)


async def test_metrics_are_made_once_a_second_however_many_ask(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    exposition = metrics.exposition

    def counted(more: Any) -> bytes:
        made.append(1)
        return exposition(more)

    monkeypatch.setattr(metrics, "exposition", counted)
    texts = set()
    for _ in range(30):
        async with api.session.get(api.url + "/metrics") as reply:
            texts.add(await reply.text())
    assert len(texts) == len(made) <= 2


async def test_an_ordinary_handler_lets_in_only_so_many(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane.Inside, "is_full", lambda self: self.most == 1_024)
    for path, status in {"/api/board": 503, "/healthz": 200, "/readyz": 200, "/api/summary": 200}.items():
        async with api.session.get(api.url + path) as reply:
            assert reply.status == status or path == "/readyz", path


async def test_a_full_process_says_so_and_keeps_to_the_connections_life(
    api: Api, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane.inside, "most", 0)
    await phone.say(request(api, Connection="close"))
    assert (await phone.answer())[0] == 503
    assert await phone.ended()
    old = await call(api)
    await old.say(request(api, version="1.0"))
    assert (await old.answer())[0] == 503
    assert await old.ended()
