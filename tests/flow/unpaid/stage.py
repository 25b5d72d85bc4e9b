"""A provider that knows which orders were paid, and what the worker does every second."""

from clock.channels import OrderState
from clock.channels.platform import PaymentCallback, PaymentExtra
from tests.conftest import at
from tests.flow.stage import IN_TIME, People, Scripted
from tests.payments import paid

ORDERED_AT = at("20:00", milliseconds=10)
TWO_MINUTES = 120_000


class Provider(Scripted):
    """Knows which orders were paid, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.paid: dict[str, PaymentExtra] = {}
        self.silent: set[str] = set()
        """Orders of which it does not say anything that could be understood."""
        self.order = self.say

    def pays(self, people: People, uid: int, paid_at: str = IN_TIME, amount: int = 100) -> None:
        number = people.orders[uid]
        self.paid[number] = PaymentExtra(
            amount=amount, buyerId=f"open-{uid}", notify_time=paid_at, transactionId=f"S{number}0"
        )

    async def say(self, number: str) -> OrderState:
        if number in self.silent:
            return OrderState("unknown")
        if number in self.paid:
            return OrderState("paid", paid(PaymentCallback(number, self.paid[number])))
        return OrderState("unpaid")

    def asked(self) -> list[str]:
        """The orders asked about since the last look."""
        found = [call[1] for call in self.calls if call[0] == "query_order"]
        self.calls.clear()
        return found


async def ask(people: People, now_ms: int | None = None) -> int:
    """What the worker does every second, at ``now_ms`` of the game's clock."""
    if now_ms is not None:
        people.service.time.stop_at(now_ms)
    await people.drain()
    asked = await people.service.questions.ask_some(people.day, people.service.time.now_ms())
    await people.drain()
    return asked
