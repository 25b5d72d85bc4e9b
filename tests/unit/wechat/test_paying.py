"""Orders: what is sent, what the client gets, and what happens where the provider says no, or nothing that counts."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from wechatpayv3 import utils

from clock.channels import PayRefused, Purchase, Silent, TooManyCalls
from clock.channels.wechat import WeChat
from tests.unit.wechat.stage import (
    APPID,
    MCHID,
    ORDER,
    PUBLIC_KEY_ID,
    Double,
    Waits,
    certificate_pem,
    public_pem,
    settings,
    signed,
)

EXPIRES_MS = 1_795_708_800_000
COMMON = {
    "appid": APPID,
    "mchid": MCHID,
    "out_trade_no": ORDER,
    "time_expire": "2026-11-27T00:00:00+08:00",
    "notify_url": "https://game.example.org/callbacks/wechat",
    "amount": {"total": 100, "currency": "CNY"},
}
PREPAID = {"prepay_id": "wx201410272009395522657a690389285100"}


def purchase(**changed: Any) -> Purchase:
    return msgspec.structs.replace(Purchase(ORDER, 100, "oUpF8", EXPIRES_MS, "jsapi", "203.0.113.7"), **changed)


WAYS = [
    ("jsapi", {"payer": {"openid": "oUpF8"}}, PREPAID),
    (
        "h5",
        {"scene_info": {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}}},
        {"h5_url": "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2016&package=1"},
    ),
    ("native", {}, {"code_url": "weixin://wxpay/bizpayurl?pr=p4lpSuKzz"}),
]


@pytest.mark.parametrize(("how", "more", "said"), WAYS)
async def test_an_order(channel: WeChat, double: Double, how: Any, more: dict[str, Any], said: dict[str, str]) -> None:
    double.says(200, said)
    given = await channel.pay(purchase(how=how))
    (asked,) = double.asked
    assert (asked.method, asked.target) == ("POST", f"/v3/pay/transactions/{how}")
    description = asked.body.pop("description")
    assert asked.body == {**COMMON, **more, "description": description}
    assert "," not in description and 0 < len(description) <= 127
    assert asked.headers["accept"] == asked.headers["content-type"] == "application/json"
    assert asked.headers["wechatpay-serial"] == PUBLIC_KEY_ID
    assert given["how"] == how
    if how != "jsapi":
        assert given == {"how": how, **said}


async def test_what_a_page_hands_to_wechat_verifies(channel: WeChat, double: Double) -> None:
    double.says(200, PREPAID)
    given = await channel.pay(purchase())
    message = f"{APPID}\n{given['timeStamp']}\n{given['nonceStr']}\n{given['package']}\n"
    merchant = utils.load_public_key(public_pem("merchant"))
    head, _, last = message.removesuffix("\n").rpartition("\n")
    at, _, nonce = head.rpartition("\n")
    assert utils.rsa_verify(at, nonce, last, given.pop("paySign"), merchant)
    assert len(given.pop("nonceStr")) == 32 and given.pop("timeStamp").isdecimal()
    assert given == {"how": "jsapi", "appId": APPID, "package": "prepay_id=" + PREPAID["prepay_id"], "signType": "RSA"}


async def test_an_order_that_is_asked_for_again_is_the_same_to_the_byte(channel: WeChat, double: Double) -> None:
    double.says(200, PREPAID)
    await channel.pay(purchase())
    await channel.pay(purchase())
    assert double.asked[0].raw == double.asked[1].raw


UNUSABLE: dict[str, tuple[Any, ...]] = {
    "not signed": (200, PREPAID, lambda _: {}),
    "signed by a stranger": (200, PREPAID, lambda raw: signed(raw, "stranger")),
    "signed with our own key": (200, PREPAID, lambda raw: signed(raw, "merchant")),
    "another body's signature": (200, PREPAID, lambda raw: signed(raw + b" ")),
    "an old reply": (200, PREPAID, lambda raw: signed(raw, at=1_722_850_421)),
    "a gateway's error": (502, b"<html>Bad Gateway</html>", lambda _: {}),
    "a refusal that is not signed": (400, {"code": "ORDERPAID"}, lambda _: {}),
    "another way's reply": (200, {"code_url": "weixin://"}),
    "no JSON": (200, b"ok"),
    "of another type": (200, {"prepay_id": 7}),
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_what_cannot_be_verified_or_read_says_nothing(channel: WeChat, double: Double, name: str) -> None:
    double.says(*UNUSABLE[name])
    with pytest.raises(Silent):
        await channel.pay(purchase())


async def test_a_refusal_gives_its_reason(channel: WeChat, double: Double) -> None:
    double.says(400, {"code": "ORDERPAID", "message": "该订单已支付"})
    with pytest.raises(PayRefused, match="ORDERPAID: 该订单已支付"):
        await channel.pay(purchase())


async def test_a_reason_is_bounded(channel: WeChat, double: Double) -> None:
    double.says(400, {"code": "PARAM_ERROR", "message": "\0" + "长" * 5_000})
    with pytest.raises(PayRefused) as refused:
        await channel.pay(purchase())
    assert len(str(refused.value)) == 200 and "\0" not in str(refused.value)


async def test_nobody_answers(waits: Waits) -> None:
    channel = WeChat(settings(wechat_url="http://127.0.0.1:9"), waits)
    with pytest.raises(Silent):
        await channel.pay(purchase())
    assert channel.silent_seconds() > 0
    await channel.close()


async def test_too_many_calls_reach_the_caller_and_not_the_provider(
    channel: WeChat, double: Double, waits: Waits
) -> None:
    waits.used_up.add("wechat.orders")
    with pytest.raises(TooManyCalls):
        await channel.pay(purchase())
    assert double.asked == []


async def test_a_way_that_is_not_offered(channel: WeChat, double: Double) -> None:
    with pytest.raises(PayRefused):
        await channel.pay(purchase(how="app"))
    assert double.asked == [] and channel.pay_at_once(ORDER, 100) is None


async def test_without_a_public_key_none_is_asked_for(double: Double, waits: Waits) -> None:
    channel = WeChat(settings(wechat_url=double.url, wechat_keys=certificate_pem()), waits)
    double.says(200, PREPAID, lambda raw: signed(raw, "certificate"))
    assert (await channel.pay(purchase()))["package"]
    assert "wechatpay-serial" not in double.asked[0].headers
    await channel.close()


ADDRESSES: list[Callable[[str], str]] = [lambda url: url + "/", lambda url: url]


@pytest.mark.parametrize("written", ADDRESSES)
async def test_a_base_url_with_or_without_a_slash(double: Double, waits: Waits, written: Callable[[str], str]) -> None:
    channel = WeChat(settings(wechat_url=written(double.url), public_url="https://game.example.org/"), waits)
    double.says(200, PREPAID)
    await channel.pay(purchase())
    assert double.asked[0].target == "/v3/pay/transactions/jsapi"
    assert double.asked[0].body["notify_url"] == COMMON["notify_url"]
    await channel.close()
