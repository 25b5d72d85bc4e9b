"""The double of Alipay: forms signed over every parameter, refunds that say what they moved, bills in GBK."""

import io
import time
import zipfile
from typing import Any

from clock.dev.providers import alipay_seal
from clock.dev.providers.books import beijing
from tests.flow.providers.merchants import AlipayMerchant, trouble

NOT_THERE = "ACQ.TRADE_NOT_EXIST"


async def refund(merchant: AlipayMerchant, number: str, order: str, yuan: str = "1.00") -> Any:
    """``fund_change`` and the trade's sum of refunds, or why not."""
    content = {"trade_no": f"S{order}0", "refund_amount": yuan, "out_request_no": number}
    reply = await merchant.asks("alipay.trade.refund", **content)
    return (reply["fund_change"], reply["refund_fee"]) if reply["code"] == "10000" else reply["sub_code"]


async def refund_status(merchant: AlipayMerchant, number: str, order: str) -> Any:
    reply = await merchant.asks("alipay.trade.fastpay.refund.query", out_trade_no=order, out_request_no=number)
    return reply.get("refund_status")


async def transfer(merchant: AlipayMerchant, number: str, yuan: str = "1.00", **changes: Any) -> dict[str, Any]:
    payee = {"identity": "open-1", "identity_type": "ALIPAY_OPEN_ID"}
    content = {"out_biz_no": number, "trans_amount": yuan, "biz_scene": "DIRECT_TRANSFER", "payee_info": payee}
    content |= {"product_code": "TRANS_ACCOUNT_NO_PWD", "order_title": "早起"} | changes
    return await merchant.asks("alipay.fund.trans.uni.transfer", **content)


async def transfer_state(merchant: AlipayMerchant, number: str) -> Any:
    content = {"product_code": "TRANS_ACCOUNT_NO_PWD", "biz_scene": "DIRECT_TRANSFER", "out_biz_no": number}
    reply = await merchant.asks("alipay.fund.trans.common.query", **content)
    return reply.get("status") or reply["sub_code"]


async def status_of(merchant: AlipayMerchant, order: str) -> Any:
    reply = await merchant.asks("alipay.trade.query", out_trade_no=order)
    return reply.get("trade_status") or reply["sub_code"]


async def test_what_is_not_signed_well_is_refused_without_a_signature(alipay_merchant: AlipayMerchant) -> None:
    merchant, content = alipay_merchant, {"out_trade_no": "A1"}
    good = merchant.form("alipay.trade.query", content)
    forged = {**good, "biz_content": '{"out_trade_no":"A2"}'}
    long_ago = beijing(int((time.time() - alipay_seal.STALE_SECONDS - 5) * 1000))
    stale = merchant.form("alipay.trade.query", content, timestamp=long_ago)
    for form, why in (
        (forged, "isv.invalid-signature"),
        ({name: value for name, value in good.items() if name != "sign"}, "isv.missing-signature"),
        (stale, "isv.invalid-timestamp"),
        (merchant.form("alipay.trade.query", content, app_id="1"), "isv.invalid-app-id"),
    ):
        reply, signed = await merchant.sends(form)
        assert (reply["code"], reply["sub_code"], signed) == ("40002", why, False)
    assert (await merchant.asks("alipay.trade.query", **content))["sub_code"] == NOT_THERE


async def test_a_trade_is_made_once_and_closed_while_it_is_not_paid(alipay_merchant: AlipayMerchant) -> None:
    merchant = alipay_merchant
    made = await merchant.orders("B1")
    assert (made["code"], await merchant.orders("B1")) == ("10000", made)
    assert (await merchant.orders("B1", subject="晚起"))["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"
    assert await status_of(merchant, "B1") == "WAIT_BUYER_PAY"
    assert (await merchant.asks("alipay.trade.close", out_trade_no="B1"))["code"] == "10000"
    assert await status_of(merchant, "B1") == "TRADE_CLOSED"
    assert await merchant.pays("B1") == 409
    await merchant.orders("B2")
    assert await merchant.pays("B2") == 200
    assert (await merchant.asks("alipay.trade.close", out_trade_no="B2"))["sub_code"] == "ACQ.TRADE_STATUS_ERROR"


async def test_a_link_is_no_trade_until_its_user_pays(alipay_merchant: AlipayMerchant) -> None:
    merchant = alipay_merchant
    link = merchant.link("C1")
    async with merchant.session.get(link) as page:
        assert page.status == 200
    assert await status_of(merchant, "C1") == NOT_THERE
    assert (await merchant.asks("alipay.trade.close", out_trade_no="C1"))["sub_code"] == NOT_THERE
    assert await merchant.pays("C1") == 409
    assert await merchant.pays("C1", pay={"url": link.replace("1.00", "0.01")}) == 409
    assert await merchant.pays("C1", pay={"url": link}) == 200
    assert await status_of(merchant, "C1") == "TRADE_SUCCESS"


async def test_a_refund_says_whether_this_call_moved_money(alipay_merchant: AlipayMerchant) -> None:
    merchant = alipay_merchant
    await merchant.orders("D1")
    assert await refund(merchant, "R1", "D1") == "ACQ.TRADE_STATUS_ERROR"
    await merchant.pays("D1")
    assert await refund_status(merchant, "R1", "D1") is None
    assert await refund(merchant, "R1", "D1", "0.60") == ("Y", "0.60")
    assert await refund(merchant, "R1", "D1", "0.60") == ("N", "0.60")
    assert await refund(merchant, "R1", "D1", "0.61") == "ACQ.DISCORDANT_REPEAT_REQUEST"
    assert await refund(merchant, "R2", "D1", "0.41") == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    await trouble(merchant, not_enough=1)
    assert await refund(merchant, "R2", "D1", "0.40") == "ACQ.SELLER_BALANCE_NOT_ENOUGH"
    await trouble(merchant, fund_change_n=1, processing_ms=0)
    assert (await refund(merchant, "R2", "D1", "0.40"))[1] == "1.00"
    assert await refund_status(merchant, "R2", "D1") == "REFUND_SUCCESS"
    assert await refund(merchant, "R3", "D1", "0.01") == "ACQ.TRADE_HAS_FINISHED"
    query = await merchant.asks("alipay.trade.query", out_trade_no="D1")
    assert (query["trade_status"], query["send_pay_date"]) == ("TRADE_CLOSED", "2026-11-22 20:00:00")


async def test_a_transfer_moves_once_and_has_a_least_sum_by_product(alipay_merchant: AlipayMerchant) -> None:
    merchant = alipay_merchant
    assert (await transfer(merchant, "P1", "0.09"))["sub_code"] == "EXCEED_LIMIT_SM_MIN_AMOUNT"
    assert await transfer_state(merchant, "P1") == "ORDER_NOT_EXIST"
    red = {"product_code": "STD_RED_PACKET", "business_params": '{"sub_biz_scene":"REDPACKET"}'}
    assert (await transfer(merchant, "P0", "0.01", **red))["status"] == "SUCCESS"
    first = await transfer(merchant, "P1")
    assert (first["status"], await transfer(merchant, "P1")) == ("SUCCESS", first)
    assert (await transfer(merchant, "P1", "1.01"))["sub_code"] == "INVALID_PARAMETER"
    await trouble(merchant, lapses=1, processing_ms=50)
    assert (await transfer(merchant, "P2"))["status"] == "DEALING"
    time.sleep(0.06)
    assert await transfer_state(merchant, "P2") == "FAIL"
    await trouble(merchant, unsigned=1)
    form = merchant.form("alipay.fund.trans.common.query", {"out_biz_no": "P1"})
    reply, signed = await merchant.sends(form)
    assert (reply["code"], signed) == ("20000", False)


async def bill(merchant: AlipayMerchant, kind: str, day: str) -> list[list[str]]:
    reply = await merchant.asks("alipay.data.dataservice.bill.downloadurl.query", bill_type=kind, bill_date=day)
    async with merchant.session.get(reply["bill_download_url"]) as answer:
        archive = zipfile.ZipFile(io.BytesIO(await answer.read()), metadata_encoding="gbk")
    (name,) = (one for one in archive.namelist() if one.endswith("明细.csv"))
    lines = archive.read(name).decode("gbk").splitlines()
    return [[value.strip() for value in line.split(",")] for line in lines if not line.startswith("#")][1:]


async def test_the_bills_have_every_movement_and_no_payer(alipay_merchant: AlipayMerchant) -> None:
    merchant, today = alipay_merchant, beijing(int(time.time() * 1000))[:10]
    await merchant.orders("E1")
    await merchant.pays("E1")
    await refund(merchant, "RE1", "E1", "0.30")
    await transfer(merchant, "PE1", "0.70")
    (paid,) = await bill(merchant, "trade", "2026-11-22")
    assert (paid[0], paid[1], paid[2], paid[11]) == ("SE10", "E1", "交易", "1.00")
    assert "open-1" not in paid
    (back,) = await bill(merchant, "trade", today)
    assert (back[1], back[2], back[11], back[21]) == ("E1", "退款", "-0.30", "RE1")
    moved = await bill(merchant, "signcustomer", today)
    assert [(row[2], row[7], row[10]) for row in moved] == [("E1", "-0.30", "交易退款"), ("PE1", "-0.70", "转账")]
    await trouble(merchant, bill_missing=1)
    content = {"bill_type": "trade", "bill_date": today}
    reply = await merchant.asks("alipay.data.dataservice.bill.downloadurl.query", **content)
    assert reply["sub_code"] == "isp.bill_not_exist"
