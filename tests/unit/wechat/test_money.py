"""Questions, refunds and transfers: what is sent, and that nothing unverified counts."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from clock.channels import OrderState, Payment, Result
from clock.channels.wechat import TRANSFER_KNOWN_DAYS, WeChat
from tests.unit.wechat.stage import (
    APPID,
    MCHID,
    ORDER,
    REFUND,
    TRANSFER,
    Asked,
    Double,
    Reply,
    Waits,
    settings,
    signed,
    transaction,
)

CALLBACK = "https://game.example.org/callbacks/wechat"
PACKAGE = "affffddafdfafddffda=="

CALLS: dict[str, Callable[[WeChat], Awaitable[OrderState | Result]]] = {
    "query_order": lambda channel: channel.query_order(ORDER),
    "close_order": lambda channel: channel.close_order(ORDER),
    "refund": lambda channel: channel.refund(REFUND, ORDER, "42", 100, 300),
    "query_refund": lambda channel: channel.query_refund(REFUND, ORDER),
    "transfer": lambda channel: channel.transfer(TRANSFER, "oUpF8", 130),
    "query_transfer": lambda channel: channel.query_transfer(TRANSFER),
}

GOOD: dict[str, tuple[int, Any]] = {
    "query_order": (200, transaction()),
    "close_order": (204, b""),
    "refund": (200, {"out_refund_no": REFUND, "status": "SUCCESS"}),
    "query_refund": (200, {"out_refund_no": REFUND, "status": "SUCCESS"}),
    "transfer": (200, {"out_bill_no": TRANSFER, "state": "SUCCESS"}),
    "query_transfer": (200, {"out_bill_no": TRANSFER, "state": "SUCCESS"}),
}

SENT: dict[str, tuple[str, str, Any]] = {
    "query_order": ("GET", f"/v3/pay/transactions/out-trade-no/{ORDER}?mchid={MCHID}", None),
    "close_order": ("POST", f"/v3/pay/transactions/out-trade-no/{ORDER}/close", {"mchid": MCHID}),
    "refund": (
        "POST",
        "/v3/refund/domestic/refunds",
        {
            "transaction_id": "42",
            "out_refund_no": REFUND,
            "notify_url": CALLBACK,
            "amount": {"refund": 100, "total": 300, "currency": "CNY"},
        },
    ),
    "query_refund": ("GET", f"/v3/refund/domestic/refunds/{REFUND}", None),
    "transfer": (
        "POST",
        "/v3/fund-app/mch-transfer/transfer-bills",
        {
            "appid": APPID,
            "out_bill_no": TRANSFER,
            "transfer_scene_id": "1000",
            "openid": "oUpF8",
            "transfer_amount": 130,
            "transfer_remark": "早起打卡红包",
            "notify_url": CALLBACK,
            "transfer_scene_report_infos": [
                {"info_type": "活动名称", "info_content": "早起打卡"},
                {"info_type": "奖励说明", "info_content": "早起红包"},
            ],
        },
    ),
    "query_transfer": ("GET", f"/v3/fund-app/mch-transfer/transfer-bills/out-bill-no/{TRANSFER}", None),
}


@pytest.mark.parametrize("name", CALLS)
async def test_what_is_sent(channel: WeChat, double: Double, name: str) -> None:
    double.says(*GOOD[name])
    assert (await CALLS[name](channel)).state in ("paid", "closed", "done")
    (asked,) = double.asked
    assert (asked.method, asked.target, asked.body if asked.raw else None) == SENT[name]


NOT_SENT = {"query_order": "unknown", "close_order": "unknown"}
"""Otherwise ``again``."""

UNVERIFIED: dict[str, Callable[[bytes], dict[str, str]]] = {
    "not signed": lambda _: {},
    "signed by a stranger": lambda raw: signed(raw, "stranger"),
    "signed with our own key": lambda raw: signed(raw, "merchant"),
    "another body's signature": lambda raw: signed(raw + b" "),
    "a key that is unknown": lambda raw: signed(raw, serial="PUB_KEY_ID_7"),
    "an old reply": lambda raw: signed(raw, at=1_722_850_421),
    "a probe": lambda raw: {**signed(raw), "wechatpay-signature": "WECHATPAY/SIGNTEST/AAAA"},
}


@pytest.mark.parametrize("wrong", UNVERIFIED)
@pytest.mark.parametrize("name", CALLS)
async def test_a_reply_that_does_not_verify_is_unknown(channel: WeChat, double: Double, name: str, wrong: str) -> None:
    """Neither done nor failed, and never ``again``: the money may have moved."""
    for status, body in GOOD[name], (403, {"code": "NOT_ENOUGH"}), (400, {"code": "SOMETHING"}):
        double.says(status, body, UNVERIFIED[wrong])
        assert (await CALLS[name](channel)).state == "unknown"


UNREADABLE: dict[str, Any] = {
    "another number": {"out_trade_no": "X", "out_refund_no": "X", "out_bill_no": "X", "status": "SUCCESS"},
    "no state": {"out_trade_no": ORDER, "out_refund_no": REFUND, "out_bill_no": TRANSFER},
    "a new state": {"out_refund_no": REFUND, "out_bill_no": TRANSFER, "status": "NEW", "state": "NEW"},
    "no JSON": b"ok",
    "empty": b"",
    "a list": [],
}


@pytest.mark.parametrize("wrong", UNREADABLE)
@pytest.mark.parametrize("name", CALLS)
async def test_a_reply_that_says_something_else_is_unknown(
    channel: WeChat, double: Double, name: str, wrong: str
) -> None:
    body = UNREADABLE[wrong]
    if isinstance(body, dict):
        body = {**transaction(trade_state="NEW"), "state": "SUCCESS", **body} if wrong != "no state" else body
    double.says(200, body)
    assert (await CALLS[name](channel)).state == "unknown"


@pytest.mark.parametrize("changed", [{"appid": "wx1"}, {"mchid": "1900009999"}, {"out_trade_no": "TTC7"}])
async def test_an_order_that_is_not_ours_is_unknown(channel: WeChat, double: Double, changed: dict[str, str]) -> None:
    double.says(200, transaction(**changed))
    assert await channel.query_order(ORDER) == OrderState("unknown")


async def test_a_paid_order_has_its_payment_which_can_be_read_again(channel: WeChat, double: Double) -> None:
    double.says(200, transaction())
    found = await channel.query_order(ORDER)
    assert found.payment is not None and channel.parse(found.payment.kept) == found.payment
    assert found.payment == Payment(
        ORDER,
        100,
        "4200000263201902167700134212",
        "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        1_795_734_000_000,
        found.payment.kept,
    )


@pytest.mark.parametrize(("said", "state"), [("SUCCESS", "paid"), ("NOTPAY", "unpaid"), ("CLOSED", "closed")])
async def test_an_order_that_cannot_be_closed_is_asked_about(
    channel: WeChat, double: Double, said: str, state: str
) -> None:
    def reply(asked: Asked) -> Reply:
        return (
            Reply(200, transaction(trade_state=said)) if asked.method == "GET" else Reply(400, {"code": "ORDER_PAID"})
        )

    double.reply = reply
    found = await channel.close_order(ORDER)
    assert (found.state, found.payment is not None) == (state, state == "paid")


@pytest.mark.parametrize("name", ["transfer", "query_transfer"])
async def test_a_transfer_that_the_user_has_to_confirm(channel: WeChat, double: Double, name: str) -> None:
    double.says(200, {"out_bill_no": TRANSFER, "state": "WAIT_USER_CONFIRM", "package_info": PACKAGE})
    found = await CALLS[name](channel)
    confirm = {"how": "requestMerchantTransfer", "mchId": MCHID, "appId": APPID, "package": PACKAGE}
    assert found == Result("processing", "WAIT_USER_CONFIRM", confirm)
    double.says(200, {"out_bill_no": TRANSFER, "state": "WAIT_USER_CONFIRM"})
    assert await CALLS[name](channel) == Result("processing", "WAIT_USER_CONFIRM")


async def test_a_transfer_that_failed_says_why_and_wants_nothing_from_the_user(channel: WeChat, double: Double) -> None:
    double.says(
        200, {"out_bill_no": TRANSFER, "state": "FAIL", "fail_reason": "OVERDUE_CLOSE", "package_info": PACKAGE}
    )
    assert await channel.query_transfer(TRANSFER) == Result("failed", "OVERDUE_CLOSE")


async def test_a_number_with_other_characters_is_never_sent(channel: WeChat, double: Double) -> None:
    for number in ("W1-7", "W1/7", "", "W１N7"):
        assert (await channel.transfer(number, "oUpF8", 100)).state == "again"
    assert double.asked == []


async def test_a_number_of_somebody_elses_making_is_one_part_of_the_path(channel: WeChat, double: Double) -> None:
    """The signature covers the path as it is sent: the double refuses any other."""
    double.says(404, {"code": "ORDER_NOT_EXIST"})
    assert (await channel.query_order("../a b?mchid=1&x=ä%2F")).state == "unpaid"
    assert double.asked[0].target == (
        f"/v3/pay/transactions/out-trade-no/..%2Fa%20b%3Fmchid=1&x=%C3%A4%252F?mchid={MCHID}"
    )


@pytest.mark.parametrize("name", CALLS)
async def test_what_was_certainly_not_sent(waits: Waits, name: str) -> None:
    channel = WeChat(settings(wechat_url="http://127.0.0.1:9"), waits)
    assert (await CALLS[name](channel)).state == NOT_SENT.get(name, "again")
    await channel.close()


LIMITS = {
    "query_order": [("wechat.orders", 500)],
    "close_order": [("wechat.orders", 500)],
    "refund": [("wechat.refunds", 150)],
    "query_refund": [("wechat.refunds", 150)],
    "transfer": [("wechat.transfers", 100)],
    "query_transfer": [("wechat.transfer_queries", 100)],
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_limit_that_is_used_up(channel: WeChat, double: Double, waits: Waits, name: str) -> None:
    double.says(*GOOD[name])
    await CALLS[name](channel)
    assert waits.asked == LIMITS[name]
    waits.used_up.add(LIMITS[name][0][0])
    assert (await CALLS[name](channel)).state == NOT_SENT.get(name, "again")
    assert len(double.asked) == 1


@pytest.mark.parametrize("used_up", [False, True])
async def test_refunds_that_fail_have_a_limit_of_their_own(
    channel: WeChat, double: Double, waits: Waits, used_up: bool
) -> None:
    waits.used_up |= {"wechat.refund_errors"} if used_up else set()
    double.says(403, {"code": "NOT_ENOUGH", "message": "余额不足"})
    assert await channel.refund(REFUND, ORDER, "42", 100, 100) == Result("again", "NOT_ENOUGH: 余额不足")
    assert waits.asked == [("wechat.refunds", 150), ("wechat.refund_errors", 6)]


async def test_what_callers_have_to_know(channel: WeChat) -> None:
    assert channel.pulls and channel.ready and channel.hows[0] == "jsapi"
    assert (channel.least_transfer_fen, channel.most_transfer_fen) == (10, 20_000)
    assert channel.transfers_known_days == TRANSFER_KNOWN_DAYS == 29
