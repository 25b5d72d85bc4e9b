"""From a reply of WeChat Pay to what it means, by the tables of :mod:`clock.channels.wechat.answers`.

A reply is about the number that was asked about, or it is unknown: its signature does not cover the question.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import structlog

from clock.channels import OrderState, PayRefused, Result, Silent, State, Unreadable
from clock.channels.calls import Said
from clock.channels.wechat import shapes
from clock.channels.wechat.answers import PAY, QUERY_ORDER, Row, row_of
from clock.channels.wechat.settings import Merchant

log = structlog.get_logger()

MOST_REASON = 200
"""Characters of a reason that are kept."""

Means = TypeVar("Means", bound=str)


def looked_up(rows: Sequence[Row[Means]], said: Said, state: str = "") -> tuple[Row[Means], str]:
    """The row of a verified reply, and the reason in the provider's words. ``state``: of a reply that is 200."""
    failed = shapes.failure(said.raw) if said.status >= 300 else shapes.Failure()
    word = state or failed.code
    row = row_of(rows, said.status, word)
    if row.alarm:
        log.error("wechat_wants_operator", status=said.status, said=word, why=row.why)
    reason = ": ".join(part for part in (word, str(failed.message or "")) if part) or f"HTTP {said.status}"
    return row, reason.replace("\0", "")[:MOST_REASON]


def prepared(said: Said) -> shapes.Prepared:
    """What a new order's reply holds. Raises :class:`PayRefused`, :class:`Silent`."""
    if said.status <= 0:
        raise Silent(said.raw.decode())
    row, reason = looked_up(PAY, said)
    if row.means == "refused":
        raise PayRefused(reason)
    try:
        if row.means == "taken":
            return shapes.prepared(said.raw)
    except shapes.UNREADABLE as error:
        reason = f"unreadable: {error}"
    raise Silent(reason)


def ordered(said: Said, number: str, merchant: Merchant) -> OrderState:
    """An order's state."""
    if said.status <= 0:
        return OrderState("unknown")
    found = None
    if said.status == 200:
        try:
            found = shapes.transaction(said.raw)
            payment = shapes.payment_of(said.raw)
        except (*shapes.UNREADABLE, Unreadable):
            return OrderState("unknown")
        if (found.out_trade_no, found.appid, found.mchid) != (number, merchant.appid, merchant.mchid):
            return OrderState("unknown")
    row, _ = looked_up(QUERY_ORDER, said, found.trade_state if found else "")
    return OrderState("paid", payment) if row.means == "paid" else OrderState(row.means)


def refunded(rows: Sequence[Row[State]], said: Said, number: str) -> Result:
    if said.status <= 0:
        return _unsaid(said)
    state = ""
    if said.status == 200:
        try:
            found = shapes.refund(said.raw)
        except shapes.UNREADABLE as error:
            return Result("unknown", f"unreadable: {error}")
        if found.out_refund_no != number:
            return Result("unknown", "the reply is about another refund")
        state = found.status
    row, reason = looked_up(rows, said, state)
    return Result(row.means, reason if row.means != "done" else "")


def transferred(rows: Sequence[Row[State]], said: Said, number: str, merchant: Merchant) -> Result:
    if said.status <= 0:
        return _unsaid(said)
    if said.status != 200:
        row, reason = looked_up(rows, said)
        return Result(row.means, reason)
    try:
        found = shapes.transfer(said.raw)
    except shapes.UNREADABLE as error:
        return Result("unknown", f"unreadable: {error}")
    if found.out_bill_no != number:
        return Result("unknown", "the reply is about another transfer")
    row, reason = looked_up(rows, said, found.state)
    if row.means == "failed":
        reason = str(found.fail_reason or reason)[:MOST_REASON]
    confirm: dict[str, Any] | None = None
    if found.package_info and row.means == "processing":
        confirm = {
            "how": "requestMerchantTransfer",
            "mchId": merchant.mchid,
            "appId": merchant.appid,
            "package": found.package_info,
        }
    return Result(row.means, reason if row.means != "done" else "", confirm)


def _unsaid(said: Said) -> Result:
    return Result("unknown" if said.status else "again", said.raw.decode())
