"""What WeChat Pay's messages hold, as far as it is looked at. Unknown fields are skipped; what is only told is of any
type, or it could fail a payment."""

import re
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import msgspec

from clock.channels import Payment, Unreadable
from clock.domain.shapes import Text, signed_decoder

BEIJING = timezone(timedelta(hours=8), "+08:00")
"""Every time of the provider's, whatever ``CLOCK_TIMEZONE`` is. China has no daylight saving time."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoders raise."""

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dt\d\d:\d\d:\d\d(\.\d{1,6})?(z|[+-]\d\d:\d\d)", re.I | re.A)

Number = Annotated[str, msgspec.Meta(max_length=64, pattern="^[^\x00]*$")]


class Resource(msgspec.Struct, frozen=True):
    """Encrypted."""

    ciphertext: str
    nonce: str
    associated_data: str | None = None
    algorithm: str = "AEAD_AES_256_GCM"


class Notification(msgspec.Struct, frozen=True):
    event_type: str
    resource: msgspec.Raw = msgspec.Raw()
    """A :class:`Resource`, in those that concern us."""


class Amount(msgspec.Struct, frozen=True):
    total: int | None = None
    """Of the order, in fen; ``payer_total`` is less after a coupon."""


class Payer(msgspec.Struct, frozen=True):
    openid: Text | None = None


class Transaction(msgspec.Struct, frozen=True):
    """An order, in a notification and in the reply to a question."""

    out_trade_no: Number
    trade_state: str
    appid: str = ""
    mchid: str = ""
    transaction_id: Text | None = None
    amount: Amount | None = None
    payer: Payer | None = None
    success_time: Any = None


class RefundNotice(msgspec.Struct, frozen=True):
    out_refund_no: Number


class TransferNotice(msgspec.Struct, frozen=True):
    out_bill_no: Number


class Prepared(msgspec.Struct, frozen=True):
    """The reply to an order: one of them."""

    prepay_id: str = ""
    h5_url: str = ""
    code_url: str = ""


class Refund(msgspec.Struct, frozen=True):
    out_refund_no: str
    status: str


class Transfer(msgspec.Struct, frozen=True):
    out_bill_no: str
    state: str
    package_info: str | None = None
    """What the user's client needs to confirm."""
    fail_reason: Any = ""


class Statement(msgspec.Struct, frozen=True):
    """Where a bill can be fetched."""

    download_url: str
    hash_value: str
    """SHA-1 of the unzipped bytes, in hexadecimal digits."""


class Failure(msgspec.Struct, frozen=True):
    code: str = ""
    message: Any = ""


notification, resource = signed_decoder(Notification), signed_decoder(Resource)
transaction = signed_decoder(Transaction)
refund_notice, transfer_notice = signed_decoder(RefundNotice), signed_decoder(TransferNotice)
prepared, refund, transfer = signed_decoder(Prepared), signed_decoder(Refund), signed_decoder(Transfer)
statement = signed_decoder(Statement)
_failure = signed_decoder(Failure)


def failure(raw: bytes) -> Failure:
    """Of a reply that is not 2xx; empty if it is not what it should be."""
    try:
        return _failure(raw)
    except UNREADABLE:
        return Failure()


def payment_of(kept: bytes) -> Payment:
    """Of a paid order. Raises :class:`Unreadable`."""
    try:
        paid = transaction(kept)
    except UNREADABLE as error:
        raise Unreadable(str(error), kept) from None
    return Payment(
        paid.out_trade_no,
        paid.amount.total if paid.amount else None,
        paid.transaction_id or "",
        (paid.payer.openid if paid.payer else "") or "",
        instant_ms(paid.success_time),
        kept,
    )


def instant_ms(text: object) -> int:
    """RFC 3339; -1 if it is missing or unreadable."""
    if not (isinstance(text, str) and RFC3339.fullmatch(text)):
        return -1
    try:
        return int(datetime.fromisoformat(text.upper()).timestamp() * 1000)
    except (ValueError, OverflowError):
        return -1


def rfc3339(at_ms: int) -> str:
    """An instant in Beijing, in whole seconds, as WeChat Pay wants it."""
    return datetime.fromtimestamp(at_ms // 1000, BEIJING).isoformat(timespec="seconds")
