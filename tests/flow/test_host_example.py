"""The example of a host, as a process of its own beside a real service: a day in which money comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import msgspec
import pytest

from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.runtime import embedded
from clock.runtime.ports import free_port
from clock.runtime.supervise import running
from tests import document
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET, in_memory
from tests.flow.sandbox.stage import listening
from tests.host import hosting

LIN, ZHAO, SUN, BOSS = 7, 8, 9, 99
"""Lin gets up, Zhao oversleeps though he is reminded, Sun pays when joining is over."""

OTHERS_SECRET = "whsec_" + "YW5vdGhlcidzIHNlY3JldCwgd2hpY2ggaXMgbm90IG91cnM="


class Town:
    """The host, the service, and everybody's requests to both."""

    def __init__(self, session: aiohttp.ClientSession, host: str, clock: str) -> None:
        self.session, self.host, self.clock = session, host, clock.rstrip("/")

    async def send(self, method: str, url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        async with self.session.request(method, url, data=data, headers=headers) as reply:
            raw = await reply.read()
            return reply.status, msgspec.json.decode(raw) if raw else {}

    async def it_is(self, instant: str) -> None:
        status, _ = await self.send("PUT", f"{self.clock}/dev/time", {"now": f"{instant}+08:00"})
        assert status == 200

    async def person(self, uid: int) -> dict[str, str]:
        """With the token that the host makes."""
        status, found = await self.send("GET", f"{self.host}/token?uid={uid}")
        assert status == 200
        return found  # type: ignore[no-any-return]

    async def does(self, uid: int, path: str, **body: Any) -> dict[str, Any]:
        token = (await self.person(uid))["token"]
        sent = await self.send("POST", self.clock + path, {"uid": uid, **body}, authorization=f"Bearer {token}")
        assert sent[0] == 200, sent
        return sent[1]  # type: ignore[no-any-return]

    async def joins(self, uid: int) -> dict[str, Any]:
        extra = await self.person(uid)
        del extra["token"]
        order: dict[str, Any] = (await self.does(uid, "/api/join", extra=extra))["data"]
        return order

    async def pays(self, uid: int, order: dict[str, Any]) -> Any:
        """On the host's page; the word with which the service took it."""
        body = {name: order[name] for name in ("order_no", "amount")}
        return (await self.send("POST", f"{self.host}/pay?uid={uid}", body))[1]["code"]

    async def call(self, path: str, body: dict[str, Any], secret: str = WEBHOOK_SECRET) -> tuple[int, Any]:
        """As the service calls the host, or as somebody else who would like to be it."""
        raw = msgspec.json.encode(body)
        return await self.send("POST", self.host + path, raw, **Signatures(secret).sign(raw))

    async def books(self, table: str) -> list[dict[str, Any]]:
        return (await self.send("GET", f"{self.host}/books"))[1][table]  # type: ignore[no-any-return]

    async def told(self, kind: str) -> list[dict[str, Any]]:
        """The events of that type of the day, each as the document has it."""
        found = [msgspec.json.decode(event["body"]) for event in await self.books("events")]
        for event in found:
            document.check_sent(event["type"], event)
        return [event for event in found if event["type"] == kind and event["data"]["round"] == "2030-01-01"]

    async def moved(self, kind: str, payer: int) -> dict[str, Any]:
        """Waits for money that comes to the user."""

        async def found() -> list[dict[str, Any]]:
            moves = await self.books("movements")
            return [one for one in moves if (one["kind"], one["payer"]) == (kind, f"open-{payer}")]

        movements: list[dict[str, Any]] = await soon(found)
        assert len(movements) == 1
        return movements[0]


async def soon(ask: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(20):
        while not (found := await ask()):
            await asyncio.sleep(0.1)
    return found


@pytest.fixture(scope="module")
async def town() -> AsyncIterator[Town]:
    url = f"http://127.0.0.1:{free_port()}"
    with embedded.scratch(in_memory()) as data_dir:
        settings = Settings(
            env="dev",
            port=free_port(),
            data_dir=data_dir,
            api_workers=1,
            jwt_secret=JWT_SECRET,
            webhook_secret=WEBHOOK_SECRET,
            statement_key=STATEMENT_KEY,
            platform_url=f"{url}/platform",
            reminder_url=f"{url}/events",
            events_url=f"{url}/events",
            origins=url,
        )
        with hosting(url, f"http://127.0.0.1:{settings.port}", data_dir / "host.sqlite"):
            async with running(settings, quiet=True) as urls, aiohttp.ClientSession() as session:
                yield Town(session, url, urls["page"])


async def test_a_day(town: Town) -> None:
    await town.it_is("2030-01-01T20:00:00")
    orders = {uid: await town.joins(uid) for uid in (LIN, ZHAO, SUN)}
    assert await town.pays(LIN, orders[LIN]) == "paid"
    assert await town.pays(ZHAO, orders[ZHAO]) == "paid"
    assert await town.pays(LIN, orders[LIN]) == "already_paid", "a second tap takes no second payment"
    assert len(await town.books("payments")) == 2
    for uid in (LIN, ZHAO):
        await town.does(uid, "/api/remind", on=True)

    await town.it_is("2030-01-02T05:00:00")
    assert (await town.does(LIN, "/api/check-in"))["code"] == "checked_in"
    await town.it_is("2030-01-02T06:00:00")
    assert await town.pays(SUN, orders[SUN]) == "paid", "late members may still check in"
    await town.it_is("2030-01-02T07:30:00")
    (reminder,) = await soon(lambda: town.told("reminder.due"))
    assert reminder["data"]["uid"] == ZHAO, "Lin is up, Sun has not asked for it"

    await town.it_is("2030-01-02T08:05:00")
    claims = [await soon(lambda: claimed(town, LIN))]
    assert claims[0]["assign"] == {"money": 100, "stake": 100, "total": 200}
    payout = await town.moved("transfer", LIN)
    assert (payout["amount"], payout["state"]) == (200, "done")
    back = await town.moved("refund", SUN)
    assert (back["amount"], back["state"]) == (100, "done"), "a late member who sleeps on is refunded"

    (credited,) = await soon(lambda: town.told("packet.credited"))
    assert credited["data"]["items"] == [
        {"uid": LIN, "amount_fen": 200, "stake_fen": 100, "packet_fen": 100, "by": "user"}
    ]
    (settled,) = await town.told("round.settled")
    assert settled["data"]["members"] == 3, "it came before anybody's packet"

    await duplicates_move_nothing(town, payout, back)
    await its_bill_has_it_all(town)


async def claimed(town: Town, uid: int) -> dict[str, Any] | None:
    reply = await town.does(uid, "/api/claim")
    return reply["data"] if reply["code"] == "claimed" else None


async def duplicates_move_nothing(town: Town, payout: dict[str, Any], back: dict[str, Any]) -> None:
    before = await town.books("movements")
    for movement, kind in ((payout, "transfer"), (back, "refund")):
        body = msgspec.json.decode(movement["body"])
        assert (await town.call(f"/platform/{kind}", body))[1]["state"] == "done", "the same answer"
        assert (await town.call(f"/platform/{kind}", {**body, "amount": 1}))[1]["state"] == "failed", "another body"
        query = {"action": f"query_{kind}", f"{kind}_no": movement["no"]}
        assert (await town.call(f"/platform/query_{kind}", query))[1]["state"] == "done"
    more = {**msgspec.json.decode(back["body"]), "refund_no": "R2"}
    assert (await town.call("/platform/refund", more))[1]["state"] == "failed", "more than was paid"
    assert [one for one in await town.books("movements") if one["state"] == "done"] == before


async def its_bill_has_it_all(town: Town) -> None:
    moved = [*await town.books("payments"), *await town.books("movements")]
    sums: dict[str, int] = {}
    for day in {str(datetime.fromtimestamp(one["at_ms"] / 1000, ZoneInfo("Asia/Shanghai")).date()) for one in moved}:
        body = {"action": "bill", "day": day}
        status, reply = await town.call("/platform/bill", body)
        document.check_sent("bill", body, status, reply)
        for line in reply["lines"]:
            sums[line["kind"]] = sums.get(line["kind"], 0) + line["amount_fen"]
    assert sums == {"payment": 300, "refund": 100, "transfer": 200}


async def test_forged_calls_do_nothing(town: Town) -> None:
    async def money() -> tuple[list[Any], list[Any]]:  # real events of the day may still arrive
        _, books = await town.send("GET", f"{town.host}/books")
        return [payment["order_no"] for payment in books["payments"]], books["movements"]

    before = await money()
    forged = {"action": "transfer", "transfer_no": "P1", "openId": "open-66", "amount": 10_000}
    assert (await town.call("/platform/transfer", forged, OTHERS_SECRET))[0] == 401
    assert (await town.call("/platform/refund", forged))[0] == 400, "signed for another action"
    assert (await town.call("/events", {"type": "reminder.due"}, OTHERS_SECRET))[0] == 401
    assert (await town.send("POST", f"{town.host}/platform/transfer", forged))[0] == 401
    old = {**Signatures(WEBHOOK_SECRET).sign(b"{}"), "webhook-timestamp": "1700000000"}
    assert (await town.send("POST", f"{town.host}/platform/transfer", b"{}", **old))[0] == 401
    assert await money() == before
    raw = msgspec.json.encode({"order_no": "T1", "extra": {"amount": 100}})
    status, reply = await town.send(
        "POST", f"{town.clock}/callbacks/platform", raw, **Signatures(OTHERS_SECRET).sign(raw)
    )
    assert (status, reply["code"]) == (401, "bad_signature")


async def test_numbers_that_the_host_does_not_know(town: Town) -> None:
    for action, field in (
        ("query_order", "order_no"),
        ("query_refund", "refund_no"),
        ("query_transfer", "transfer_no"),
    ):
        body = {"action": action, field: "X1"}
        status, reply = await town.call(f"/platform/{action}", body)
        assert (status, reply) == (404, {"state": "not_found"})
        document.check_sent(action, body, status, reply)


async def test_an_order_that_is_closed_cannot_be_paid(town: Town) -> None:
    body = {"action": "close_order", "order_no": "TTC0eb000000000closed"}
    assert (await town.call("/platform/close_order", body))[1] == {"state": "closed"}
    assert await town.pays(LIN, {"order_no": body["order_no"], "amount": 100}) == "order_closed"
    assert (await town.call("/platform/query_order", {**body, "action": "query_order"}))[1] == {"state": "closed"}


async def test_a_payment_is_reported_until_the_service_has_confirmed_it(tmp_path: Path) -> None:
    url, port = f"http://127.0.0.1:{free_port()}", free_port()
    pay = f"{url}/pay?uid={LIN}", {"order_no": "TTC1", "amount": 100}
    async with aiohttp.ClientSession() as session, listening(port) as clock:
        clock.answer = lambda count: 503 if count < 2 else 200
        town = Town(session, url, f"http://127.0.0.1:{port}")
        with hosting(url, town.clock, tmp_path / "host.sqlite"):
            assert (await town.send("POST", *pay))[1] == {"code": None}, "the service was away: nobody knows yet"
        with hosting(url, town.clock, tmp_path / "host.sqlite"):  # it was killed meanwhile
            await clock.wait_for(3)
            await soon(lambda: confirmed(town))
            assert (await town.send("POST", *pay))[1] == {"code": "paid"}
    bodies = {raw for raw, _ in clock.got}
    assert len(bodies) == 1, "one payment, however often it is reported"
    for raw, headers in clock.got:
        Signatures(WEBHOOK_SECRET).verify(raw, headers)
    document.check_request("POST", "/callbacks/platform", msgspec.json.decode(bodies.pop()))


async def confirmed(town: Town) -> bool:
    (payment,) = await town.books("payments")
    return bool(payment["answer"] == "paid")
