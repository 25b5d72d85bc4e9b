"""The generic channel: incoming callbacks and outgoing calls, both signed as Standard Webhooks
(https://www.standardwebhooks.com).

Outgoing calls are ``POST <CLOCK_PLATFORM_URL>/<action>`` with a JSON body that repeats the action, so that the
signature covers it; ``docs/platform.md`` lists them. The sandbox provider answers all of them.
"""

import re
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import structlog

from clock.channels import (
    MOVEMENTS,
    BillLine,
    How,
    NoBill,
    OrderState,
    Payment,
    Purchase,
    Reply,
    Result,
    Silent,
    Unreadable,
)
from clock.channels.calls import FAULTS, MOST_BILL, Calls, pieces
from clock.channels.lines import UnreadableLines, pages_of
from clock.channels.webhooks import Signatures
from clock.domain.shapes import Text, signed_decoder

log = structlog.get_logger()

MOST_REASON = 500
"""Characters of a reason that are kept."""


INSTANT = re.compile(r"\d{4}-\d\d-\d\d([ t]\d\d:\d\d:\d\d|t\d\d:\d\d:\d\d(\.\d{1,9})?(z|[+-]\d\d:\d\d))", re.I | re.A)
"""A payment's time: date and time of day in the game's zone, or RFC 3339."""


class PaymentExtra(msgspec.Struct, frozen=True):
    """The provider's data of a successful payment. All fields are optional here; missing ones fail a check later. Only
    amount, buyer and transaction are checked: the others are of any type, or they could fail a payment."""

    amount: int | None = None
    buyerId: Text | None = None
    notify_time: Any = None
    """When it was paid, if it is a readable text; otherwise the payment counts from its arrival."""
    content: Any = None
    nickname: Any = None
    mobile: Any = None
    transactionId: Text | None = None


class PaymentCallback(msgspec.Struct, frozen=True):
    order_no: Annotated[str, msgspec.Meta(max_length=64, pattern="^[^\x00]*$")]
    extra: PaymentExtra = PaymentExtra()


class StateReply(msgspec.Struct, frozen=True):
    """The platform's reply about a refund or a transfer. ``reason`` is for people, of any type."""

    state: str
    reason: Any = ""


class OrderReply(msgspec.Struct, frozen=True):
    state: str
    payment: PaymentExtra | None = None


_state_reply, _order_reply = signed_decoder(StateReply), signed_decoder(OrderReply)
_callback = signed_decoder(PaymentCallback)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What they raise."""


class Platform:
    """With an empty ``url`` nothing can be sent, and everything stays owed."""

    name = "platform"
    pulls = False
    least_transfer_fen, most_transfer_fen = 1, 10**12
    transfers_known_days = 36_500
    hows: tuple[How, ...] = ()
    billed = MOVEMENTS
    notification: type[msgspec.Struct] | None = PaymentCallback

    def __init__(self, url: str, secrets: str, timezone: str = "Asia/Shanghai") -> None:
        self._url = url.rstrip("/")
        self._timezone = timezone
        self.ready = bool(self._url)
        self._signatures = Signatures(secrets)
        self._calls = Calls()

    def silent_seconds(self) -> float:
        return self._calls.silent_seconds()

    def pay_at_once(self, order_no: str, amount_fen: int) -> dict[str, Any]:
        return {"channel": self.name, "order_no": order_no, "amount": amount_fen}

    async def pay(self, purchase: Purchase) -> dict[str, Any]:
        return self.pay_at_once(purchase.order_no, purchase.amount_fen)

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Payment:
        self._signatures.verify(raw, headers)
        return self.parse(raw)

    def parse(self, kept: bytes) -> Payment:
        try:
            return payment_of(_callback(kept), kept, self._timezone)
        except UNREADABLE as error:
            raise Unreadable(str(error), kept) from None

    def answer(self, word: str) -> Reply | None:
        return None

    async def query_order(self, order_no: str) -> OrderState:
        return await self._order("query_order", order_no)

    async def close_order(self, order_no: str) -> OrderState:
        """If the order is already paid, the state is ``paid``."""
        return await self._order("close_order", order_no)

    async def refund(
        self,
        refund_no: str,
        order_no: str,
        transaction_id: str,
        amount_fen: int,
        total_fen: int,
    ) -> Result:
        return await self._result(
            "refund", refund_no=refund_no, order_no=order_no, transactionId=transaction_id, amount=amount_fen
        )

    async def query_refund(self, refund_no: str, order_no: str) -> Result:
        return await self._result("query_refund", refund_no=refund_no)

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result:
        return await self._result("transfer", transfer_no=transfer_no, openId=open_id, amount=amount_fen)

    async def query_transfer(self, transfer_no: str) -> Result:
        return await self._result("query_transfer", transfer_no=transfer_no)

    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        if not self._url:
            raise NoBill("CLOCK_PLATFORM_URL is not set")
        status = 0
        try:
            raw = _body("bill", day=day)
            async with self._calls.long("POST", f"{self._url}/bill", raw, self._signatures.sign(raw)) as reply:
                status = reply.status
                if status != 200:
                    raise NoBill(f"HTTP {status}")
                async for page in pages_of(pieces(reply, MOST_BILL)):
                    yield page
        except UnreadableLines as error:
            log.warning("platform_reply_unreadable", action="bill")
            raise NoBill("unreadable") from error
        except FAULTS as error:
            raise NoBill(type(error).__name__) from error
        finally:
            self._calls.note(status)

    async def check(self) -> list[str]:
        """Asks about an order that does not exist."""
        state = await self.query_order("0")
        if state.state == "unknown":
            raise Silent(f"{self._url or 'CLOCK_PLATFORM_URL'} does not answer a signed question")
        return ["the platform answers a signed question"]

    async def close(self) -> None:
        await self._calls.close()

    async def _order(self, action: str, order_no: str) -> OrderState:
        status, raw = await self._send(action, order_no=order_no)
        if _not_found(status, raw):
            return OrderState("unpaid")
        try:
            reply = _order_reply(raw) if status == 200 else None
        except UNREADABLE:
            reply = None
        if reply is None or reply.state not in ("paid", "unpaid", "closed"):
            return OrderState("unknown")
        paid = PaymentCallback(order_no, reply.payment) if reply.payment else None
        payment = payment_of(paid, msgspec.json.encode(paid), self._timezone) if paid else None
        return OrderState(reply.state, payment)  # type: ignore[arg-type]

    async def _result(self, action: str, **body: Any) -> Result:
        status, raw = await self._send(action, **body)
        if status == 0:
            return Result("again", raw.decode())
        if _not_found(status, raw):
            return Result("not_found")
        try:
            reply = _state_reply(raw) if status == 200 else None
        except UNREADABLE:
            reply = None
        if reply is None or reply.state not in ("done", "failed", "processing", "again"):
            return Result("unknown", f"HTTP {status}" if status > 0 else raw.decode())
        return Result(reply.state, str(reply.reason).replace("\0", "")[:MOST_REASON])  # type: ignore[arg-type]

    async def _send(self, action: str, **body: Any) -> tuple[int, bytes]:
        """HTTP status and body. Status 0: certainly not delivered; -1: unknown whether it was delivered."""
        if not self._url:
            return 0, b"CLOCK_PLATFORM_URL is not set"
        raw = _body(action, **body)
        said = await self._calls.send("POST", f"{self._url}/{action}", raw, self._signatures.sign(raw))
        return said.status, said.raw


def payment_of(paid: PaymentCallback, kept: bytes, timezone: str) -> Payment:
    extra = paid.extra
    paid_at_ms = instant_of(extra.notify_time, timezone)
    return Payment(paid.order_no, extra.amount, extra.transactionId or "", extra.buyerId or "", paid_at_ms, kept)


def instant_of(text: object, timezone: str) -> int:
    """``YYYY-MM-DD HH:MM:SS`` in the game's zone or RFC 3339, in ms; -1 if missing or unreadable."""
    if not (isinstance(text, str) and INSTANT.fullmatch(text)):
        return -1
    try:
        instant = datetime.fromisoformat(text.upper())
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=ZoneInfo(timezone))
        return int(instant.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return -1


def _body(action: str, **body: Any) -> bytes:
    """Repeats the action, so that the signature covers it."""
    return msgspec.json.encode({"action": action, **body})


def _not_found(status: int, raw: bytes) -> bool:
    """Whether the platform says that it does not know the number. A gateway's own 404 has another body."""
    if status != 404:
        return False
    try:
        return _state_reply(raw).state == "not_found"
    except UNREADABLE:
        return False
