"""A provider that answers what a test says."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from clock.channels import MOVEMENTS, BillLine, How, NoBill, Notice, OrderState, Payment, Purchase, Reply, Result
from clock.channels.platform import Platform
from tests.conftest import WEBHOOK_SECRET


class Scripted:
    """A provider that answers what the test says; what it was asked is in ``calls``. Down unless told otherwise."""

    name = "platform"
    pulls = False
    ready = True
    least_transfer_fen, most_transfer_fen, transfers_known_days = 1, 10**12, 36_500
    hows: tuple[How, ...] = ()
    billed = MOVEMENTS
    notification: type[msgspec.Struct] | None = None

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.order: Callable[[str], Awaitable[OrderState]] = self._unknown
        self.result: Callable[[str, str], Awaitable[Result]] = self._down
        self.lines: dict[str, list[BillLine]] | None = None

    async def _unknown(self, _: str) -> OrderState:
        return OrderState("unknown")

    async def _down(self, _action: str, _no: str) -> Result:
        return Result("again", "no connection")

    def pay_at_once(self, order_no: str, amount_fen: int) -> dict[str, Any] | None:
        return {}

    async def pay(self, purchase: Purchase) -> dict[str, Any]:
        self.calls.append(("pay", purchase.order_no))
        return {}

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Notice:
        return self.parse(raw)

    def parse(self, kept: bytes) -> Payment:
        return Platform("", WEBHOOK_SECRET).parse(kept)

    def answer(self, word: str) -> Reply | None:
        return None

    async def check(self) -> list[str]:
        return []

    async def query_order(self, order_no: str) -> OrderState:
        self.calls.append(("query_order", order_no))
        return await self.order(order_no)

    async def close_order(self, order_no: str) -> OrderState:
        self.calls.append(("close_order", order_no))
        return await self.order(order_no)

    async def refund(
        self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int, total_fen: int
    ) -> Result:
        self.calls.append(("refund", refund_no, order_no, transaction_id, amount_fen))
        return await self.result("refund", refund_no)

    async def query_refund(self, refund_no: str, order_no: str) -> Result:
        self.calls.append(("query_refund", refund_no))
        return await self.result("query_refund", refund_no)

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result:
        self.calls.append(("transfer", transfer_no, open_id, amount_fen))
        return await self.result("transfer", transfer_no)

    def silent_seconds(self) -> float:
        return 0.0

    async def query_transfer(self, transfer_no: str) -> Result:
        self.calls.append(("query_transfer", transfer_no))
        return await self.result("query_transfer", transfer_no)

    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        self.calls.append(("bill", day))
        if self.lines is None:
            raise NoBill
        for line in self.lines.get(day, []):
            yield [line]

    async def close(self) -> None:
        return
