"""What operators' paths answer while a worker does what they ask for."""

import asyncio
from typing import Any

import msgspec
import pytest

from clock.domain.outcomes import Answer, Unavailable
from clock.operators.work import asking
from clock.runtime import worker
from clock.service import Service
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import BOSS, figures, operate
from tests.flow.work.stage import Slow, shown, until, words_of_acts

SETTLE = f"/ops/rounds/{DAY}/settle"


@pytest.fixture
async def due(api: Api) -> Api:
    """One of two is up, and settlement is due."""
    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2):
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    await api.post("/api/check-in", 1)
    api.service.time.stop_at(at("08:05", 1))
    return api


async def test_what_takes_longer_is_said_to_go_on_then_shown_and_asking_again_joins_it(
    due: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow("settle")
    monkeypatch.setitem(asking.DOING, "settle", slow)
    monkeypatch.setattr(asking, "WAIT_SECONDS", 1.5)
    english = {**due.token(BOSS, "operator"), "accept-language": "en"}
    (status, reply), (_, second) = await asyncio.gather(
        due.send("POST", SETTLE, headers=english), operate(due, "POST", SETTLE)
    )
    assert (status, reply["status"], reply["code"]) == (200, 1, "working")
    assert (reply["message"], second["message"]) == (
        "It is under way; look again shortly for its end",
        "正在进行，稍后可查看结果",
    )
    assert (
        reply["data"]
        == second["data"]
        == {
            **{"kind": "settle", "about": str(DAY), "state": "running"},
            **{"step": "publishing", "done": 4_000, "total": 10_000},
        }
    )
    [item] = await shown(due)
    assert (item["kind"], item["about"], item["asked_by"], item["alive"]) == ("settle", str(DAY), str(BOSS), True)
    assert (item["step"], item["done"], item["total"], item["word"]) == ("publishing", 4_000, 10_000, None)
    assert [one["id"] for one in (await figures(due))["work"]] == [item["id"]]
    assert await words_of_acts(due) == [None, None]

    slow.may_go_on.set()
    await until(lambda: ended(due))
    [item] = await shown(due)
    assert (item["state"], item["word"], item["alive"]) == ("ended", "settled", False)
    assert item["began_ms"] <= item["ended_ms"]
    assert (slow.begun, slow.ended) == (1, 1)
    assert await words_of_acts(due) == ["settled", "settled"]
    assert (await figures(due))["state"] == "settled"
    assert (await operate(due, "POST", SETTLE))[1]["code"] == "settled"
    assert len(await shown(due)) == 1, "there was nothing to do"


async def ended(api: Api) -> bool:
    return all(one["ended_ms"] for one in await shown(api))


async def test_without_a_worker_it_is_kept_and_done_when_one_comes(due: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = asyncio.Event()

    async def nobody(_: Any) -> None:
        gone.set()

    with monkeypatch.context() as alone:
        alone.setattr(worker, "asked", nobody)
        alone.setattr(asking, "NO_WORKER_SECONDS", 0.2)
        await gone.wait()  # the last look of the one that there was is over
        for language, kept in (("en", "done as soon as a worker can"), ("zh", "worker 一恢复就会完成")):
            headers = {**due.token(BOSS, "operator"), "accept-language": language}
            url = due.url + f"/ops/rounds/{DAY}/void"
            async with due.session.post(url, data=b'{"reason": "a storm"}', headers=headers) as answer:
                reply = msgspec.json.decode(await answer.read())
                assert (answer.status, reply["code"], answer.headers["retry-after"]) == (503, "unavailable", "2")
            assert kept in reply["message"]
            assert (reply["data"]["kind"], reply["data"]["state"]) == ("void", "waiting")
        [item] = await shown(due)
        assert (item["state"], item["began_ms"]) == ("waiting", None)
        assert (await figures(due))["step"] == "open"
        assert await words_of_acts(due) == [None, None]
    await until(lambda: ended(due))
    seen = await figures(due)
    assert (seen["state"], seen["void_reason"], seen["refunds"]) == ("void", "a storm", 2)
    assert await words_of_acts(due) == ["ok", "ok"]


async def test_what_is_refused_is_refused_at_once_though_no_worker_lives(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(_: Any) -> None:
        return

    monkeypatch.setattr(worker, "asked", nobody)
    api.service.time.stop_at(at("20:00"))
    await api.member(1)
    requests = [
        (SETTLE, None, (200, "not_due")),
        ("/ops/rounds/2026-01-01/settle", None, (404, "round_not_found")),
        ("/ops/rounds/2026-01-01/void", {"reason": "x"}, (404, "round_not_found")),
        ("/ops/reconcile/2026-01-01", None, (404, "round_not_found")),
    ]
    for path, body, expected in requests:
        status, reply = await operate(api, "POST", path, body)
        assert (status, reply["code"]) == expected, path
    assert await shown(api) == []


async def test_a_server_that_is_away_is_said_and_it_is_tried_again(due: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    real = asking.DOING["settle"]

    async def away_once(service: Service, about: str, arguments: dict[str, Any]) -> Answer:
        tried.append(about)
        if len(tried) == 1:
            raise Unavailable("Postgres: it has gone away")
        return await real(service, about, arguments)

    monkeypatch.setitem(asking.DOING, "settle", away_once)
    status, reply = await operate(due, "POST", SETTLE)
    assert (status, reply["code"], reply["data"]["state"]) == (503, "unavailable", "waiting")
    monkeypatch.setattr("clock.operators.work.table.PAUSE_SECONDS", 0.1)
    await until(lambda: ended(due))
    assert [one["word"] for one in await shown(due)] == ["settled"]
    assert await words_of_acts(due) == ["settled"]
    assert len(tried) == 2


async def test_what_breaks_has_ended_and_says_so(due: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(*_: Any) -> Answer:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setitem(asking.DOING, "reconcile", breaks)
    status, reply = await operate(due, "POST", f"/ops/reconcile/{DAY}")
    assert (status, reply["status"], reply["code"]) == (500, 0, "internal")
    assert [one["word"] for one in await shown(due)] == ["internal"]
