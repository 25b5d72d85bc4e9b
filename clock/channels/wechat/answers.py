"""What WeChat Pay answers, and what it means: one table for each call of the channel. The first row that fits counts.

docs/wechat.md shows these tables, and tests play every row. Where the provider's documents leave a doubt, the row is
the one that pays nobody twice: whatever is not listed is unknown, and asked about again.
"""

from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec

from clock.channels import State

Means = TypeVar("Means", bound=str)


class Row(msgspec.Struct, Generic[Means], frozen=True):
    status: str
    """HTTP status of a verified reply: one, ``4xx``, or ``any``."""
    said: str
    """Its ``trade_state``, ``status`` or ``state`` if the HTTP status is 200, otherwise its ``code``; empty: any."""
    means: Means
    why: str
    alarm: bool = False
    """An operator has to do something, or it goes on for ever."""

    def fits(self, status: int, said: str) -> bool:
        return self.status in (str(status), f"{status // 100}xx", "any") and self.said in ("", said)


def row_of(rows: Sequence[Row[Means]], status: int, said: str) -> Row[Means]:
    """The last row of each table fits everything."""
    return next(row for row in rows if row.fits(status, said))


PAY: list[Row[Literal["taken", "refused", "silent"]]] = [
    Row("200", "", "taken", "the order can be paid"),
    Row("400", "ORDERPAID", "refused", "it is paid already; its notification is under way"),
    Row("400", "ORDER_PAID", "refused", "the same in another spelling"),
    Row("400", "ORDER_CLOSED", "refused", "it can no longer be paid"),
    Row("400", "APPID_MCHID_NOT_MATCH", "silent", "CLOCK_WECHAT_APPID is not bound to CLOCK_WECHAT_MCHID", True),
    Row("400", "MCH_NOT_EXISTS", "silent", "CLOCK_WECHAT_MCHID is not a merchant's number", True),
    Row("401", "", "silent", "our signature is not accepted: nothing about the order", True),
    Row("403", "NO_AUTH", "silent", "the merchant may not take payments in this way", True),
    Row("404", "MCH_NOT_EXISTS", "silent", "CLOCK_WECHAT_MCHID is not a merchant's number", True),
    Row("429", "", "silent", "too many calls"),
    Row("4xx", "", "refused", "the order, or the user's openId, is not accepted"),
    Row("any", "", "silent", "nothing is known; asking again with the same order is safe"),
]

QUERY_ORDER: list[Row[Literal["paid", "unpaid", "closed", "unknown"]]] = [
    Row("200", "SUCCESS", "paid", "paid"),
    Row("200", "REFUND", "paid", "paid, and given back since, wholly or in part"),
    Row("200", "NOTPAY", "unpaid", "not paid yet"),
    Row("200", "CLOSED", "closed", "can no longer be paid"),
    Row("404", "ORDER_NOT_EXIST", "unpaid", "nobody has begun to pay it"),
    Row("404", "ORDERNOTEXIST", "unpaid", "the same in an older spelling"),
    Row("401", "", "unknown", "our signature is not accepted", True),
    Row("any", "", "unknown", "nothing is known"),
]

CLOSE_ORDER: list[Row[Literal["closed", "query_order", "unknown"]]] = [
    Row("204", "", "closed", "can no longer be paid"),
    Row("4xx", "", "query_order", "maybe it is paid, or does not exist: the order is asked about"),
    Row("any", "", "unknown", "nothing is known"),
]

_REFUND_STATES: list[Row[State]] = [
    Row("200", "SUCCESS", "done", "the money is back"),
    Row("200", "PROCESSING", "processing", "it is on its way"),
    Row("200", "ABNORMAL", "processing", "the user's card is dead: send it elsewhere in the merchant platform", True),
    Row("200", "CLOSED", "failed", "it was given up, and the money stayed"),
]

REFUND: list[Row[State]] = [
    *_REFUND_STATES,
    Row("403", "USER_ACCOUNT_ABNORMAL", "failed", "the user's account is gone"),
    Row("403", "NOT_ENOUGH", "again", "our account is empty", True),
    Row("429", "", "unknown", "FREQUENCY_LIMITED may mean that it was accepted"),
    Row("400", "", "again", "a setting is wrong; never failed, or one wrong key would credit everybody", True),
    Row("401", "", "again", "our signature is not accepted", True),
    Row("403", "", "again", "as 400: NO_AUTH", True),
    Row("404", "", "again", "as 400: MCH_NOT_EXISTS", True),
    Row("any", "", "unknown", "maybe it was accepted"),
]

QUERY_REFUND: list[Row[State]] = [
    *_REFUND_STATES,
    Row("404", "RESOURCE_NOT_EXISTS", "not_found", "this number was never sent"),
    Row("401", "", "unknown", "our signature is not accepted", True),
    Row("any", "", "unknown", "nothing is known"),
]

_TRANSFER_STATES: list[Row[State]] = [
    Row("200", "ACCEPTED", "processing", "accepted"),
    Row("200", "PROCESSING", "processing", "often: the operating account is empty"),
    Row("200", "WAIT_USER_CONFIRM", "processing", "the user has to confirm it within 24 hours"),
    Row("200", "TRANSFERING", "processing", "confirmed, on its way"),
    Row("200", "CANCELING", "processing", "it is being taken back"),
    Row("200", "SUCCESS", "done", "the user has it"),
    Row("200", "FAIL", "failed", "the reason says why: OVERDUE_CLOSE is a user who did not confirm"),
    Row("200", "CANCELLED", "failed", "it was taken back"),
]

TRANSFER: list[Row[State]] = [
    *_TRANSFER_STATES,
    Row("403", "NOT_ENOUGH", "again", "the operating account is empty, whatever the basic one holds", True),
    Row("400", "", "unknown", "also a number that was used with other parameters, and maybe paid", True),
    Row("401", "", "unknown", "our signature is not accepted", True),
    Row("403", "", "unknown", "a right is missing, or this server's address is not on the list", True),
    Row("any", "", "unknown", "maybe it was accepted"),
]

QUERY_TRANSFER: list[Row[State]] = [
    *_TRANSFER_STATES,
    Row("404", "NOT_FOUND", "not_found", "this number was never sent, or more than 30 days ago"),
    Row("401", "", "unknown", "our signature is not accepted", True),
    Row("any", "", "unknown", "nothing is known"),
]

BILL: list[Row[Literal["there", "not_yet", "empty", "no_bill"]]] = [
    Row("200", "", "there", "the bill can be fetched"),
    Row("400", "STATEMENT_CREATING", "not_yet", "it is being written"),
    Row("400", "NO_STATEMENT_EXIST", "empty", "nothing moved on this day"),
    Row("any", "", "no_bill", "it cannot be had now"),
]

TABLES: dict[str, Sequence[Row[Any]]] = {
    "pay": PAY,
    "query_order": QUERY_ORDER,
    "close_order": CLOSE_ORDER,
    "refund": REFUND,
    "query_refund": QUERY_REFUND,
    "transfer": TRANSFER,
    "query_transfer": QUERY_TRANSFER,
    "bill": BILL,
}
"""By the channel's method."""
