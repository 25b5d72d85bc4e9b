"""The contract of the envelope: what is refused, in what order, in whose words, and that a refusal changes nothing."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import msgspec
import pytest
from redis.asyncio import Redis

from clock.config import Settings
from clock.http import lane
from clock.runtime import embedded, processes
from tests.conftest import DAY, JWT_SECRET, Api, at

ME, OTHER = 7, 8
EXTRA = {"mobile": "13800000007", "nickname": "seven", "openId": "open-7"}


@pytest.fixture
def changes() -> dict[str, Any]:
    """Settings that a test wants different; given by ``pytest.mark.parametrize``."""
    return {}


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    return msgspec.structs.replace(settings, **changes)


class Reply(msgspec.Struct):
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]

    @property
    def code(self) -> str:
        return str(self.body["code"])


async def ask(api: Api, method: str, path: str, data: Any = None, **headers: str) -> Reply:
    """``data`` as it is: bytes, or an iterator of them for a body without a length."""
    async with api.session.request(method, api.url + path, data=data, headers=headers) as reply:
        assert reply.headers["content-type"].startswith("application/json"), (path, reply.headers)
        lower = {name.lower(): value for name, value in reply.headers.items()}
        body = msgspec.json.decode(await reply.read(), type=dict[str, Any])
        assert set(body) == {"status", "code", "message", "data"}, body
        assert isinstance(body["data"], dict)
        assert body["message"]
        return Reply(reply.status, lower, body)


def user_verbs(api: Api) -> list[str]:
    """Every path of the service on which users act."""
    verbs = [path.decode() for path, lean in api.lean.items() if path.startswith(b"/api/") and "POST" in lean.endpoints]
    assert {"/api/summary", "/api/join", "/api/check-in/status", "/api/check-in", "/api/claim"} <= set(verbs)
    return verbs


async def kept(redis: Redis) -> dict[bytes, Any]:
    """Everything that Redis knows of rounds and users."""
    read: dict[bytes, Any] = {
        b"hash": redis.hgetall,
        b"list": lambda name: redis.lrange(name, 0, -1),
        b"stream": redis.xrange,
        b"string": redis.get,
        b"set": redis.smembers,
        b"zset": lambda name: redis.zrange(name, 0, -1, withscores=True),
    }
    names = [name async for name in redis.scan_iter("clock:*", count=1000)]
    lasting = [name for name in names if not name.startswith((b"clock:dev:", b"clock:worker:", b"clock:arq:"))]
    return {name: await read[await redis.type(name)](name) for name in lasting}


def json(body: Any) -> bytes:
    return msgspec.json.encode(body)


# -- the envelope's table, row by row


NOT_A_UID = {
    "a string": "7",
    "a float": 7.0,
    "true": True,
    "null": None,
    "negative": -1,
    "zero": 0,
    "above 2^53-1": 2**53,
    "above 2^64": 2**64 + 7,
    "a list": [7],
}


async def test_a_uid_that_is_not_one_is_a_bad_request_that_names_it(api: Api) -> None:
    for path in user_verbs(api):
        for what, uid in NOT_A_UID.items():
            reply = await ask(api, "POST", path, json({"uid": uid}), **api.token(ME))
            assert (reply.status, reply.code, reply.body["status"]) == (400, "bad_request", 0), (path, what)
            assert "uid" in reply.body["message"], (path, what)
        reply = await ask(api, "POST", path, b"{}", **api.token(ME))
        assert (reply.status, reply.code) == (400, "bad_request"), path
        assert "uid" in reply.body["message"], path


@pytest.mark.parametrize("uid", [1, 2**53 - 1])
async def test_the_smallest_and_the_largest_uid_are_served(api: Api, uid: int) -> None:
    api.service.time.stop_at(at("20:00"))
    for path in user_verbs(api):
        assert (await ask(api, "POST", path, json({"uid": uid}), **api.token(uid))).status == 200, path
    await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    assert (await api.post("/api/check-in", uid))["code"] == "checked_in"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"uid": 7',
        b"[]",
        b'"7"',
        b"7",
        b"null",
        b"\xff\xfe",
        b'{"uid": 7}{',
        b"[" * 60_000,
        b'{"uid": 7, "uid": "7"}',
        b'{"uid": 7, "x": "\xff"}',
    ],
    ids=[
        "cut off",
        "a list",
        "a text",
        "a number",
        "null",
        "not UTF-8",
        "trailing",
        "too deep",
        "uid twice",
        "x no UTF-8",
    ],
)
async def test_what_is_not_a_json_object_is_a_bad_request(api: Api, raw: bytes) -> None:
    for path in user_verbs(api):
        reply = await ask(api, "POST", path, raw, **api.token(ME))
        assert (reply.status, reply.code, reply.body["data"]) == (400, "bad_request", {}), path


async def test_a_profile_of_the_wrong_type_is_a_bad_request_that_names_the_field(api: Api) -> None:
    for field, value in itertools.product(("mobile", "nickname", "openId"), (7, True, ["x"], {}, "x" * 129, "a\0b")):
        for path in ("/api/join", "/api/summary"):
            body = json({"uid": ME, "extra": {**EXTRA, field: value}})
            reply = await ask(api, "POST", path, body, **api.token(ME))
            assert (reply.status, reply.code) == (400, "bad_request"), (path, field, value)
            assert field in reply.body["message"], (path, field, value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"null",
        b'{"reason": 5}',
        b'{"reason": "\xff"}',
        b'{"reason": "an outage", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    ],
    ids=["nothing", "an empty object", "null", "a number", "not UTF-8", "too deep"],
)
async def test_what_an_operator_posts_is_read_like_any_other_body(api: Api, raw: bytes) -> None:
    for path in ("/ops/rounds/2026-11-22/void", f"/ops/quarantine/{'ab' * 32}/release"):
        reply = await ask(api, "POST", path, raw, **api.token(ME, "operator"))
        assert (reply.status, reply.code) == (400, "bad_request"), path
        if raw in (b"", b"{}"):
            assert "`reason`" in reply.body["message"] or "`action`" in reply.body["message"]


async def test_a_query_that_is_not_one_is_said_of_its_field_and_not_repeated(api: Api) -> None:
    for query in ("page=0", "page=" + "9" * 5_000, "page=%3Cb%3E", "page="):
        reply = await ask(api, "GET", f"/api/board?{query}")
        assert (reply.status, reply.code) == (400, "bad_request")
        assert "`page`" in reply.body["message"] and len(reply.body["message"]) < 100, reply.body


async def test_a_path_that_does_not_exist_is_not_found_in_the_envelope(api: Api) -> None:
    for path in ("/api/nothing", "/api/check-in/nothing", "/callbacks/nobody", "/ops/nothing", "/nothing"):
        for method in ("GET", "POST"):
            reply = await ask(api, method, path, **api.token(ME))
            assert (reply.status, reply.code) == (404, "not_found"), (method, path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/check-in", {"POST"}),
        ("PUT", "/api/join", {"POST"}),
        ("DELETE", "/api/summary", {"POST", "GET"}),
        ("GET", "/callbacks/platform", {"POST"}),
        ("GET", "/ops/rounds/2026-11-22/settle", {"POST"}),
        ("POST", "/ops/quarantine", {"GET"}),
        ("PATCH", "/ops/rounds/2026-11-22", {"GET"}),
        ("POST", "/healthz", {"GET"}),
        ("OPTIONS", "/api/check-in", {"POST"}),
        ("OPTIONS", "/api/board", {"GET"}),
        ("OPTIONS", "/api/me/history", {"GET"}),
        ("OPTIONS", "/ops/rounds/2026-11-22", {"GET"}),
    ],
)
async def test_a_wrong_method_is_answered_with_the_right_ones(
    api: Api, method: str, path: str, allowed: set[str]
) -> None:
    reply = await ask(api, method, path, b"{}", **api.token(ME))
    assert (reply.status, reply.code) == (405, "method_not_allowed")
    named = {name.strip() for name in reply.headers["allow"].split(",")}
    assert allowed <= named <= allowed | {"OPTIONS", "HEAD"}
    assert method not in named


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
async def test_a_body_over_64_kib_is_too_large(api: Api, chunked: bool) -> None:
    async def send(path: str, size: int) -> Reply:
        raw = json({"uid": ME}).ljust(size)

        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, size, 10_000):
                yield raw[start : start + 10_000]

        return await ask(api, "POST", path, parts() if chunked else raw, **api.token(ME))

    for path in [*user_verbs(api), "/callbacks/platform", "/ops/rounds/2026-11-22/settle"]:
        for size in (64 * 1024 + 1, 700_000):
            reply = await send(path, size)
            assert (reply.status, reply.code) == (413, "too_large"), (path, size)
    assert (await send("/api/check-in/status", 64 * 1024)).status == 200


def signed(key: str = JWT_SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": str(ME), "exp": int(time.time()) + 60, **claims}, key, algorithm=algorithm)


BAD_CREDENTIALS = {
    "none": "",
    "no token": "Bearer",
    "garbage": "Bearer garbage",
    "three parts of garbage": "Bearer a.b.c",
    "another scheme": f"Basic {signed()}",
    "expired": f"Bearer {signed(exp=int(time.time()) - 1)}",
    "of another key": f"Bearer {signed('another secret, which is also 32 bytes long')}",
    "of no algorithm": f"Bearer {signed('', 'none')}",
    "cut": f"Bearer {signed()[:-2]}",
    "for ever": f"Bearer {jwt.encode({'sub': str(ME)}, JWT_SECRET)}",
    "of nobody": f"Bearer {jwt.encode({'exp': int(time.time()) + 60}, JWT_SECRET)}",
}


async def test_without_a_good_token_nobody_is_served(api: Api) -> None:
    posts = [*user_verbs(api), "/ops/rounds/2026-11-22/settle", "/ops/rounds/2026-11-22/void"]
    gets = ["/ops/quarantine", "/ops/rounds/2026-11-22"]
    for method, path in [("POST", path) for path in posts] + [("GET", path) for path in gets]:
        for what, authorization in BAD_CREDENTIALS.items():
            headers = {"authorization": authorization} if authorization else {}
            reply = await ask(api, method, path, json({"uid": ME}) if method == "POST" else None, **headers)
            assert (reply.status, reply.code) == (401, "unauthenticated"), (path, what)


async def test_a_user_acts_for_nobody_else_and_a_service_for_anybody(api: Api) -> None:
    for path in user_verbs(api):
        reply = await ask(api, "POST", path, json({"uid": OTHER}), **api.token(ME))
        assert (reply.status, reply.code) == (403, "forbidden"), path
        assert (await ask(api, "POST", path, json({"uid": OTHER}), **api.token(ME, "service"))).status == 200, path


async def test_only_an_operator_operates(api: Api) -> None:
    requests = [
        ("GET", "/ops/quarantine", None),
        ("GET", "/ops/rounds/2026-11-22", None),
        ("POST", "/ops/rounds/2026-11-22/settle", b"{}"),
        ("POST", "/ops/rounds/2026-11-22/void", b'{"reason": "an outage"}'),
    ]
    for method, path, body in requests:
        for role in ("user", "service"):
            reply = await ask(api, method, path, body, **api.token(ME, role))
            assert (reply.status, reply.code) == (403, "forbidden"), (path, role)
        assert (await ask(api, method, path, body, **api.token(ME, "operator"))).code not in ("forbidden", "internal")


# -- which refusal comes first


FAULTS = ("too_large", "unauthenticated", "bad_request", "forbidden")
COMBINATIONS = [some for count in range(5) for some in itertools.combinations(FAULTS, count)]


OPERATORS = {
    "/ops/rounds/2026-11-22/settle": ("/ops/rounds/yesterday/settle", b"{}", b"{}"),
    "/ops/rounds/2026-11-22/void": ("/ops/rounds/2026-11-22/void", b'{"reason": "an outage"}', b"{}"),
}
"""Path: the same with a bad request, a good body, a body with a bad request."""


@pytest.mark.parametrize("faults", COMBINATIONS, ids=lambda some: "+".join(some) or "none")
async def test_the_first_refusal_is_413_then_401_then_400_then_403_then_the_games(
    api: Api, faults: tuple[str, ...]
) -> None:
    """Whatever is wrong with a request besides, the first of its faults in that order is the answer."""
    api.service.time.stop_at(at("20:00"))
    requests: list[tuple[str, bytes, dict[str, str]]] = []
    for path in user_verbs(api):
        body = {"uid": OTHER if "forbidden" in faults else ME, "extra": EXTRA, "on": True}
        raw = json(body)[:-1] if "bad_request" in faults else json(body)
        if {"bad_request", "forbidden"} <= set(faults):
            raw = json({**body, "uid": str(OTHER)})
        requests.append((path, raw, api.token(ME)))
    for path, (bad_path, good, bad) in OPERATORS.items():
        role = "user" if "forbidden" in faults else "operator"
        wrong = "bad_request" in faults
        requests.append((bad_path if wrong else path, bad if wrong else good, api.token(ME, role)))
    for path, raw, token in requests:
        headers = {"authorization": "Bearer garbage"} if "unauthenticated" in faults else token
        sent = raw.ljust(65_537) if "too_large" in faults else raw
        reply = await ask(api, "POST", path, sent, **headers)
        if faults:
            assert reply.code == faults[0], path
        else:
            assert reply.status == 200, path


@pytest.mark.parametrize(
    "path",
    [
        "/ops/rounds/yesterday",
        "/ops/reconcile/yesterday",
        "/ops/unanswered/yesterday",
        "/ops/quarantine?page=0",
        "/ops/outgoing?state=lost",
    ],
)
async def test_reads_are_refused_in_the_same_order(api: Api, path: str) -> None:
    assert (await ask(api, "GET", path)).code == "unauthenticated"
    assert (await ask(api, "GET", path, **api.token(ME))).code == "bad_request"
    assert (await ask(api, "GET", path.replace("yesterday", "2026-11-22").split("?")[0], **api.token(ME))).code == (
        "forbidden"
    )


async def test_a_refusal_changes_nothing(api: Api, redis: Redis) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(ME)
    before = await kept(redis)
    for path in user_verbs(api):
        body = json({"uid": ME, "extra": EXTRA, "on": True})
        await ask(api, "POST", path, body.ljust(70_000), **api.token(ME))
        await ask(api, "POST", path, body, authorization="Bearer garbage")
        await ask(api, "POST", path, body[:-1], **api.token(ME))
        await ask(api, "POST", path, body, **api.token(OTHER))
        await ask(api, "PUT", path, body, **api.token(ME))
    for word in ("already_joined", "profile_required"):
        extra = EXTRA if word == "already_joined" else {}
        assert (await api.post("/api/join", ME, extra=extra))["code"] == word
    assert (await api.post("/api/check-in", ME))["code"] == "too_late"
    assert (await api.post("/api/claim", ME))["code"] == "not_settled"
    assert await kept(redis) == before


# -- language


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "zh"),
        ("zh-CN,zh;q=0.9", "zh"),
        ("en", "en"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("fr, en;q=0.5", "en"),
        ("zh, en;q=0.9", "zh"),
        ("en;q=0.5, zh;q=0.9", "zh"),
        ("en;q=0", "zh"),
        ("fr-FR, *;q=0.1", "zh"),
        (";;q=,en;q=x", "zh"),
    ],
)
async def test_people_are_spoken_to_in_chinese_or_in_english_if_they_ask(api: Api, accept: str, language: str) -> None:
    headers = {"accept-language": accept} if accept else {}
    said = {"zh": "您没有参加本轮打卡", "en": "You have not joined this round"}
    api.service.time.stop_at(at("06:00", 1))
    reply = await ask(api, "POST", "/api/check-in", json({"uid": ME}), **headers, **api.token(ME))
    assert (reply.code, reply.body["message"]) == ("not_joined", said[language])
    said = {"zh": "没有这个地址", "en": "No such path"}
    assert (await ask(api, "GET", "/nothing", **headers)).body["message"] == said[language]
    said = {"zh": "请先登录", "en": "A valid token is required"}
    assert (await ask(api, "POST", "/api/claim", b"{}", **headers)).body["message"].startswith(said[language])


# -- too many, too busy, too broken


@pytest.mark.parametrize("changes", [{"user_rate": 3}])
async def test_a_user_who_asks_too_often_is_slowed_down_and_others_are_not(api: Api, redis: Redis) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.post("/api/summary", OTHER)
    mine = [await ask(api, "POST", "/api/summary", json({"uid": ME}), **api.token(ME)) for _ in range(12)]
    assert {reply.code for reply in mine[:3]} == {"ok"}
    slowed = [reply for reply in mine if reply.code == "slow_down"]
    assert len(slowed) >= 5
    assert {(reply.status, reply.headers["retry-after"]) for reply in slowed} == {(429, "1")}
    before = await kept(redis)
    join = await ask(api, "POST", "/api/join", json({"uid": ME, "extra": EXTRA}), **api.token(ME))
    if join.code == "slow_down":
        assert await kept(redis) == before
    assert (await api.post("/api/summary", OTHER))["code"] == "ok"
    await asyncio.sleep(1.01)
    assert (await api.post("/api/summary", ME))["code"] == "ok"


@pytest.mark.parametrize("changes", [{"user_rate": 3}])
@pytest.mark.parametrize("path", ["/api/me", "/api/me/history", "/api/me/yesterday"])
async def test_reads_of_a_user_are_counted_like_the_verbs(api: Api, path: str) -> None:
    replies = [await ask(api, "GET", path, **api.token(ME)) for _ in range(8)]
    assert {reply.code for reply in replies[:3]} == {"ok"}
    slowed = {(reply.status, reply.headers["retry-after"]) for reply in replies if reply.code == "slow_down"}
    assert slowed == {(429, "1")}
    assert (await ask(api, "GET", path, **api.token(OTHER))).code == "ok"


@pytest.mark.parametrize("path", ["/api/me", "/api/me/history", "/api/me/yesterday", "/ops/quarantine"])
async def test_what_needs_a_token_is_stored_nowhere_on_its_way(api: Api, path: str) -> None:
    reply = await ask(api, "GET", path, **api.token(ME, "operator"))
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")


async def test_when_the_queue_is_full_the_rest_are_told_to_come_back_and_nothing_is_done_for_them(
    api: Api, redis: Redis
) -> None:
    api.service.time.stop_at(at("20:00"))
    people = range(1, 41)
    for uid in people:
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    api.service.asking.batcher._max_waiting = 5

    async def check_in(uid: int) -> Reply:
        return await ask(api, "POST", "/api/check-in", json({"uid": uid}), **api.token(uid))

    await check_in(people[-1] + 1)  # a stranger, so that the round is known
    await redis.client_pause(500)
    replies = dict(zip(people, await asyncio.gather(*map(check_in, people)), strict=True))
    refused = [uid for uid, reply in replies.items() if reply.code == "busy"]
    done = [uid for uid, reply in replies.items() if reply.code == "checked_in"]
    assert len(refused) + len(done) == len(people)
    assert len(done) == 5
    assert all(replies[uid].status == 503 and replies[uid].headers["retry-after"] == "1" for uid in refused)
    assert int(await redis.hget(f"clock:{{{DAY}.0}}:totals", "winners") or 0) == len(done)  # type: ignore[misc]
    assert [(await check_in(uid)).code for uid in refused] == ["checked_in"] * len(refused)


async def test_beyond_its_bound_a_process_refuses_at_once_and_lets_in_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(ME)
    monkeypatch.setattr(lane.inside, "most", 0)
    for body, headers in ((b"not JSON", {}), (json({"uid": ME}), api.token(ME))):
        refused = await ask(api, "POST", "/api/summary", body, **headers)
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "busy", "1")
    assert (await api.send("GET", "/healthz"))[0] == 200
    monkeypatch.setattr(lane.inside, "most", 1)
    for _ in range(3):
        assert (await api.post("/api/summary", ME))["code"] == "ok"
    assert lane.inside.count == 0


class TestRedisGone:
    @pytest.fixture
    async def settings(self, settings: Settings) -> AsyncIterator[Settings]:
        """With a Valkey of the test's own."""
        with embedded.scratch() as place:
            self.valkey = embedded.Valkey(place)
            self.process = await embedded.start(self.valkey)
            yield msgspec.structs.replace(settings, redis_url=self.valkey.url)
            await processes.stop(self.process, self.valkey.stop_signal)

    async def test_everything_is_unavailable_nothing_is_half_done_and_all_of_it_comes_back(self, api: Api) -> None:
        api.service.time.stop_at(at("20:00"))
        await api.member(ME)
        order_no = (await api.join(OTHER))["data"]["order_no"]
        api.service.time.stop_at(at("05:00", 1))
        before = await kept(api.service.redis)
        await processes.stop(self.process, self.valkey.stop_signal)

        for path in user_verbs(api):
            reply = await ask(api, "POST", path, json({"uid": ME, "extra": EXTRA}), **api.token(ME))
            assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "unavailable", "2"), path
            assert reply.body["status"] == 0
        status, envelope = await api.pay(order_no, OTHER)
        assert (status, envelope["code"]) == (503, "unavailable")
        reply = await ask(api, "GET", f"/ops/rounds/{DAY}", **api.token(ME, "operator"))
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "unavailable", "2")
        assert (await api.send("GET", "/healthz"))[0] == 200
        assert (await api.send("GET", "/readyz"))[0] == 503

        self.process = await embedded.launch(self.valkey, same_port=True)
        await embedded.wait_ready(self.valkey, 10)
        assert await kept(api.service.redis) == before
        reply = await ask(api, "POST", "/api/check-in", json({"uid": ME}), **api.token(ME))
        assert (reply.code, reply.body["data"]) == ("checked_in", {"money": 100})
        status, envelope = await api.pay(order_no, OTHER, notify_time="2026-11-22 20:00:00")
        assert (status, envelope["code"]) == (200, "paid")


# -- what a yes says, exactly


async def test_every_yes_has_exactly_the_data_of_the_contract(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    reply = await api.post("/api/join", ME, extra=EXTRA)
    order = reply["data"]
    assert (reply["status"], reply["code"]) == (1, "ordered")
    assert set(order) == {"order_id", "order_no", "amount", "pay"}
    assert 0 < order["order_id"] < 2**53
    assert order["order_no"].startswith("TTC")
    assert order["order_no"].isalnum() and order["order_no"].isascii() and len(order["order_no"]) <= 32
    assert order["amount"] == 100
    assert isinstance(order["pay"], dict)
    again = await api.post("/api/join", ME, extra=EXTRA)
    assert (again["status"], again["code"], again["data"]) == (1, "order_pending", order)
    assert (await api.pay(order["order_no"], ME))[1] == {
        "status": 1,
        "code": "paid",
        "message": "支付成功",
        "data": {},
    }
    assert await api.post("/api/join", ME, extra=EXTRA) == {
        "status": 0,
        "code": "already_joined",
        "message": "您已参加本轮打卡",
        "data": {},
    }
    await api.member(OTHER)

    api.service.time.stop_at(at("05:00", 1))
    assert (await api.post("/api/check-in/status", ME))["data"] == {"is_check_in": 0}
    for word in ("checked_in", "already_checked_in"):
        reply = await api.post("/api/check-in", ME)
        assert (reply["status"], reply["code"], reply["data"]) == (1, word, {"money": 200})
    reply = await api.post("/api/check-in/status", ME)
    assert (reply["status"], reply["code"], reply["data"]) == (1, "ok", {"is_check_in": 1})

    api.service.time.stop_at(at("08:05", 1))
    assert await api.service.settling.settle(DAY) == "settled"
    for word in ("claimed", "already_claimed"):
        reply = await api.post("/api/claim", ME)
        assert (reply["status"], reply["code"]) == (1, word)
        assert reply["data"] == {"assign": {"money": 100, "stake": 100, "total": 200}}


# -- one user, many requests; and the first and the last instant


async def test_of_many_simultaneous_check_ins_of_a_user_exactly_one_is_checked_in(api: Api, redis: Redis) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (ME, OTHER):
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    replies = await asyncio.gather(*(api.post("/api/check-in", uid) for uid in [ME, OTHER] * 40))
    for codes in ([reply["code"] for reply in replies[::2]], [reply["code"] for reply in replies[1::2]]):
        assert sorted(codes) == ["already_checked_in"] * 39 + ["checked_in"]
    assert await redis.hget(f"clock:{{{DAY}.0}}:totals", "winners") == b"2"  # type: ignore[misc]


async def test_check_in_opens_at_five_to_the_millisecond_and_closes_at_eight(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2, 3):
        await api.member(uid)
    for instant, uid, code in (
        (at("00:00", 1), 1, "too_early"),
        (at("05:00", 1, -1), 1, "too_early"),
        (at("05:00", 1), 1, "checked_in"),
        (at("08:00", 1, -1), 2, "checked_in"),
        # The few milliseconds that a request waits in the process are made up for; never more than five seconds.
        (at("08:00", 1, 5_000), 3, "too_late"),
        (at("08:00", 1, 5_000), 4, "too_late"),
        (at("08:00", 1, 5_000), 1, "already_checked_in"),
        (at("23:59", 1), 1, "already_checked_in"),
        (at("00:00", 2, 5_000), 1, "too_early"),
    ):
        api.service.time.stop_at(instant)
        assert (await api.post("/api/check-in", uid))["code"] == code, (instant, uid)


async def test_a_round_is_joined_on_its_day_and_by_yesterdays_members_from_its_settlement_on(api: Api) -> None:
    async def join(uid: int, instant: int) -> tuple[str, str]:
        api.service.time.stop_at(instant)
        reply = await api.join(uid)
        day = (await api.post("/api/summary", uid))["data"]["summary"]["round"]
        return reply["code"], day if reply["status"] else ""

    assert await join(1, at("00:00")) == ("ordered", "2026-11-22")
    assert await join(2, at("00:00", 1, -1)) == ("ordered", "2026-11-22")
    assert await join(3, at("00:00", 1, 5_000)) == ("ordered", "2026-11-23")
    await api.member(4)
    api.service.time.stop_at(at("20:00"))
    await api.member(5)
    assert await join(5, at("00:00", 1, 5_000)) == ("settle_first", "")
    assert await join(5, at("08:05", 1, -1)) == ("settle_first", "")
    assert await join(5, at("08:05", 1)) == ("ordered", "2026-11-23")


async def test_claiming_opens_with_the_settlement_and_closes_with_the_day(api: Api) -> None:
    async def claim(uid: int, instant: int) -> str:
        api.service.time.stop_at(instant)
        return str((await api.post("/api/claim", uid))["code"])

    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2, 3):
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    for uid in (1, 2):
        await api.post("/api/check-in", uid)
    assert await claim(1, at("08:00", 1, -1)) == "too_early"
    assert await claim(1, at("08:00", 1)) == "not_settled"
    api.service.time.stop_at(at("08:05", 1))
    assert await api.service.settling.settle(DAY) == "settled"
    assert await claim(1, at("08:05", 1)) == "claimed"
    assert await claim(3, at("08:05", 1)) == "not_checked_in"
    assert await claim(4, at("08:05", 1)) == "not_joined"
    assert await claim(2, at("00:00", 2, -1)) == "claimed"
    assert await claim(2, at("00:00", 2, 5_000)) == "too_early"  # today's check-in is another round's


async def test_a_body_that_never_ends_does_not_block_others(api: Api) -> None:
    ended = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"uid": '
        await ended.wait()
        yield b"7}"

    async with aiohttp.ClientSession() as other:
        body = slowly()
        slow = asyncio.create_task(
            other.post(f"{api.url}/api/check-in/status", data=body, headers=api.token(ME)).__aenter__()
        )
        await asyncio.sleep(0.05)
        assert (await api.post("/api/check-in/status", OTHER))["code"] == "ok"
        ended.set()
        assert (await slow).status == 200
