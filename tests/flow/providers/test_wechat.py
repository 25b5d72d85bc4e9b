"""The double of WeChat Pay: refunds once under a number, transfers that wait for their users, bills with totals."""

import gzip
import hashlib
import time
from typing import Any

from clock.dev.providers.books import beijing
from tests.flow.providers.merchants import ORDERS, Merchant, trouble

REFUNDS, BILLS = "/v3/refund/domestic/refunds", "/v3/fund-app/mch-transfer/transfer-bills"


async def paid(merchant: Merchant, number: str) -> str:
    """Its transaction."""
    assert (await merchant.asks("POST", ORDERS, merchant.order(number)))[0] == 200
    assert await merchant.pays(number) == 200
    return f"S{number}0"


async def refund(merchant: Merchant, number: str, transaction: str, fen: int = 100, total: int = 100) -> Any:
    amount = {"refund": fen, "total": total, "currency": "CNY"}
    body = {"transaction_id": transaction, "out_refund_no": number, "amount": amount}
    status, reply = await merchant.asks("POST", REFUNDS, body)
    return reply.get("status") if status == 200 else (status, reply["code"])


async def transfer(merchant: Merchant, number: str, fen: int = 100, **changes: Any) -> tuple[int, dict[str, Any]]:
    reports = [{"info_type": "活动名称", "info_content": "早起"}, {"info_type": "奖励说明", "info_content": "红包"}]
    body: dict[str, Any] = {
        "appid": merchant.keys.appid,
        "out_bill_no": number,
        "transfer_scene_id": "1000",
        "openid": "open-1",
    }
    body |= {"transfer_amount": fen, "transfer_remark": "早起", "transfer_scene_report_infos": reports}
    return await merchant.asks("POST", BILLS, body | changes)


async def state(merchant: Merchant, number: str) -> Any:
    status, reply = await merchant.asks("GET", f"{BILLS}/out-bill-no/{number}")
    assert "package_info" not in reply
    return reply["state"] if status == 200 else (status, reply["code"])


async def test_a_refund_is_for_one_number_and_one_sum(merchant: Merchant) -> None:
    transaction = await paid(merchant, "E00001")
    assert await refund(merchant, "R1", transaction, total=200) == (400, "INVALID_REQUEST")
    assert await refund(merchant, "R1", "S-unheard") == (404, "RESOURCE_NOT_EXISTS")
    assert (await merchant.asks("GET", f"{REFUNDS}/R1"))[1]["code"] == "RESOURCE_NOT_EXISTS"
    await trouble(merchant, not_enough=1)
    assert await refund(merchant, "R1", transaction, 60) == (403, "NOT_ENOUGH")
    await trouble(merchant, busy=1)
    assert await refund(merchant, "R1", transaction, 60) == (429, "FREQUENCY_LIMITED")
    assert (await merchant.asks("GET", f"{REFUNDS}/R1"))[1]["status"] == "SUCCESS"  # accepted all the same
    await trouble(merchant)
    assert await refund(merchant, "R1", transaction, 60) == "SUCCESS"
    assert await refund(merchant, "R1", transaction, 61) == (400, "INVALID_REQUEST")
    assert await refund(merchant, "R2", transaction, 41) == (400, "INVALID_REQUEST")
    for knob, ends in (("abnormal", "ABNORMAL"), ("refund_closed", "CLOSED")):
        await trouble(merchant, processing_ms=0, **{knob: 1})
        other = await paid(merchant, f"E-{knob}")
        await refund(merchant, f"R-{knob}", other)
        assert (await merchant.asks("GET", f"{REFUNDS}/R-{knob}"))[1]["status"] == ends
    query = f"/v3/pay/transactions/out-trade-no/E00001?mchid={merchant.keys.mchid}"
    assert (await merchant.asks("GET", query))[1]["trade_state"] == "REFUND"


async def test_a_transfer_waits_for_its_user_and_moves_once(merchant: Merchant) -> None:
    assert (await transfer(merchant, "W1", 9))[1]["message"] == "转账金额超过单笔转账上下限"
    assert (await transfer(merchant, "W-1"))[1]["code"] == "PARAM_ERROR"
    one_report = [{"info_type": "活动名称", "info_content": "早起"}]
    assert (await transfer(merchant, "W1", transfer_scene_report_infos=one_report))[0] == 400
    assert await state(merchant, "W1") == (404, "NOT_FOUND")
    status, reply = await transfer(merchant, "W1")
    assert (status, reply["state"]) == (200, "WAIT_USER_CONFIRM")
    assert reply["package_info"]
    assert await transfer(merchant, "W1") == (status, reply)
    assert (await transfer(merchant, "W1", 101))[1]["message"] == "商户单号已存在，但信息不一致"
    async with merchant.session.post(f"{merchant.url}/confirm", json={"out_bill_no": "W1"}) as answer:
        assert answer.status == 200
    assert await state(merchant, "W1") == "SUCCESS"
    assert (await merchant.asks("POST", f"{BILLS}/out-bill-no/W1/cancel"))[0] == 400
    await transfer(merchant, "W2")
    assert (await merchant.asks("POST", f"{BILLS}/out-bill-no/W2/cancel"))[1]["state"] == "CANCELING"
    assert await state(merchant, "W2") == "CANCELLED"
    await trouble(merchant, lapse_ms=0)
    await transfer(merchant, "W3")
    status, reply = await merchant.asks("GET", f"{BILLS}/out-bill-no/W3")
    assert (reply["state"], reply["fail_reason"]) == ("FAIL", "OVERDUE_CLOSE")
    await trouble(merchant, blind_ms=-1)
    assert await state(merchant, "W1") == (404, "NOT_FOUND")  # as after thirty days


async def fetched(merchant: Merchant, path: str) -> list[list[str]]:
    status, reply = await merchant.asks("GET", path)
    assert status == 200, reply
    where = reply["download_url"].removeprefix(merchant.url)
    async with merchant.session.get(reply["download_url"]) as answer:
        assert answer.status == 401  # it wants our signature as well
    signed = {"Authorization": merchant.authorization("GET", where, b"", int(time.time()))}
    async with merchant.session.get(reply["download_url"], headers=signed) as answer:
        raw = gzip.decompress(await answer.read())
    assert hashlib.sha1(raw).hexdigest() == reply["hash_value"]
    return [line.removeprefix("`").split(",`") for line in raw.decode("utf-8-sig").splitlines()]


async def test_the_bills_have_every_movement_and_their_totals(merchant: Merchant) -> None:
    today, day = beijing(int(time.time() * 1000))[:10], "2026-11-22"
    await paid(merchant, "F00001")
    await refund(merchant, "RF1", await paid(merchant, "F00002"), 30)
    await transfer(merchant, "WF1", 70)
    async with merchant.session.post(f"{merchant.url}/confirm", json={"out_bill_no": "WF1"}) as answer:
        assert answer.status == 200
    trades = await fetched(merchant, f"/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP")
    assert {(row[6], row[9], row[12]) for row in trades[1:3]} == {
        ("F00001", "SUCCESS", "1.00"),
        ("F00002", "SUCCESS", "1.00"),
    }
    assert trades[-1][:2] == ["2", "2.00"]
    (refunded,) = (await fetched(merchant, f"/v3/bill/tradebill?bill_date={today}&tar_type=GZIP"))[1:-2]
    assert (refunded[6], refunded[9], refunded[15], refunded[16], refunded[19]) == (
        "F00002",
        "REFUND",
        "RF1",
        "0.30",
        "SUCCESS",
    )
    flow = f"/v3/bill/fundflowbill?bill_date={today}&tar_type=GZIP&account_type=OPERATION"
    (moved,) = (await fetched(merchant, flow))[1:-2]
    assert (moved[5], moved[6], moved[10]) == ("支出", "0.70", "WF1")
    assert (await merchant.asks("GET", "/v3/bill/tradebill?bill_date=2019-01-01"))[1]["code"] == "NO_STATEMENT_EXIST"
    await trouble(merchant, bill_missing=1)
    assert (await merchant.asks("GET", flow))[1]["code"] == "STATEMENT_CREATING"
