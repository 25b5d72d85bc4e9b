"""What a yes says, exactly."""

from tests.conftest import DAY, Api, at
from tests.flow.http.stage import EXTRA, ME, OTHER


async def test_every_yes_has_exactly_the_data_of_the_contract(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    reply = await api.post("/api/join", ME, extra=EXTRA)
    order = reply["data"]
    assert (reply["status"], reply["code"]) == (1, "ordered")
    assert set(order) == {"order_id", "order_no", "amount", "pay"}
    assert 0 < order["order_id"] < 2**53
    assert order["order_no"].startswith("TTC")
    assert order["order_no"].isalnum() and order["order_no"].isascii() and len(order["order_no"]) <= 32
    assert order["amount"] == 100
    assert isinstance(order["pay"], dict)
    again = await api.post("/api/join", ME, extra=EXTRA)
    assert (again["status"], again["code"], again["data"]) == (1, "order_pending", order)
    assert (await api.pay(order["order_no"], ME))[1] == {
        "status": 1,
        "code": "paid",
        "message": "支付成功",
        "data": {},
    }
    assert await api.post("/api/join", ME, extra=EXTRA) == {
        "status": 0,
        "code": "already_joined",
        "message": "您已参加本轮打卡",
        "data": {},
    }
    await api.member(OTHER)

    api.service.time.stop_at(at("05:00", 1))
    assert (await api.post("/api/check-in/status", ME))["data"] == {"is_check_in": 0}
    for word in ("checked_in", "already_checked_in"):
        reply = await api.post("/api/check-in", ME)
        assert (reply["status"], reply["code"], reply["data"]) == (1, word, {"money": 200})
    reply = await api.post("/api/check-in/status", ME)
    assert (reply["status"], reply["code"], reply["data"]) == (1, "ok", {"is_check_in": 1})

    api.service.time.stop_at(at("08:05", 1))
    assert await api.service.settling.settle(DAY) == "settled"
    for word in ("claimed", "already_claimed"):
        reply = await api.post("/api/claim", ME)
        assert (reply["status"], reply["code"]) == (1, word)
        assert reply["data"] == {"assign": {"money": 100, "stake": 100, "total": 200}}
