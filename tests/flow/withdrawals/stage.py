"""A provider whose transfers the user has to confirm, and the money of a round that was paid through it."""

from typing import Any

from clock.channels import Result
from clock.domain.outcomes import Answer
from clock.http.players import me
from tests.flow.stage import People, Scripted, send

CONFIRM = {"how": "requestMerchantTransfer", "package": "P"}


class Puller(Scripted):
    """Idempotent by number, as WeChat Pay is. Transfers wait for :meth:`confirm` or :meth:`lapse`."""

    name = "wechat"
    pulls = True
    least_transfer_fen, most_transfer_fen, transfers_known_days = 10, 20_000, 29

    def __init__(self) -> None:
        super().__init__()
        self.refunds: dict[str, tuple[int, str]] = {}
        self.transfers: dict[str, tuple[int, str]] = {}
        """Number to fen and state."""
        self.refuses = False
        """Refunds fail for good."""
        self.down = False

    def pay_at_once(self, order_no: str, amount_fen: int) -> dict[str, Any] | None:
        return None

    async def refund(
        self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int, total_fen: int
    ) -> Result:
        self.calls.append(("refund", refund_no, order_no, transaction_id, amount_fen, total_fen))
        if self.down:
            return Result("unknown", "no answer")
        if self.refunds.get(refund_no, (0, "failed"))[1] == "failed":
            self.refunds[refund_no] = amount_fen, "failed" if self.refuses else "done"
        return Result(self.refunds[refund_no][1])  # type: ignore[arg-type]

    async def query_refund(self, refund_no: str, order_no: str) -> Result:
        if self.down:
            return Result("unknown", "no answer")
        return Result(self.refunds[refund_no][1] if refund_no in self.refunds else "not_found")  # type: ignore[arg-type]

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result:
        self.calls.append(("transfer", transfer_no, open_id, amount_fen))
        if self.down:
            return Result("unknown", "no answer")
        fen, state = self.transfers.setdefault(transfer_no, (amount_fen, "processing"))
        assert fen == amount_fen, "one number, two sums"
        return Result(state, confirm=CONFIRM if state == "processing" else None)  # type: ignore[arg-type]

    async def query_transfer(self, transfer_no: str) -> Result:
        if self.down:
            return Result("unknown", "no answer")
        return Result(self.transfers[transfer_no][1] if transfer_no in self.transfers else "not_found")  # type: ignore[arg-type]

    def confirm(self, no: str) -> None:
        self.transfers[no] = self.transfers[no][0], "done"

    def lapse(self, no: str) -> None:
        self.transfers[no] = self.transfers[no][0], "failed"

    def paid_fen(self) -> int:
        """What has left for users by transfers."""
        return sum(fen for fen, state in self.transfers.values() if state == "done")


async def won(people: People, claims: bool = True) -> None:
    """User 1 wins the 200 fen of users 2 and 3, who slept."""
    await people.service.opener.open_round(people.day)
    people.orders = {}
    people.it_is("20:00")
    await people.members(1, 2, 3, channel="wechat")
    people.it_is("06:00", 1)
    await people.check_in(1)
    await people.settle()
    if claims:
        assert await people.claim(1) == [200]
    await people.drain()


async def withdraw(people: People, uid: int = 1) -> Answer:
    today = people.service.asking.calendar.day_at(people.service.time.now_ms())
    return await people.service.withdrawals.withdraw(uid, today)


async def due(people: People) -> None:
    """Everything is due at once, and is sent or asked about."""
    await people.rows("UPDATE outgoing SET next_at = now() WHERE state NOT IN ('done', 'failed')")
    await send(people)


async def lines(people: People, uid: int = 1) -> list[tuple[str, int]]:
    items = (await me.history(people.service, uid, 1, 100, "en")).data["items"]
    assert sum(item["money"] for item in items) == await people.balance(f"user:{uid}")
    return [(item["kind"], item["money"]) for item in items]
