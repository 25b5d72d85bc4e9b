"""Events that wait or were given up are seen, ring, and are sent again: over HTTP, and by command."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from clock.config import Settings
from clock.http import openapi
from clock.operators import acts
from clock.operators.watch import watcher
from tests.conftest import DAY, Api, at, serving
from tests.flow.events.stage import Receiver, states, work, write
from tests.flow.operators.stage import BOSS, clock, codes, exported, seen
from tests.flow.stage import NEXT_DAY, People

AGAIN = {"reason": "repaired"}


@pytest.fixture
async def people(
    settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Api, People]]:
    """Over HTTP, at eight in the evening."""
    monkeypatch.setattr(openapi, "describe", lambda app: None)
    monkeypatch.setattr(watcher, "FRESH_SECONDS", -1.0)
    async with serving(msgspec.structs.replace(settings, events_url=receiver.url)) as api:
        api.service.time.stop_at(at("20:00"))
        yield api, People(api.service)


async def asked(api: Api, query: str, role: str = "operator") -> list[str]:
    status, reply = await api.send("GET", f"/ops/events{query}", None, api.token(BOSS, role))
    assert (status, reply["code"]) == (200, "ok"), reply
    return [item["id"] for item in reply["data"]["items"]]


async def again(api: Api, event: str, body: Any = AGAIN, role: str = "operator") -> tuple[int, str]:
    status, reply = await api.send("POST", f"/ops/events/{event}/again", body, api.token(BOSS, role))
    return status, reply["code"]


@pytest.mark.parametrize("role", ["operator", "service"])
async def test_an_event_that_was_given_up_or_sent_is_sent_again(
    people: tuple[Api, People], receiver: Receiver, role: str
) -> None:
    api, of = people
    await write(of, "lost", "taken", "also_taken")
    await of.rows("UPDATE events SET due_since = now() - interval '4 days'")
    receiver.status = 500
    await work(of)
    receiver.status = 200
    assert set((await states(of)).values()) == {"given_up"}
    assert await again(api, "taken", role=role) == (200, "event_due")
    await work(of)
    assert await states(of) == {"lost": "given_up", "also_taken": "given_up", "taken": "sent"}
    assert receiver.ids == ["lost", "taken", "also_taken", "taken"]
    await write(of, "new")
    for _ in range(2):  # a retry of the request is safe
        assert await again(api, "lost", role=role) == (200, "event_due")
    [row] = await of.rows("SELECT reason FROM events WHERE id = 'lost'")
    assert row["reason"] == ("" if role == "operator" else "service ") + f"{BOSS}: repaired"
    assert await again(api, "taken", role=role) == (200, "event_due")
    await work(of)
    assert receiver.ids[4:] == ["new", "lost", "taken"], "after what waits, so that it holds up nothing"
    assert await asked(api, "?state=given_up", role) == ["also_taken"]


async def test_events_are_listed_newest_first_by_state_round_and_page(
    people: tuple[Api, People], receiver: Receiver
) -> None:
    api, of = people
    await write(of, "a", "b", "c")
    receiver.status = 500
    await work(of)
    await write(of, "d", day=NEXT_DAY)
    assert await asked(api, "") == ["d", "c", "b", "a"]
    assert await asked(api, f"?day={DAY}&limit=2") == ["c", "b"]
    assert await asked(api, f"?day={DAY}&limit=2&page=2", "service") == ["a"]
    assert await asked(api, "?state=sent") == []
    _, reply = await api.send("GET", "/ops/events?limit=1&page=4", None, api.token(BOSS, "operator"))
    [item] = reply["data"]["items"]
    expected = {"id": "a", "state": "due", "day": str(DAY), "type": "round.closed", "attempts": 1, "reason": "HTTP 500"}
    assert expected.items() <= item.items()
    assert item["data"] == {"round": str(DAY)}


async def test_who_may_not_and_what_makes_no_sense_is_refused(people: tuple[Api, People]) -> None:
    api, _ = people
    for method, path, body in (("GET", "/ops/events", None), ("POST", "/ops/events/x/again", AGAIN)):
        assert (await api.send(method, path, body))[0] == 401
        assert (await api.send(method, path, body, api.token(BOSS)))[0] == 403
    for query in ("?state=lost", "?day=today", "?limit=201", "?page=0"):
        status, reply = await api.send("GET", f"/ops/events{query}", None, api.token(BOSS, "operator"))
        assert (status, reply["code"]) == (400, "bad_request"), query
    assert await again(api, "nothing") == (404, "event_not_found")
    for event in ("x.y", "x" * 65):
        assert (await again(api, event))[0] == 400, event
    bodies: list[Any] = [{}, {"reason": ""}, {"reason": "x" * 501}, {"reason": "\0"}]
    for body in bodies:
        assert await again(api, "nothing", body) == (400, "bad_request")


async def test_events_that_wait_and_are_given_up_ring_and_are_measured(
    people: tuple[Api, People], receiver: Receiver
) -> None:
    api, of = people

    async def rings() -> set[str]:
        return {code for code in codes(await seen(api)) if code.startswith("events")}

    assert await rings() == set()
    receiver.status = 500
    await of.rows("UPDATE events SET state = 'sent'")  # of the rounds that were opened for it
    await write(of, "first")
    await of.rows("UPDATE events SET due_since = now() - interval '590 seconds'")
    await work(of)
    assert await rings() == set()
    await of.rows("UPDATE events SET due_since = now() - interval '602 seconds'")
    assert await rings() == {"events_waiting"}
    await of.rows("UPDATE events SET due_since = now() - interval '3 days', next_at = now() WHERE id = 'first'")
    await work(of)
    assert await rings() == {"events_given_up"}
    await write(of, "second")
    await of.rows("UPDATE events SET due_since = now() - interval '700 seconds' WHERE id = 'second'")
    assert await rings() == {"events_waiting", "events_given_up"}
    found = await exported(api.url, api.session)
    assert 700 <= found["clock_events_oldest_seconds"] < 710
    assert found["clock_events_given_up"] == 1
    await of.rows("UPDATE events SET state = 'sent' WHERE id = 'second'")
    await of.rows("UPDATE events SET ended_at = now() - interval '25 hours' WHERE state = 'given_up'")
    assert await rings() == set()


async def test_commands_list_events_and_send_one_again(people: tuple[Api, People]) -> None:
    api, of = people
    await write(of, "first")
    await of.rows("UPDATE events SET state = 'sent', ended_at = now()")
    listed, asked_again, unknown = await asyncio.gather(
        clock(api.settings, "events", "--state", "sent", "--day", str(DAY)),
        clock(api.settings, "events", "--again", "first", "--reason", "lost by us"),
        clock(api.settings, "events", "--again", "nothing", "--reason", "x"),
    )
    assert (listed[0], asked_again[0], unknown[0]) == (0, 0, 1)
    assert '"event_due"' in asked_again[1] and "event_not_found" in unknown[1] and '"items"' in listed[1]
    [row] = await of.rows("SELECT state, reason FROM events WHERE id = 'first'")
    assert (row["state"], row["reason"]) == ("due", f"{acts.command_line().who}: lost by us")
