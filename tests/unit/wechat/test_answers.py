"""Every row of the tables, through HTTP: what the provider says becomes our state; rows for an operator ring."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from clock.channels import NoBill, NotYet, PayRefused, Purchase, Silent
from clock.channels.wechat import WeChat
from clock.channels.wechat.answers import TABLES, Row
from tests.unit.wechat import paper
from tests.unit.wechat.stage import ORDER, REFUND, TRANSFER, Asked, Double, Reply, transaction

PURCHASE = Purchase(ORDER, 100, "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", 1_795_708_800_000, "jsapi")
STATES = {"query_order": "trade_state", "refund": "status", "query_refund": "status", "transfer": "state"}
STATES["query_transfer"] = "state"
TRADES = paper.trades([paper.payment("42", ORDER, "1.00")], "1.00", "0.0")
FUNDS = paper.funds([paper.movement(TRANSFER, "0.30")], "0.00", "0.30")
ROWS = [
    pytest.param(method, row, id=f"{method}-{row.status}-{row.said or 'any'}")
    for method, rows in TABLES.items()
    for row in rows
]


def reply_of(method: str, row: Row[Any]) -> Reply:
    """What the provider sends for the row."""
    if row.status == "204":
        return Reply(204)
    if row.status != "200":
        status = {"4xx": 422, "any": 500}.get(row.status) or int(row.status)
        return Reply(status, {"code": row.said or "SOMETHING_ELSE", "message": "原因"})
    if method == "pay":
        return Reply(200, {"prepay_id": "wx201410272009395522657a690389285100"})
    numbers = {"out_refund_no": REFUND, "out_bill_no": TRANSFER}
    return Reply(200, {**transaction(), **numbers, STATES[method]: row.said})


async def done_by(channel: WeChat, method: str) -> str:
    """The call's outcome in the word of the table."""
    match method:
        case "pay":
            try:
                await channel.pay(PURCHASE)
            except (PayRefused, Silent) as error:
                return "refused" if isinstance(error, PayRefused) else "silent"
            return "taken"
        case "query_order":
            return (await channel.query_order(ORDER)).state
        case "close_order":
            return (await channel.close_order(ORDER)).state
        case "refund":
            return (await channel.refund(REFUND, ORDER, "42", 100, 100)).state
        case "query_refund":
            return (await channel.query_refund(REFUND, ORDER)).state
        case "transfer":
            return (await channel.transfer(TRANSFER, "oUpF8", 100)).state
        case "query_transfer":
            return (await channel.query_transfer(TRANSFER)).state
    try:
        return "there" if [page async for page in channel.bill("2026-11-26")] else "empty"
    except NotYet:
        return "not_yet"
    except NoBill:
        return "no_bill"


@pytest.mark.parametrize(("method", "row"), ROWS)
async def test_a_row(channel: WeChat, double: Double, method: str, row: Row[Any]) -> None:
    def reply(asked: Asked) -> Reply:
        if method == "bill" and row.status == "200":
            return double.bills(asked, TRADES, FUNDS)
        if method == "close_order" and asked.method == "GET":
            return Reply(200, transaction())
        return reply_of(method, row)

    double.reply = reply
    with capture_logs() as logged:
        outcome = await done_by(channel, method)
    assert outcome == {"query_order": "paid"}.get(row.means, row.means)
    assert any(line["event"] == "wechat_wants_operator" for line in logged) == row.alarm


def test_the_last_row_of_a_table_fits_everything_and_decides_nothing() -> None:
    for rows in TABLES.values():
        assert (rows[-1].status, rows[-1].said) == ("any", "")
        assert rows[-1].means in ("unknown", "silent", "no_bill")


def test_no_row_is_hidden_by_one_before_it() -> None:
    for rows in TABLES.values():
        for place, row in enumerate(rows):
            status = {"4xx": 422, "any": 500}.get(row.status) or int(row.status)
            assert not any(before.fits(status, row.said or "SOMETHING_ELSE") for before in rows[:place]), row
