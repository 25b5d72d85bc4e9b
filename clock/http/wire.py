"""Request bodies over HTTP, as msgspec structs, parsed at the edge."""

from typing import Annotated, Any, Literal

import msgspec

from clock.channels import How
from clock.domain.shapes import Extra

Uid = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1, description="The user")]


class UserRequest(msgspec.Struct, frozen=True):
    uid: Uid


class JoinRequest(UserRequest, frozen=True):
    """``channel``: through which the order is to be paid; none: the service's default. An order keeps its channel."""

    extra: Extra = Extra()
    channel: Literal["platform", "wechat", "alipay"] | None = None


class PayOrderRequest(UserRequest, frozen=True):
    """``how``: where the user pays; none: within the provider's app."""

    order_no: Annotated[str, msgspec.Meta(max_length=64)]
    how: How | None = None


class WithdrawRequest(UserRequest, frozen=True):
    pass


class SummaryRequest(UserRequest, frozen=True):
    extra: Extra | None = None


class CheckInStatusRequest(UserRequest, frozen=True):
    pass


class CheckInRequest(UserRequest, frozen=True):
    """``receipt``: who checks in now wants a signed one."""

    receipt: bool = False


class ClaimRequest(UserRequest, frozen=True):
    pass


class RemindRequest(UserRequest, frozen=True):
    on: bool = True


class AckAlertRequest(UserRequest, frozen=True):
    pass


Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern="^[^\x00]*$")]


class ReasonRequest(msgspec.Struct, frozen=True):
    """What an operator does, and why."""

    reason: Reason


class AllRequest(msgspec.Struct, frozen=True):
    """What an operator does with everything of a kind that has failed, and why."""

    kind: Literal["payout", "refund"]
    reason: Reason


class ExtendRequest(msgspec.Struct, frozen=True):
    minutes: Annotated[int, msgspec.Meta(ge=1, le=60)]
    reason: Reason


class ReleaseRequest(msgspec.Struct, frozen=True):
    """The decision about a quarantined callback: its payment is refunded, or dismissed."""

    action: Literal["refund", "dismiss"]
    reason: Reason


class Envelope(msgspec.Struct, frozen=True):
    """Every reply of an ``/api``, ``/callbacks`` or ``/ops`` path."""

    status: Literal[0, 1]
    code: str
    message: str
    data: dict[str, Any]
