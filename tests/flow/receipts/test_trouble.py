"""What was done is answered as done, whatever becomes of its receipt."""

import asyncio
import re
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from clock.config import Settings
from clock.domain.outcomes import Answer, Unavailable
from clock.fair.receipts import signed
from clock.game import receipts
from tests.conftest import DAY, Api, at, serving
from tests.flow.receipts.stage import callback, member, promised, tap
from tests.flow.settlement.stage import opened_by_an_earlier_version
from tests.flow.stage import People


@pytest.fixture
def people(api: Api) -> People:
    api.service.time.stop_at(at("20:00"))
    return People(api.service)


async def both_ways(api: Api, *uids: int) -> list[dict[str, Any]]:
    """They check in, one after the other: plainly, and through ASGI."""
    api.service.time.stop_at(at("06:00", 1))
    await api.post("/api/check-in/status", uids[0])
    await api.service.asking.totals.get(DAY, api.settings.shards)
    replies = [await tap(api, uid, plain=place % 2 == 0) for place, uid in enumerate(uids)]
    assert {reply["code"] for reply in replies} == {"checked_in"}
    return [reply["data"] for reply in replies]


async def test_a_postgres_that_is_away_holds_nobody_up_for_long(
    api: Api, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uid in range(1, 8):
        await member(api, uid)
    given = api.service.receipts
    given._rounds.clear()
    asked: list[Any] = []
    away = asyncio.Event()

    async def silent(day: Any) -> bytes | None:
        asked.append(day)
        await away.wait()
        raise Unavailable("nobody answers")

    monkeypatch.setattr(given, "_salt_key_of", silent)
    monkeypatch.setattr(receipts, "WAIT_SECONDS", 0.01)
    with capture_logs() as logs:
        assert await both_ways(api, 1, 2, 3) == [{"money": 700}] * 3
        assert asked == [DAY], "the others did not wait for it"
        given._missed[DAY] = 0.0
        monkeypatch.setattr(receipts, "WAIT_SECONDS", 60.0)
        async with asyncio.timeout(10):
            assert await both_ways(api, 4, 5) == [{"money": 700}] * 2, "nor do they when it is asked again"
        away.set()
        await asyncio.gather(*given._asking.values())
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["receipts_impossible"]
    monkeypatch.undo()
    given._missed.clear()
    for data in await both_ways(api, 6, 7):
        promised("checked_in", data["receipt"])


async def test_a_batch_that_cannot_be_signed_is_answered_all_the_same(
    api: Api, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uid in range(1, 6):
        await member(api, uid)
    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr("clock.fair.receipts.sign", lambda *_: 1 / 0)
        assert await both_ways(api, 1, 2) == [{"money": 500}] * 2
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["receipts_broke"] * 2
    [data] = await both_ways(api, 3)
    promised("checked_in", data["receipt"])


async def test_a_batch_that_breaks_half_way_is_answered_to_the_last(
    api: Api, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uid in range(1, 6):
        await member(api, uid)
    api.service.time.stop_at(at("06:00", 1))

    def broken(*args: Any) -> Any:
        some = list(signed(*args))
        yield from some[:2]
        raise ZeroDivisionError

    monkeypatch.setattr(receipts, "signed", broken)
    answers = await asyncio.gather(*(people.service.verbs.check_in(uid, 0.0, receipt=True) for uid in range(1, 6)))
    assert [type(answer) is Answer for answer in answers] == [False, False, True, True, True]
    assert {answer.word for answer in answers} == {"checked_in"}


async def test_no_receipt_is_signed_before_what_it_says(api: Api, people: People) -> None:
    """Redis' clock has jumped by half an hour: a check-in goes by it, and who signs does not."""
    for uid in (1, 2):
        await member(api, uid)
    await both_ways(api, 1)  # the salt key and the figures are at hand
    time = api.service.time
    seconds, _ = await api.service.redis.time()
    time.move(at("06:00", 1) - seconds * 1000)
    await api.post("/api/check-in/status", 1)
    time.setting = f"{at('06:30', 1) - seconds * 1000:+d}"
    receipt = promised("checked_in", (await tap(api, 2))["data"]["receipt"])
    [signed_ms] = re.findall(r"^signed_ms: (\d+)$", receipt.note, re.MULTILINE)
    assert int(signed_ms) >= int(receipt.values[4]) >= at("06:30", 1)


async def test_a_round_that_is_older_than_statements_has_none(api: Api, people: People) -> None:
    numbers = {uid: (await api.join(uid))["data"]["order_no"] for uid in (1, 2, 3)}
    await opened_by_an_earlier_version(people.service, DAY)
    for uid, number in numbers.items():
        reply = await callback(api, number, uid)
        assert (reply["code"], reply["data"]) == ("paid", {})
    assert await both_ways(api, 1, 2, 3) == [{"money": 300}] * 3
    await people.drain()
    _, reply = await api.send("GET", f"/api/rounds/{DAY}/receipt/stake", headers=api.token(1))
    assert reply["code"] == "not_found"


async def test_without_a_key_that_signs_there_are_none(settings: Settings) -> None:
    async with serving(settings) as other:
        other.service.time.stop_at(at("20:00"))
        for uid in (1, 2):
            await other.member(uid)
        people = People(other.service)
        await people.drain()
        async with serving(msgspec.structs.replace(settings, statement_key="", port=settings.port + 1)) as api:
            assert await both_ways(api, 1, 2) == [{"money": 200}] * 2
            status, reply = await api.send("GET", f"/api/rounds/{DAY}/receipt/stake", headers=api.token(1))
            assert (status, reply["code"]) == (503, "unavailable")
