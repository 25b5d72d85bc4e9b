"""Paying an order through its own channel: a call of its own, the same payment however often it is asked for."""

from typing import Any

import pytest

from clock.channels import How, PayRefused, Purchase, Silent
from tests.conftest import DAY, Api, at
from tests.flow.withdrawals.stage import Puller

EXTRA = {"mobile": "13800000007", "nickname": "早", "openId": "open-7"}


class Till(Puller):
    """Takes purchases, or says why not."""

    hows: tuple[How, ...] = ("jsapi", "h5")

    def __init__(self) -> None:
        super().__init__()
        self.purchases: list[Purchase] = []
        self.error: Exception | None = None

    async def pay(self, purchase: Purchase) -> dict[str, Any]:
        self.purchases.append(purchase)
        if self.error:
            raise self.error
        return {"how": purchase.how, "prepay": f"for {purchase.order_no}"}


@pytest.fixture
def till(api: Api) -> Till:
    api.service.channels["wechat"] = channel = Till()
    api.service.time.stop_at(at("20:00"))
    return channel


async def order(api: Api, **more: Any) -> dict[str, Any]:
    reply: dict[str, Any] = (await api.post("/api/join", 7, extra=EXTRA, **more))["data"]
    return reply


async def pay(api: Api, number: str, uid: int = 7, **more: Any) -> tuple[int, dict[str, Any]]:
    return await api.send("POST", "/api/pay", {"uid": uid, "order_no": number, **more}, api.token(uid))


async def test_joining_does_not_wait_for_the_provider(api: Api, till: Till) -> None:
    till.error = Silent("away")
    ordered = await order(api, channel="wechat")
    assert ordered["pay"] == {"channel": "wechat", "call": "/api/pay"}
    assert till.purchases == []
    status, reply = await pay(api, ordered["order_no"])
    assert (status, reply["code"]) == (503, "unavailable")
    till.error = None
    status, reply = await pay(api, ordered["order_no"])
    assert (status, reply["code"], reply["data"]) == (
        200,
        "ok",
        {"channel": "wechat", "pay": {"how": "jsapi", "prepay": f"for {ordered['order_no']}"}},
    )
    [_, purchase] = till.purchases
    assert (purchase.amount_fen, purchase.open_id, purchase.how) == (100, "open-7", "jsapi")
    assert purchase.expires_ms == at("24:00")
    assert purchase.address == "127.0.0.1"


async def test_asked_for_again_it_is_the_same_payment_without_a_call(api: Api, till: Till) -> None:
    number = (await order(api, channel="wechat"))["order_no"]
    first = await pay(api, number)
    assert await pay(api, number) == first
    assert len(till.purchases) == 1
    await pay(api, number, how="h5")
    assert [one.how for one in till.purchases] == ["jsapi", "h5"]


async def test_an_order_keeps_its_channel(api: Api, till: Till) -> None:
    first = await order(api, channel="wechat")
    again = await api.post("/api/join", 7, extra=EXTRA)  # by the default channel, platform
    assert (again["code"], again["data"]) == ("order_pending", first)
    assert (await api.send("POST", "/api/summary", {"uid": 7}, api.token(7)))[1]["data"]["summary"]["order"][
        "order_no"
    ] == first["order_no"]


async def test_a_channel_that_there_is_not(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    body = {"uid": 7, "extra": EXTRA, "channel": "alipay"}
    status, reply = await api.send("POST", "/api/join", body, api.token(7))
    assert (status, reply["code"], "channel" in reply["message"]) == (400, "bad_request", True)


async def test_the_platform_s_data_comes_with_the_order_and_by_this_path_too(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    ordered = await order(api)
    status, reply = await pay(api, ordered["order_no"])
    assert (status, reply["data"]) == (200, {"channel": "platform", "pay": ordered["pay"]})


async def test_what_cannot_be_paid(api: Api, till: Till) -> None:
    number = (await order(api, channel="wechat"))["order_no"]
    assert (await pay(api, number, uid=8))[1]["code"] == "order_not_found"  # another user's
    assert (await pay(api, number[:-1] + "_"))[1]["code"] == "order_not_found"
    assert (await pay(api, "T" + number[1:].swapcase()))[1]["code"] == "order_not_found"
    status, reply = await pay(api, number, how="native")
    assert (status, reply["code"], reply["data"]) == (200, "pay_refused", {"why": "wechat takes jsapi, h5"})
    till.error = PayRefused("the order is closed")
    assert (await pay(api, number))[1]["data"] == {"why": "the order is closed"}
    till.error = None
    api.service.time.stop_at(at("24:00"))
    assert (await pay(api, number))[1]["code"] == "order_closed"
    api.service.time.stop_at(at("20:00"))
    assert await api.service.voiding.void(DAY, "an outage") == "ok"
    assert (await pay(api, number))[1]["code"] == "order_closed"


async def test_who_has_paid_is_told_so(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    number = await api.member(7)
    assert (await pay(api, number))[1]["code"] == "already_paid"


async def test_who_may_ask(api: Api, till: Till) -> None:
    number = (await order(api, channel="wechat"))["order_no"]
    body = {"uid": 7, "order_no": number}
    assert (await api.send("POST", "/api/pay", body))[0] == 401
    assert (await api.send("POST", "/api/pay", body, api.token(8)))[0] == 403
    assert (await api.send("POST", "/api/pay", {"uid": 7}, api.token(7)))[0] == 400
    service = {"authorization": f"Bearer {api.service.tokens.issue('host', 'service')}"}
    assert (await api.send("POST", "/api/pay", body, service))[0] == 200


async def test_a_balance_over_http(api: Api, till: Till) -> None:
    status, reply = await api.send("POST", "/api/withdraw", {"uid": 7}, api.token(7))
    assert (status, reply["code"]) == (200, "nothing_to_withdraw")
    assert (await api.send("POST", "/api/withdraw", {"uid": 7}, api.token(8)))[0] == 403
    me = (await api.send("GET", "/api/me", headers=api.token(7)))[1]["data"]
    assert me["withdraw"] == {"minimum_fen": 30, "way": "push", "open": None, "reason": ""}
