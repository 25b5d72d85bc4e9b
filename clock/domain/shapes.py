"""Payloads of users and providers, parsed into structs at the edge."""

from typing import Annotated

import msgspec

Text = Annotated[str, msgspec.Meta(max_length=128, pattern="^[^\x00]*$")]


class Extra(msgspec.Struct, frozen=True):
    """The user's profile; empty texts count as missing."""

    mobile: Text | None = None
    nickname: Text | None = None
    openId: Text | None = None


class PaymentExtra(msgspec.Struct, frozen=True):
    """The provider's data of a successful payment. All fields are optional here; missing ones fail a check later."""

    amount: int | None = None
    buyerId: Text | None = None
    notify_time: Text | None = None
    content: str | None = None
    nickname: str | None = None
    mobile: str | None = None
    transactionId: Text | None = None


class PaymentCallback(msgspec.Struct, frozen=True):
    order_no: Annotated[str, msgspec.Meta(max_length=64, pattern="^[^\x00]*$")]
    extra: PaymentExtra = PaymentExtra()
