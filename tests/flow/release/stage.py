"""Callbacks that are kept aside, what an operator decides about them, and whether all books agree afterwards."""

import time
from typing import Any

import msgspec

from clock.audit.reconcile import reconcile
from clock.channels.platform import PaymentCallback, PaymentExtra
from clock.domain import order_no
from clock.domain.outcomes import Answer
from clock.operators import quarantine
from tests.conftest import DAY
from tests.flow.stage import IN_TIME, People
from tests.payments import paid

NOT_OURS = "SHOP-1234"
NEVER_ISSUED = order_no.make("TTC", order_no.Place(DAY, 0, 7, "0" * 12))
OF_NO_ROUND = order_no.make("TTC", order_no.Place(DAY.replace(year=2024), 0, 7, "0" * 12))


async def call_back(people: People, number: str, transaction: str | None = "T1", **changes: Any) -> str:
    """The provider's callback, of user 1's payment unless changed; its word."""
    fields = {"amount": 100, "buyerId": "open-1", "notify_time": IN_TIME, "transactionId": transaction, **changes}
    callback = PaymentCallback(number, PaymentExtra(**fields))
    raw = msgspec.json.encode(callback)
    return (await people.service.incoming.pay(paid(callback, raw), "platform", time.monotonic())).word


async def kept(people: People) -> list[dict[str, Any]]:
    await people.drain()
    return await people.rows("SELECT encode(digest, 'hex') AS id, * FROM quarantine ORDER BY at_ms, reason, raw")


async def decide(people: People, entry: str, action: quarantine.Action = "refund", reason: str = "looked") -> Answer:
    return await quarantine.release(people.service, entry, action, reason, "operator 99")


async def only(people: People) -> str:
    [row] = await kept(people)
    return str(row["id"])


async def refused(people: People, entry: str, why: str) -> None:
    answer = await decide(people, entry)
    assert (answer.word, answer.data) == ("cannot_release", {"why": why})
    await people.drain()
    assert await people.rows("SELECT * FROM refunds WHERE reason = 'refund_released'") == []


async def agree(people: People) -> None:
    """Every book, Redis and the provider's bill."""
    report = await reconcile(people.service, DAY)
    assert report is not None
    assert report.differences == []
    assert sum((await people.balances()).values()) == 0
