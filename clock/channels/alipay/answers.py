"""What Alipay answers to each call, and what it means here: the one table that the code, ``docs/alipay.md`` and the
tests share. The first row that fits counts; what no row lists is ``unknown``: asked about, never taken for a failure.

Decided by codes, never by ``sub_msg``, which is for people.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Call = Literal["pay", "query", "close", "refund", "query_refund", "transfer", "query_transfer"]

METHODS: dict[Call, str] = {
    "pay": "alipay.trade.create",
    "query": "alipay.trade.query",
    "close": "alipay.trade.close",
    "refund": "alipay.trade.refund",
    "query_refund": "alipay.trade.fastpay.refund.query",
    "transfer": "alipay.fund.trans.uni.transfer",
    "query_transfer": "alipay.fund.trans.common.query",
}


class Row(msgspec.Struct, frozen=True):
    """``says``: fields of the signed reply. ``*`` at the end of a value: whatever follows; an empty value: the field
    is missing. No field at all: everything else."""

    call: Call
    says: dict[str, str]
    state: str
    """Of a :class:`~clock.channels.Result` or an :class:`~clock.channels.OrderState`; ``ask``: of the query that
    follows at once; of ``pay``: ``ok``, ``refused``, ``silent``, ``too_many``."""
    why: str


def _rows(call: Call, *rows: tuple[str, str, str]) -> list[Row]:
    return [Row(call, dict(part.split("=") for part in says.split()), state, why) for says, state, why in rows]


NOT_SENT = "the gateway refused it before anybody acted on it: a wrong setting, or no contract; never failed"

_BUSY = ("code=40005", "again", "too many calls")
_SETTINGS = [(f"code={code}", "again", NOT_SENT) for code in ("20001", "40001", "40002", "40003", "40006")]
_TRANSFER_STATES = [
    ("code=10000 status=SUCCESS", "done", ""),
    ("code=10000 status=DEALING", "processing", ""),
    ("code=10000 status=WAIT_PAY", "processing", ""),
    ("code=10000 status=FAIL", "failed", ""),
    ("code=10000 status=CLOSED", "failed", ""),
    ("code=10000 status=REFUND", "failed", "it came back"),
]
_REST = ("", "unknown", "not listed: asked about before anything is sent again")

ANSWERS: list[Row] = [
    *_rows(
        "pay",
        ("code=10000 trade_no=*", "ok", "the trade is there; the same parameters give the same one"),
        ("code=40005", "too_many", "too many calls"),
        ("code=40004 sub_code=ACQ.SYSTEM_ERROR", "silent", "it may exist; asking again is safe"),
        ("code=40004", "refused", "the purchase is not taken, or is already paid"),
        ("", "silent", "nothing is known; asking again is safe"),
    ),
    *_rows(
        "query",
        ("code=10000 trade_status=TRADE_SUCCESS", "paid", ""),
        ("code=10000 trade_status=TRADE_FINISHED", "paid", "it can no longer be refunded"),
        ("code=10000 trade_status=TRADE_CLOSED send_pay_date=*", "paid", "paid, and then refunded in full"),
        ("code=10000 trade_status=TRADE_CLOSED", "closed", "nobody has paid, and nobody can"),
        ("code=10000 trade_status=WAIT_BUYER_PAY", "unpaid", ""),
        (
            "code=40004 sub_code=ACQ.TRADE_NOT_EXIST",
            "unpaid",
            "a link that is signed here is a trade only once the user has opened it, and still pays later",
        ),
        _REST,
    ),
    *_rows(
        "close",
        ("code=10000", "closed", "nobody can pay any more"),
        ("code=40004 sub_code=ACQ.TRADE_NOT_EXIST", "unpaid", "as for a query: the link still pays later"),
        ("code=20000", "unknown", ""),
        ("code=40005", "unknown", "too many calls"),
        ("code=40004", "ask", "paid meanwhile, or closed before"),
        _REST,
    ),
    *_rows(
        "refund",
        ("code=10000 fund_change=Y", "done", "the amount is the trade's sum of refunds: not looked at"),
        ("code=10000 fund_change=N", "processing", "nothing moved by this call: refunded before, or not yet; asked"),
        ("code=20000", "unknown", ""),
        _BUSY,
        *_SETTINGS,
        ("code=40004 sub_code=ACQ.SYSTEM_ERROR", "unknown", ""),
        ("code=40004 sub_code=ACQ.DISCORDANT_REPEAT_REQUEST", "unknown", "the number has another amount there"),
        (
            "code=40004 sub_code=ACQ.SELLER_BALANCE_NOT_ENOUGH",
            "again",
            "nothing has moved; the account is to be filled",
        ),
        ("code=40004 sub_code=ACQ.TRADE_HAS_FINISHED", "failed", "the time for refunds is over"),
        _REST,
    ),
    *_rows(
        "query_refund",
        ("code=10000 refund_status=REFUND_SUCCESS", "done", ""),
        ("code=10000 refund_status=", "not_found", "not received, or failed; the same number again refunds once"),
        _BUSY,
        *_SETTINGS,
        _REST,
    ),
    *_rows(
        "transfer",
        *_TRANSFER_STATES,
        ("code=20000", "unknown", ""),
        _BUSY,
        *_SETTINGS,
        ("code=40004 sub_code=SYSTEM_ERROR", "unknown", ""),
        ("code=40004 sub_code=PAYER_BALANCE_NOT_ENOUGH", "again", "the account is to be filled"),
        ("code=40004 sub_code=RESOURCE_LIMIT_EXCEED", "again", "too many calls"),
        ("code=40004 sub_code=PAYEE_*", "failed", "the user's account cannot take it"),
        ("code=40004 sub_code=BLOCK_USER_FORBBIDEN_RECIEVE", "failed", "the user's account may not take money"),
        ("code=40004 sub_code=EXCEED_LIMIT_SM_MIN_AMOUNT", "failed", "below the product's minimum"),
        _REST,
    ),
    *_rows(
        "query_transfer",
        *_TRANSFER_STATES,
        ("code=40004 sub_code=ORDER_NOT_EXIST", "not_found", "sent again, unchanged"),
        _BUSY,
        *_SETTINGS,
        _REST,
    ),
]

_OF: dict[Call, list[Row]] = {call: [row for row in ANSWERS if row.call == call] for call in METHODS}


def row_of(call: Call, fields: Mapping[str, str]) -> Row:
    """``fields``: of a reply that is verified."""
    return next(row for row in _OF[call] if all(_fits(fields.get(name, ""), row.says[name]) for name in row.says))


def _fits(value: str, wanted: str) -> bool:
    if wanted.endswith("*"):
        return bool(value) and value.startswith(wanted[:-1])
    return value == wanted
