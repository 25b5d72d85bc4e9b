"""A short day over HTTP, on every path: each answer is in the OpenAPI document, to the last field."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from clock.books import outbox
from clock.channels import Result
from clock.config import Settings
from clock.http.schema.paths import PATHS
from clock.operators.work import asking
from clock.payments import outgoing
from clock.runtime.worker import count
from tests import document
from tests.conftest import DAY, Api, at
from tests.flow.stage import NEXT_DAY, STAKE, Scripted, drain_users

LIN, MEI, ZHAO, SUN, BOSS, OTHER = 7, 8, 9, 10, 99, 98
"""Lin and Mei get up, Zhao oversleeps, Sun only orders. The others are operators."""


class Played:
    """Everything that was asked and answered, by path."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api = api
        self.words: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._send = api.send
        monkeypatch.setattr(api, "send", self.send)

    async def send(self, method: str, path: str, *rest: Any, **named: Any) -> tuple[int, Any]:
        status, reply = await self._send(method, path, *rest, **named)
        document.check_reply(method, path, status, reply)
        self.words[method, document.operation_of(method, path) or ""].add(reply.get("code", ""))
        return status, reply

    async def asks(self, uid: int, path: str, role: str = "user") -> dict[str, Any]:
        _, reply = await self.send("GET", path, None, self.api.token(uid, role))
        return reply  # type: ignore[no-any-return]

    async def operates(self, path: str, operator: int = BOSS, **body: Any) -> dict[str, Any]:
        document.check_request("POST", path, body) if body else None
        _, reply = await self.send("POST", path, body, self.api.token(operator, "operator"))
        return reply  # type: ignore[no-any-return]

    async def drain(self) -> None:
        service = self.api.service
        for day in (DAY - timedelta(1), DAY, NEXT_DAY):
            await outbox.drain(service.store, service.redis, day, 0)
        await drain_users(service)


@pytest.fixture
def described() -> bool:
    return True


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Events are recorded; nobody takes them. What is worth more than two stakes needs two names."""
    return msgspec.structs.replace(settings, events_url="http://127.0.0.1:1/", second_name_fen=2 * STAKE)


@pytest.fixture
def played(api: Api, monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(api, monkeypatch)


async def everything_can_be_read(played: Played) -> None:
    """At any hour."""
    send = played.send
    for path in ("/api/summary", "/api/talents", "/api/board", "/healthz", "/readyz"):
        await send("GET", path)
    for day in (DAY, "2025-01-01", "today"):
        for path in (f"/api/rounds/{day}", f"/api/rounds/{day}/packets?limit=2", f"/api/rounds/{day}/proof"):
            await send("GET", path)
        for uid in (LIN, ZHAO, SUN):
            for kind in ("stake", "checked_in", "packet", "seed"):
                await played.asks(uid, f"/api/rounds/{day}/proof/{kind}")
                await played.asks(uid, f"/api/rounds/{day}/receipt/{kind}")
        await played.asks(LIN, f"/api/me/place/{day}")
        await played.asks(BOSS, f"/ops/events?day={day}", "operator")
        for path in ("rounds", "steps", "unanswered", "reconcile", "lookalikes"):
            await played.asks(BOSS, f"/ops/{path}/{day}", "operator")
    for uid in (LIN, ZHAO):
        await played.api.post("/api/summary", uid)
        for path in ("/api/me", "/api/me/history", "/api/me/yesterday"):
            await played.asks(uid, path)
    for path in (f"/ops/people/{LIN}", "/ops/people/12345", f"/ops/find?q={LIN}", "/ops/actions"):
        await played.asks(BOSS, path, "operator")
    for path in ("/ops/live", "/ops/work", "/ops/quarantine", "/ops/outgoing?state=done", "/ops/outgoing?state=owed"):
        await played.asks(BOSS, path, "operator")


async def strangers_are_refused(played: Played) -> None:
    await played.send("POST", "/api/check-in", {"uid": LIN})
    await played.send("POST", "/api/check-in", {"uid": LIN}, played.api.token(MEI))
    await played.send("POST", "/api/check-in", {"uid": "Lin"}, played.api.token(LIN))
    await played.send("POST", "/api/check-in", b"x" * 70_000, played.api.token(LIN))
    await played.send("POST", "/callbacks/platform", {"order_no": "T", "extra": {}})
    await played.asks(LIN, "/ops/live")


async def evening(played: Played) -> None:
    api = played.api
    api.service.time.stop_at(at("20:00"))
    await strangers_are_refused(played)
    await everything_can_be_read(played)
    await api.post("/api/join", LIN)
    for uid in (ZHAO, MEI, LIN):
        member = await api.member(uid)
    await api.join(LIN)
    await api.pay(member, LIN)
    await api.pay(member, LIN, transactionId="T2")
    order_no = (await api.join(SUN))["data"]["order_no"]
    await api.join(SUN)
    for number in (order_no, member, "nothing"):  # to be paid; paid; another's or none
        await played.send("POST", "/api/pay", {"uid": SUN, "order_no": number}, api.token(SUN))
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setattr(api.service.channels["platform"], "hows", ("h5",))
        await played.send("POST", "/api/pay", {"uid": SUN, "order_no": order_no, "how": "app"}, api.token(SUN))
    api.service.time.stop_at(at("24:00"))
    await played.send("POST", "/api/pay", {"uid": SUN, "order_no": order_no}, api.token(SUN))
    api.service.time.stop_at(at("20:00"))
    for changes in ({"amount": 99}, {"buyerId": "else"}, {"transactionId": ""}):
        await api.pay(order_no, SUN, **changes)
    await api.pay("TTCnobody", SUN)
    await api.post("/api/remind", LIN, on=True)
    await api.post("/api/alert/ack", LIN)
    await api.post("/api/check-in", LIN)
    await played.operates(f"/ops/rounds/{DAY}/settle")


async def morning(played: Played) -> None:
    api = played.api
    api.service.time.stop_at(at("04:00", 1))
    await api.post("/api/check-in", LIN)
    await api.post("/api/claim", LIN)
    api.service.time.stop_at(at("06:00", 1))
    await api.post("/api/join", LIN)
    await api.join(LIN)
    for uid in (LIN, LIN, MEI, SUN):
        await api.post("/api/check-in", uid)
    await api.post("/api/check-in/status", LIN)
    await api.post("/api/claim", LIN)
    extend = f"/ops/rounds/{DAY}/extend"
    await played.operates(extend, minutes=2, reason="the line was cut")
    await played.operates(extend, minutes=60, reason="all of it")
    await played.operates("/ops/rounds/2025-01-01/extend", minutes=1, reason="none")
    await played.drain()
    await everything_can_be_read(played)
    api.service.time.stop_at(at("08:04", 1))
    await api.post("/api/check-in", ZHAO)
    await api.post("/api/claim", LIN)


async def payday(played: Played) -> None:
    api = played.api
    api.service.time.stop_at(at("08:10", 1))
    assert (await played.operates(f"/ops/rounds/{DAY}/settle"))["code"] == "settled"
    for uid in (LIN, LIN, ZHAO, SUN):
        await api.post("/api/claim", uid)
    await played.drain()
    await count({"service": api.service})
    await everything_can_be_read(played)
    with pytest.MonkeyPatch.context() as hurried:
        hurried.setattr(asking, "WAIT_SECONDS", -1.0)
        assert (await played.operates(f"/ops/reconcile/{DAY}"))["code"] == "working"
    for day in (DAY, "2025-01-01"):
        await played.operates(f"/ops/reconcile/{day}")
        await played.asks(BOSS, f"/ops/reconcile/{day}", "operator")
        for operator in (BOSS, OTHER):
            await played.operates(f"/ops/rounds/{day}/void", operator, reason="an outage")
        await played.operates(f"/ops/rounds/{day}/settle")
    await played.operates(f"/ops/rounds/{DAY}/extend", minutes=1, reason="too late")


async def payouts_that_fail(played: Played) -> None:
    service, provider = played.api.service, Scripted()
    service.channels["platform"] = provider
    provider.result = says("failed")
    await outgoing.send_some(service.store, service.channels)
    failed = (await played.asks(BOSS, "/ops/outgoing?state=failed", "operator"))["data"]["items"]
    paths = [f"/ops/outgoing/{item['no']}" for item in failed if item["kind"] == "payout"]
    provider.result = says("done")
    await played.operates(f"{paths[0]}/again", reason="it has an account now")
    provider.result = says("failed")
    await played.operates(f"{paths[0]}/again", reason="it has an account now")
    await played.operates(f"{paths[0]}/acknowledge", reason="seen")
    with pytest.MonkeyPatch.context() as strict:
        strict.setattr(
            service.withdrawals, "_settings", msgspec.structs.replace(service.settings, withdraw_min_fen=10**9)
        )
        for uid in (LIN, ZHAO):
            await played.send("POST", "/api/withdraw", {"uid": uid}, played.api.token(uid))
    for uid in (LIN, ZHAO, 12345):
        for _ in range(2):
            await played.send("POST", "/api/withdraw", {"uid": uid}, played.api.token(uid))
        await played.asks(uid, "/api/me")
    for verb in ("again", "acknowledge"):
        await played.operates(f"/ops/outgoing/nothing/{verb}", reason="none")
    await played.drain()
    for kind in ("payout", "refund"):
        for verb in ("again", "acknowledge"):
            await played.operates(f"/ops/outgoing/{verb}", kind=kind, reason="the provider was away")
    for uid in (LIN, MEI, ZHAO):
        await played.operates(f"/ops/people/{uid}/withdraw", reason="the user wrote to us")
    await everything_can_be_read(played)


def says(state: Any) -> Callable[[str, str], Awaitable[Result]]:
    async def answer(_action: str, _no: str) -> Result:
        return Result(state)

    return answer


async def quarantine(played: Played) -> None:
    items = (await played.asks(BOSS, "/ops/quarantine", "operator"))["data"]["items"]
    assert {item["reason"] for item in items} >= {"amount_mismatch", "buyer_mismatch", "order_not_found"}
    for item in items:
        path = f"/ops/quarantine/{item['id']}/release"
        await played.operates(path, action="refund", reason="it is theirs")
        await played.operates(path, action="dismiss", reason="no")
    await played.operates(f"/ops/quarantine/{'0' * 64}/release", action="dismiss", reason="none")
    await everything_can_be_read(played)


async def events(played: Played) -> None:
    items = (await played.asks(BOSS, "/ops/events", "operator"))["data"]["items"]
    for item in items:
        document.check_sent(item["type"], {"type": item["type"], "timestamp": "", "data": item["data"]})
    assert {"round.opened", "payment.accepted", "packet.credited"} <= {item["type"] for item in items}
    for number in (items[0]["id"], "nothing"):
        await played.operates(f"/ops/events/{number}/again", reason="it was lost")


async def rules(played: Played) -> None:
    for body in (
        {"first_day": "2026-12-24", "last_day": "2026-12-25", "bonus_fen": 50, "preview": True},
        {"first_day": "2026-12-24", "last_day": "2026-12-25", "bonus_fen": 50, "reason": "the feast"},
        {"first_day": "2026-12-24", "last_day": "2026-12-25", "bonus_fen": 900, "reason": "too much for one"},
        {"first_day": str(DAY), "changes": {"stake_fen": 5}, "reason": "too late"},
        {"first_day": "2026-12-24", "changes": {"check_in_opens": "09:00"}, "reason": "after it has closed"},
    ):
        await played.operates("/ops/rules", **body)
    listed = (await played.asks(BOSS, "/ops/rules", "operator"))["data"]["changes"]
    for number in (listed[0]["id"], 4711):
        await played.operates(f"/ops/rules/{number}/take-back", reason="it was a mistake")
    await played.asks(BOSS, "/ops/rules?from=2026-12-24", "operator")


async def called_off(played: Played) -> None:
    """The next round, which has members already."""
    api = played.api
    await api.member(LIN)
    assert (await played.operates(f"/ops/rounds/{NEXT_DAY}/void", reason="an outage"))["code"] == "ok"
    await played.operates(f"/ops/rounds/{NEXT_DAY}/settle")
    await api.join(MEI)
    api.service.time.stop_at(at("06:00", 2))
    await api.post("/api/check-in", LIN)
    await api.post("/api/claim", LIN)
    for uid in (LIN, 12345):
        await played.operates(f"/ops/people/{uid}/forget", reason="asked for it")


async def development(played: Played) -> None:
    await played.send("POST", "/dev/token", {"uid": LIN})
    await played.send("POST", "/dev/pay", {"order_no": "TTCnobody"})
    await played.send("POST", "/dev/confirm", {"no": "W1N1"})
    await played.send("PUT", "/dev/time", {"now": "2026-11-25T10:00:00+08:00"})
    await played.send("PUT", "/dev/time", {"now": "10:00"})
    await played.send("DELETE", "/dev/time")


SELDOM = {"busy", "unavailable", "internal", "slow_down", "books_differ", "join_closed", "balance_short", "rules_full"}
SELDOM |= {"archived", "forgotten", "round_drawn"}
"""Words of trouble, of other windows and of later years, which other tests make."""


async def test_every_answer_of_a_day_is_in_the_document_to_the_last_field(played: Played) -> None:
    for part in (evening, morning, payday, payouts_that_fail, quarantine, events, rules, called_off, development):
        await part(played)
    in_text = {("GET", path) for path in ("/metrics", "/ops/rounds/{day}/export", "/ops/people/{uid}/export")}
    assert played.words.keys() | in_text == PATHS.keys()
    said = set[str]().union(*played.words.values())
    assert {word for path in PATHS.values() for word in path.words} - said == SELDOM
