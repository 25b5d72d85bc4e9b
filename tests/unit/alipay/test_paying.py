"""What is sent: orders, refunds and transfers, and what a client is given."""

import json
from typing import Any, get_args
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clock.channels import How, Purchase
from clock.channels.alipay import Alipay
from clock.channels.alipay.keys import Keys
from clock.channels.alipay.signing import signed_content
from clock.channels.alipay.texts import beijing, fen, instant_ms, yuan
from tests.unit.alipay.stage import (
    APP_ID,
    ORDER,
    TRADE,
    USER,
    Double,
    certified,
    channel,
    private_pem,
    public_pem,
    settings,
)

EXPIRES_MS = instant_ms("2026-11-28 00:00:00")


def purchase(how: How, open_id: str = "open-1") -> Purchase:
    return Purchase(ORDER, 1_05, open_id, EXPIRES_MS, how)


def asked_of(sent: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The parameters of what was signed here, whose signature is valid, and their business."""
    form = dict(parse_qsl(sent, strict_parsing=True))
    content = signed_content((name.encode(), value.encode()) for name, value in form.items() if name != "sign")
    assert Keys(settings(alipay_private_key=private_pem("somebody"), alipay_public_key=public_pem("app"))).verifies(
        form["sign"], content
    )
    return form, json.loads(form["biz_content"])


COMMON = {"out_trade_no": ORDER, "total_amount": "1.05", "subject": "早起打卡", "time_expire": "2026-11-28 00:00:00"}


@pytest.mark.parametrize(
    ("open_id", "name"), [("open-1", "buyer_open_id"), (USER, "buyer_id"), (USER + "1", "buyer_open_id")]
)
async def test_a_trade_is_created_for_the_buyer(open_id: str, name: str, alipay: Alipay, gateway: Double) -> None:
    gateway.answers("alipay.trade.create", {"code": "10000", "out_trade_no": ORDER, "trade_no": TRADE})
    assert await alipay.pay(purchase("jsapi", open_id)) == {"how": "jsapi", "trade_no": TRADE}
    wanted = {**COMMON, "product_code": "JSAPI_PAY", "op_app_id": APP_ID, name: open_id}
    if name == "buyer_id":
        wanted["passback_params"] = "buyer_id"
    assert gateway.business == wanted
    assert gateway.forms[0]["notify_url"] == "https://game.example.org/callbacks/alipay"
    await alipay.pay(purchase("jsapi", open_id))
    assert gateway.forms[0]["biz_content"] == gateway.forms[1]["biz_content"]  # else it is another order to Alipay


@pytest.mark.parametrize(
    ("how", "method", "product"),
    [
        ("h5", "alipay.trade.wap.pay", "QUICK_WAP_WAY"),
        ("native", "alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
        ("app", "alipay.trade.app.pay", "QUICK_MSECURITY_PAY"),
    ],
)
async def test_the_others_are_signed_here_and_end_when_joining_does(how: How, method: str, product: str) -> None:
    paid = await channel(settings(public_url="https://game.example.org/")).pay(purchase(how))
    assert paid.pop("how") == how
    if how == "app":
        sent = paid.pop("order")
    else:
        url, _, sent = paid.pop("url").partition("?")
        assert url == "https://openapi.alipay.com/gateway.do"
    assert paid == {}
    form, business = asked_of(sent)
    assert form["biz_content"].isascii()
    assert form["method"] == method
    assert form["notify_url"] == "https://game.example.org/callbacks/alipay"
    assert form.get("return_url", "") == ("" if how == "app" else "https://game.example.org/")
    quit_url = {"quit_url": "https://game.example.org/"} if how == "h5" else {}
    assert business == {**COMMON, "product_code": product, **quit_url}


def test_a_client_can_pay_everywhere() -> None:
    assert set(channel().hows) == set(get_args(How))
    assert channel().pay_at_once(ORDER, 100) is None


async def test_a_refund_has_its_number_and_its_amount(alipay: Alipay, gateway: Double) -> None:
    gateway.answers(
        "alipay.trade.refund", {"code": "10000", "trade_no": TRADE, "fund_change": "Y", "refund_fee": "1.00"}
    )
    assert (await alipay.refund("R1", ORDER, TRADE, 40, 100)).state == "done"
    assert gateway.business == {"trade_no": TRADE, "refund_amount": "0.40", "out_request_no": "R1"}
    gateway.answers("alipay.trade.fastpay.refund.query", {"code": "10000", "refund_status": "REFUND_SUCCESS"})
    assert (await alipay.query_refund("R1", ORDER)).state == "done"
    assert gateway.business == {"out_trade_no": ORDER, "out_request_no": "R1"}


@pytest.mark.parametrize(("open_id", "kind"), [("open-1", "ALIPAY_OPEN_ID"), (USER, "ALIPAY_USER_ID")])
async def test_a_transfer_goes_to_the_users_account(open_id: str, kind: str, alipay: Alipay, gateway: Double) -> None:
    gateway.answers("alipay.fund.trans.uni.transfer", {"code": "10000", "out_biz_no": "P1", "status": "SUCCESS"})
    assert (await alipay.transfer("P1", open_id, 1_23)).state == "done"
    assert gateway.business == {
        "out_biz_no": "P1",
        "trans_amount": "1.23",
        "product_code": "TRANS_ACCOUNT_NO_PWD",
        "biz_scene": "DIRECT_TRANSFER",
        "order_title": "早起红包",
        "payee_info": {"identity": open_id, "identity_type": kind},
    }
    assert alipay.least_transfer_fen == 10
    gateway.answers("alipay.fund.trans.common.query", {"code": "10000", "out_biz_no": "P1", "status": "SUCCESS"})
    assert (await alipay.query_transfer("P1")).state == "done"
    assert gateway.business == {
        "out_biz_no": "P1",
        "product_code": "TRANS_ACCOUNT_NO_PWD",
        "biz_scene": "DIRECT_TRANSFER",
    }


async def test_a_red_packet_may_be_a_single_fen(gateway: Double) -> None:
    packets = channel(certified(alipay_url=gateway.url, alipay_product="STD_RED_PACKET"))
    gateway.answers("alipay.fund.trans.uni.transfer", {"code": "10000", "out_biz_no": "P1", "status": "SUCCESS"})
    assert packets.least_transfer_fen == 1
    assert (await packets.transfer("P1", "open-1", 1)).state == "done"
    assert gateway.business["product_code"] == "STD_RED_PACKET"
    assert json.loads(gateway.business["business_params"]) == {"sub_biz_scene": "REDPACKET"}
    assert gateway.business["trans_amount"] == "0.01"
    await packets.close()


@given(some.integers(min_value=0, max_value=10**14 - 1))
def test_an_amount_is_the_same_after_writing_and_reading(amount_fen: int) -> None:
    assert fen(yuan(amount_fen)) == amount_fen


def test_times_are_beijings_whatever_the_host_thinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    assert beijing(1_795_795_200_999) == "2026-11-28 00:00:00"
    assert instant_ms("2026-11-28 00:00:00") == 1_795_795_200_000
    assert instant_ms("2026-11-28 00:00:00.123") == 1_795_795_200_123
