"""A user's account: whatever happens to money, its lines add up to the balance, and say what has not arrived."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from clock.books import ledger
from clock.channels import Result
from clock.channels.platform import PaymentCallback, PaymentExtra
from clock.config import Settings
from clock.http.players import me
from clock.operators import quarantine
from clock.payments import again
from clock.payments.again import find_failed
from tests.conftest import DAY
from tests.flow.stage import IN_TIME, People, Scripted, send
from tests.model.world import new_world
from tests.payments import paid

Line = tuple[str, int, str | None]
"""Kind, fen with their sign, state."""

JOINED: list[Line] = [("stake", -100, None), ("payment", 100, None)]
WON: list[Line] = [("packet", 100, None), ("stake_back", 100, None)]


class Story(People):
    """User 1 plays, user 2 sleeps; money leaves through a provider that answers what it is told."""

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.provider = Scripted()
        self.use(self.provider)

    async def sends(self, state: Any) -> None:
        """All that is due gets this answer."""

        async def says(_action: str, _no: str) -> Result:
            return Result(state, "as the test says")

        self.provider.result = says
        await self.drain()
        while await send(self) and state in ("done", "failed"):
            pass

    async def lines(self) -> list[Line]:
        """User 1's, the newest first, on pages of three; their sum is the balance that everybody tells."""
        await self.drain()
        answers, page = [], 1
        while found := (await me.history(self.service, 1, page, 3, "en")).data["items"]:
            answers += found
            page += 1
        assert (await me.history(self.service, 1, 1, 1, "en")).data["total"] == len(answers)
        balance = (await me.info(self.service, 1)).data["info"]["balance"]
        assert sum(item["money"] for item in answers) == balance == await self.balance("user:1")
        assert all(sum(item["money"] for item in answers[age:]) >= 0 for age in range(len(answers)))
        return [(item["kind"], item["money"], item["state"]) for item in answers]


@pytest.fixture
async def story(shared: Settings) -> AsyncIterator[Story]:
    async with new_world(shared) as service:
        yield Story(service)


async def joined(story: Story) -> None:
    await story.members(1, 2)


async def late(story: Story) -> None:
    await story.join(1)
    story.it_is("01:00", 1)
    assert await story.pay(1) == "refund_due"


async def paid_twice(story: Story) -> None:
    await joined(story)
    story.it_is("20:30")
    assert await story.pay(1, "T-second") == "refund_due"


async def void(story: Story) -> None:
    await joined(story)
    story.it_is("21:00")
    assert await story.service.voiding.void(DAY, "an outage") == "ok"


async def settled(story: Story) -> None:
    await joined(story)
    story.it_is("06:00", 1)
    await story.check_in(1)
    await story.settle()


async def claimed(story: Story) -> None:
    await settled(story)
    story.it_is("09:00", 1)
    await story.claim(1)


async def credited(story: Story) -> None:
    await settled(story)
    await story.finish()


async def slept(story: Story) -> None:
    await joined(story)
    story.it_is("06:00", 1)
    await story.check_in(2)
    await story.settle()


async def late_and_slept(story: Story) -> None:
    await story.join(1)
    await story.members(2)
    story.it_is("05:30", 1)
    assert await story.pay(1, paid_at=IN_TIME) == "paid"
    await story.check_in(2)
    await story.settle()


async def released(story: Story) -> None:
    await story.join(1)
    extra = PaymentExtra(amount=250, buyerId="open-1", notify_time=IN_TIME, transactionId="T-1")
    callback = PaymentCallback(story.orders[1], extra)
    raw = msgspec.json.encode(callback)
    await story.service.incoming.pay(paid(callback, raw), "platform", time.monotonic())
    await story.drain()
    [row] = await story.rows("SELECT encode(digest, 'hex') AS id FROM quarantine")
    answer = await quarantine.release(story.service, row["id"], "refund", "looked", "operator 99")
    assert answer.word == "released"


def returned(state: str, kind: str = "refund", fen: int = 100) -> list[Line]:
    return [("returned", -fen, state), (kind, fen, None)]


def failed(kind: str, fen: int) -> list[Line]:
    return [(kind, fen, None)]


def payout(state: str) -> list[Line]:
    return [("payout", -200, state), *WON]


STORIES: dict[str, tuple[Callable[[Story], Awaitable[None]], str, list[Line]]] = {
    "joined": (joined, "", JOINED),
    "paid too late": (late, "", returned("owed", "unwanted")),
    "paid too late, given back": (late, "done", returned("done", "unwanted")),
    "paid too late, not given back": (
        late,
        "failed",
        [*failed("refund_failed", 100), *returned("failed", "unwanted")],
    ),
    "paid twice": (paid_twice, "", [*returned("owed", "unwanted"), *JOINED]),
    "paid twice, given back": (paid_twice, "done", [*returned("done", "unwanted"), *JOINED]),
    "void": (void, "", [*returned("owed"), *JOINED]),
    "void, on its way": (void, "processing", [*returned("processing"), *JOINED]),
    "void, nobody knows": (void, "unknown", [*returned("unknown"), *JOINED]),
    "void, given back": (void, "done", [*returned("done"), *JOINED]),
    "void, not given back": (void, "failed", [*failed("refund_failed", 100), *returned("failed"), *JOINED]),
    "not claimed yet": (settled, "", JOINED),
    "claimed": (claimed, "", [*payout("owed"), *JOINED]),
    "claimed, paid out": (claimed, "done", [*payout("done"), *JOINED]),
    "claimed, not paid out": (claimed, "failed", [*failed("payout_failed", 200), *payout("failed"), *JOINED]),
    "credited by the system": (credited, "done", [*payout("done"), *JOINED]),
    "slept": (slept, "done", JOINED),
    "late and slept": (late_and_slept, "done", [*returned("done"), *JOINED]),
    "released": (released, "", returned("owed", "unwanted", 250)),
    "released, not given back": (
        released,
        "failed",
        [*failed("refund_failed", 250), *returned("failed", "unwanted", 250)],
    ),
}


@pytest.mark.parametrize("name", STORIES)
async def test_the_lines_add_up_to_the_balance(story: Story, name: str) -> None:
    play, state, expected = STORIES[name]
    await play(story)
    if state:
        await story.sends(state)
    assert await story.lines() == expected


@pytest.mark.parametrize(
    ("name", "credit"),
    [("void, not given back", "refund_failed"), ("claimed, not paid out", "payout_failed")],
)
async def test_they_add_up_when_what_failed_is_sent_again(story: Story, name: str, credit: str) -> None:
    play, state, before = STORIES[name]
    await play(story)
    await story.sends(state)
    fen = before[0][1]
    for _ in range(2):
        [row] = await story.rows("SELECT no FROM outgoing WHERE uid = 1 AND state = 'failed' AND handled IS NULL")
        failed_row = await find_failed(story.service.store, row["no"])
        assert failed_row is not None
        assert (await again.send_again(story.service.store, story.service.channels, failed_row))[0] == "sent_again"
        assert await story.lines() == [("sent_again", -fen, "owed"), *before]
        await story.sends("failed")
        before = [(credit, fen, None), ("sent_again", -fen, "failed"), *before]
        assert await story.lines() == before


async def test_they_add_up_over_days_that_went_wrong_in_every_way(story: Story) -> None:
    """After each step, with what happened on the days before still in the account."""
    for name in ("claimed, not paid out", "void, not given back", "paid twice", "claimed, paid out"):
        play, state, _ = STORIES[name]
        day, story.orders = story.day, {}
        assert day == DAY or await story.lines()
        await story.service.opener.open_round(day)
        story.it_is("20:00")
        await _on(story, play)
        if state:
            await story.sends(state)
        await story.lines()
        story.day = day.fromordinal(day.toordinal() + 2)
    assert await story.balance("user:1") == 200 + 100


async def _on(story: Story, play: Callable[[Story], Awaitable[None]]) -> None:
    if play is void:
        await joined(story)
        assert await story.service.voiding.void(story.day, "an outage") == "ok"
    else:
        await play(story)


def test_every_rule_of_the_ledger_has_lines_that_do_to_the_balance_what_it_does() -> None:
    """So no transfer can be left out of the account, or be told with another sign."""
    for rule in ledger.RULES:
        does = (rule.to_account == ledger.USER) - (rule.from_account == ledger.USER)
        lines = me.LINES.get(rule.kind, ())
        assert sum(sign for _, sign in lines) == does, rule.kind
    assert {line for lines in me.LINES.values() for line, _ in lines} == set(me.TITLES)
    assert set(me.LINES) <= {rule.kind for rule in ledger.RULES}
