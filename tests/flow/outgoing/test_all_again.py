"""Everything of a kind that has failed is sent again, or acknowledged, at one word: each as one alone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from clock.channels import Result
from clock.domain import progress
from clock.domain.outcomes import Answer
from clock.operators import verbs
from clock.operators.acts import By
from clock.operators.work.asking import here
from clock.payments import again
from tests.conftest import DAY, Api
from tests.flow.stage import IN_TIME, People, Scripted, send

ANNA, BEN = By("anna", "192.0.2.1"), By("ben", "192.0.2.2")
WINNERS = (1, 2, 3, 4, 5)
REASON = "the provider was misconfigured"
NOTHING = dict.fromkeys(again.WORDS, 0)


class Failing(Scripted):
    """Everything fails for good; what it says of each number afterwards is in ``says``."""

    def __init__(self) -> None:
        super().__init__()
        self.says: dict[int, Any] = {}
        self.asked: list[str] = []
        self.result = self._failed

    async def _failed(self, action: str, no: str) -> Result:
        if action not in ("query_transfer", "query_refund"):
            return Result("failed", "no account")
        self.asked.append(no)
        said = self.says.get(int(no.removeprefix(f"P{DAY:%Y%m%d}").partition("A")[0]) if no[0] == "P" else 0, "failed")
        if isinstance(said, Exception):
            raise said
        return Result(said)


def payout(uid: int, more: str = "") -> str:
    return f"P{DAY:%Y%m%d}{uid}{more}"


async def fail(people: People) -> Failing:
    """Five payouts, and a refund of a second payment of user 1, have failed."""
    provider = Failing()
    people.use(provider)
    await people.members(*WINNERS, 6)
    assert await people.pay(1, "T-second", IN_TIME) == "refund_due"
    await people.morning(winners=len(WINNERS))
    await people.settle()
    await people.claim(*WINNERS)
    await people.drain()
    await send(people)
    rows = await people.rows("SELECT kind, state FROM outgoing ORDER BY kind")
    assert [(row["kind"], row["state"]) for row in rows] == 5 * [("payout", "failed")] + [("refund", "failed")]
    return provider


@pytest.fixture
async def provider(people: People) -> AsyncIterator[Failing]:
    yield await fail(people)


async def all_again(people: People, kind: Any = "payout", by: By = ANNA) -> Answer:
    return await verbs.all_again(people.service, by, kind, REASON, here)


async def handled(people: People) -> dict[str, str | None]:
    return {row["no"]: row["handled"] for row in await people.rows("SELECT no, handled FROM outgoing ORDER BY no")}


async def test_each_has_an_end_of_its_own(people: People, provider: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five, one is sent. Neither what the provider says of the others, nor a bug, holds it up."""
    monkeypatch.setattr(again, "PAGE", 2)
    provider.says = {1: "done", 2: "unknown", 3: ValueError("a bug"), 5: "failed"}
    await people.rows("INSERT INTO transfers VALUES (%s, 'by_hand', '4', 4, 'user:4', 'fee', 1, 0)", DAY)
    heard: list[tuple[str, int, int | None]] = []
    with progress.heard(lambda *said: heard.append(said)):
        answer = await all_again(people)
    assert (answer.word, answer.data) == (
        "ok",
        {
            "kind": "payout",
            **NOTHING,
            **{"sent_again": 1, "not_final": 1, "balance_short": 1, "unavailable": 1, "internal": 1},
        },
    )
    assert heard[-1] == ("sending_again", 5, 5)
    found = await handled(people)
    assert (found.pop(payout(5)), found.pop(payout(5, "A1"))) == ("again", None)
    assert set(found.values()) == {None}
    [act] = await people.rows(
        "SELECT who, acts.act, about, reason, word, amount_fen FROM acts JOIN acts_ended ON acts_ended.act = acts.id"
    )
    assert act == {"who": "anna", "act": "again", "about": "payout", "reason": REASON, "word": "ok", "amount_fen": 600}


async def test_a_kind_is_sent_without_the_other(people: People, provider: Failing) -> None:
    assert (await all_again(people, "refund")).data == {"kind": "refund", **NOTHING, "sent_again": 1}
    assert [no[0] for no in provider.asked] == ["R"]
    assert (await all_again(people)).data == {"kind": "payout", **NOTHING, "sent_again": 5}
    assert (await all_again(people)).data == {"kind": "payout", **NOTHING}


async def test_what_fails_anew_meanwhile_waits_for_the_next_time(
    people: People, provider: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would never end: a provider that refuses everything refuses that, too."""
    monkeypatch.setattr(again, "PAGE", 1)
    real = again.send_again

    async def and_fail(*given: Any) -> Any:
        answer = await real(*given)
        await send(people)
        return answer

    monkeypatch.setattr(again, "send_again", and_fail)
    async with asyncio.timeout(20):
        assert (await all_again(people)).data == {"kind": "payout", **NOTHING, "sent_again": 5}
    assert {no for no, seen_to in (await handled(people)).items() if no[0] == "P" and seen_to is None} == {
        payout(uid, "A1") for uid in WINNERS
    }


async def test_a_provider_that_says_nothing_is_not_asked_about_everything(
    people: People, provider: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question may take ten seconds. An answer in between begins the count anew."""
    monkeypatch.setattr(again, "AT_ONCE", 1)
    monkeypatch.setattr(again, "MOST_SILENT", 2)
    provider.says = dict.fromkeys((1, 3, 4, 5), "again")
    assert (await all_again(people)).data == {"kind": "payout", **NOTHING, "sent_again": 1, "unavailable": 4}
    assert provider.asked == [payout(1), payout(2), payout(3), payout(4)]


async def test_two_who_ask_at_once_send_each_once(people: People, provider: Failing) -> None:
    answers = await asyncio.gather(
        *(again.send_all_again(people.service.store, people.service.channels, "payout") for _ in range(2))
    )
    assert {answer["sent_again"] for answer in answers} <= {0, 1, 2, 3, 4, 5}
    rows = await people.rows("SELECT no FROM outgoing WHERE again > 0 ORDER BY no")
    assert [row["no"] for row in rows] == [payout(uid, "A1") for uid in WINNERS]
    assert [await people.balance(f"user:{uid}") for uid in WINNERS[1:]] == [0, 0, 0, 0]


async def test_what_is_being_archived_stays_as_it_is(people: People, provider: Failing) -> None:
    await people.rows("INSERT INTO archives (month, by_whom) VALUES ('2026-11-01', 'anna')")
    try:
        assert (await all_again(people)).data == {"kind": "payout", **NOTHING, "archived": 5}
        assert provider.asked == []
    finally:
        await people.rows("DELETE FROM archives")


async def test_all_of_a_kind_are_acknowledged(
    people: People, provider: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clock.operators.money.AT_ONCE", 2)
    assert (await verbs.all_acknowledged(people.service, ANNA, "payout", "paid in cash", here)).data == {
        "kind": "payout",
        "acknowledged": 5,
    }
    found = await handled(people)
    assert {found.pop(payout(uid)) for uid in WINNERS} == {"acknowledged"}
    assert set(found.values()) == {None}, "the refund"
    assert sum([await people.balance(f"user:{uid}") for uid in WINNERS]) == 700, "with the refund"
    assert (await all_again(people)).data == {"kind": "payout", **NOTHING}
    [first, _] = await people.rows("SELECT act, about, amount_fen FROM acts ORDER BY id")
    assert first == {"act": "acknowledge", "about": "payout", "amount_fen": None}


async def test_over_http_a_worker_does_it_on_two_names(api: Api) -> None:
    """The sum of all decides."""
    people = People(api.service)
    await fail(people)
    api.service.settings = msgspec.structs.replace(api.service.settings, second_name_fen=599)
    tokens = {
        name: {"authorization": f"Bearer {api.service.tokens.issue(name, 'operator', scope=scope)}"}
        for name, scope in (("anna", None), ("ben", None), ("eve", "read"))
    }

    async def post(name: str, verb: str, **body: Any) -> tuple[int, str, Any]:
        status, reply = await api.send("POST", f"/ops/outgoing/{verb}", {"reason": "why", **body}, tokens[name])
        return status, reply["code"], reply["data"]

    for verb in ("again", "acknowledge"):
        assert (await post("eve", verb, kind="payout"))[:2] == (403, "forbidden")
        for body in ({}, {"kind": "withdrawal"}, {"kind": "payout", "reason": ""}):
            assert (await post("anna", verb, **body))[:2] == (400, "bad_request")
    assert (await post("anna", "again", kind="payout"))[:2] == (200, "second_name_needed")
    assert (await post("ben", "again", kind="refund"))[1:] == ("ok", {"kind": "refund", **NOTHING, "sent_again": 1})
    assert (await post("ben", "again", kind="payout"))[1:] == ("ok", {"kind": "payout", **NOTHING, "sent_again": 5})
    assert (await post("eve", "acknowledge", kind="refund"))[0] == 403
    assert (await post("anna", "acknowledge", kind="refund"))[1:] == ("ok", {"kind": "refund", "acknowledged": 0})
    _, reply = await api.send("GET", "/ops/work", headers=tokens["eve"])
    assert [(one["kind"], one["about"], one["word"]) for one in reply["data"]["items"]] == [
        ("acknowledge", "refund", "ok"),
        ("again", "payout", "ok"),
        ("again", "refund", "ok"),
    ]
