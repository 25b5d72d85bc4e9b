"""Money that is owed, and the queue that it leaves by."""

from typing import Any

from tests.conftest import DAY, at
from tests.flow.stage import People, Sandbox

PAYOUT = f"P{DAY:%Y%m%d}1"


async def owe_a_payout(people: People) -> None:
    """User 1 wins 200 fen, and has claimed them; user 2 slept."""
    await people.members(1, 2)
    await people.morning(winners=1)
    await people.settle()
    await people.claim(1)
    await people.drain()


async def owe_a_refund(people: People, channel: Sandbox) -> str:
    """User 1 has paid twice; the number of the refund."""
    await people.join(1)
    number = people.orders[1]
    for transaction, word in (("T1", "paid"), ("T2", "refund_due")):
        channel.provider.books.db.execute(
            "INSERT INTO payments (transaction_id, order_no, amount, payer, at_ms) VALUES (?, ?, 100, 'open-1', ?)",
            (transaction, number, at("20:00")),
        )
        assert await people.pay(1, transaction) == word
    await people.drain()
    [row] = await queue(people)
    return str(row["no"])


async def queue(people: People) -> list[dict[str, Any]]:
    return await people.rows("SELECT * FROM outgoing ORDER BY no")


async def state(people: People) -> str:
    [row] = await queue(people)
    return str(row["state"])
