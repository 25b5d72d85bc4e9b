"""What the service sends: calls to the payment platform, and events. All are signed as Standard Webhooks say
(docs/platform.md). The shape of a new event goes into :data:`EVENTS`."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from clock.channels import BillLine
from clock.domain.webhooks import TYPES

Number = Annotated[str, Meta(min_length=1, max_length=32, pattern="^[0-9A-Za-z]+$")]
Fen = Annotated[int, Meta(ge=1, description="In fen")]


class QueryOrderCall(Struct):
    """Has this order been paid?"""

    action: Literal["query_order"]
    order_no: Number


class CloseOrderCall(Struct):
    """Nobody can pay this order from now on. If it is paid already, the reply is `paid`."""

    action: Literal["close_order"]
    order_no: Number


class RefundCall(Struct):
    """Give a payment back, once under this number."""

    action: Literal["refund"]
    refund_no: Number
    order_no: str
    transactionId: Annotated[str, Meta(description="The payment's")]
    amount: Fen


class QueryRefundCall(Struct):
    """How far is this refund?"""

    action: Literal["query_refund"]
    refund_no: Number


class TransferCall(Struct):
    """Pay a user, once under this number."""

    action: Literal["transfer"]
    transfer_no: Number
    openId: Annotated[str, Meta(description="Whom to pay")]
    amount: Fen


class QueryTransferCall(Struct):
    """How far is this transfer?"""

    action: Literal["query_transfer"]
    transfer_no: Number


class BillCall(Struct):
    """The movements of money of a day."""

    action: Literal["bill"]
    day: Annotated[str, Meta(description="YYYY-MM-DD in the game's time zone")]


class ReportedPayment(Struct):
    """As in the callback."""

    amount: Fen
    buyerId: str
    transactionId: str
    notify_time: Annotated[
        str | UnsetType, Meta(description="YYYY-MM-DD HH:MM:SS in the game's time zone, or RFC 3339")
    ] = UNSET
    content: str | UnsetType = UNSET
    nickname: str | UnsetType = UNSET
    mobile: str | UnsetType = UNSET


class OrderReply(Struct):
    """`payment` belongs to `paid`."""

    state: Literal["paid", "unpaid", "closed"]
    payment: ReportedPayment | UnsetType = UNSET


class MovementReply(Struct):
    """`done` and `failed` are final for this number, `processing` is asked about later, `again` was certainly not done
    and is sent again. After any other answer the outcome is unknown, and is asked about."""

    state: Literal["done", "failed", "processing", "again"]
    reason: Annotated[str | UnsetType, Meta(description="For people")] = UNSET


class UnknownNumber(Struct):
    """The number is not known."""

    state: Literal["not_found"]


class BillReply(Struct):
    lines: list[BillLine]


class Action(Struct, frozen=True):
    """A call to the platform, ``POST <CLOCK_PLATFORM_URL>/<action>``: its body, and the replies by HTTP status."""

    body: type[Struct]
    reply: type[Struct]
    may_not_know: bool = True
    """Whether 404 ``not_found`` is an answer."""


ACTIONS = (
    Action(QueryOrderCall, OrderReply),
    Action(CloseOrderCall, OrderReply),
    Action(RefundCall, MovementReply, may_not_know=False),
    Action(QueryRefundCall, MovementReply),
    Action(TransferCall, MovementReply, may_not_know=False),
    Action(QueryTransferCall, MovementReply),
    Action(BillCall, BillReply, may_not_know=False),
)


class Reminder(Struct):
    """A member with the reminder on has not checked in. Sent to `CLOCK_REMINDER_URL`; any 2xx within 5 seconds is
    success."""

    uid: int
    openId: str
    round: Annotated[str, Meta(description="YYYY-MM-DD")]
    check_in_closes: Annotated[str, Meta(description="RFC 3339")]


EVENTS: dict[str, type[Struct]] = {"reminder.due": Reminder, **TYPES}
"""What an event of each type has as ``data``; its body is ``{"type", "timestamp", "data"}``."""
