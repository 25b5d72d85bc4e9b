"""What is sent to WeChat Pay, and what the user's client hands to it. Unknown fields and nulls are errors there."""

import time
from typing import Any

from clock.channels import How, Purchase
from clock.channels.wechat import shapes
from clock.channels.wechat.settings import Merchant
from clock.channels.wechat.signing import nonce_text, pay_sign

DESCRIPTION = "早起打卡押金"
"""The same whenever an order is asked for again, or it is refused. A comma would break the bill."""

REMARK = "早起打卡红包"
"""At most 32 characters."""


def order(merchant: Merchant, purchase: Purchase) -> dict[str, Any]:
    """A function of the order, except for the address of a payer in a browser."""
    body: dict[str, Any] = {
        "appid": merchant.appid,
        "mchid": merchant.mchid,
        "description": DESCRIPTION,
        "out_trade_no": purchase.order_no,
        "time_expire": shapes.rfc3339(purchase.expires_ms),
        "notify_url": merchant.notify_url,
        "amount": {"total": purchase.amount_fen, "currency": "CNY"},
    }
    if purchase.how == "jsapi":
        body["payer"] = {"openid": purchase.open_id}
    if purchase.how == "h5":
        body["scene_info"] = {"payer_client_ip": purchase.address, "h5_info": {"type": "Wap"}}
    return body


def for_client(merchant: Merchant, how: How, prepared: shapes.Prepared) -> dict[str, Any] | None:
    """``None``: the reply does not hold it."""
    match how:
        case "jsapi" if prepared.prepay_id:
            at, nonce, package = str(int(time.time())), nonce_text(), f"prepay_id={prepared.prepay_id}"
            return {
                "how": how,
                "appId": merchant.appid,
                "timeStamp": at,
                "nonceStr": nonce,
                "package": package,
                "signType": "RSA",
                "paySign": pay_sign(merchant.key, merchant.appid, at, nonce, package),
            }
        case "h5" if prepared.h5_url:
            return {"how": how, "h5_url": prepared.h5_url}
        case "native" if prepared.code_url:
            return {"how": how, "code_url": prepared.code_url}
    return None


def refund(merchant: Merchant, number: str, transaction_id: str, amount_fen: int, total_fen: int) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "out_refund_no": number,
        "notify_url": merchant.notify_url,
        "amount": {"refund": amount_fen, "total": total_fen, "currency": "CNY"},
    }


def transfer(merchant: Merchant, number: str, open_id: str, amount_fen: int) -> dict[str, Any]:
    return {
        "appid": merchant.appid,
        "out_bill_no": number,
        "transfer_scene_id": merchant.scene,
        "openid": open_id,
        "transfer_amount": amount_fen,
        "transfer_remark": REMARK,
        "notify_url": merchant.notify_url,
        "transfer_scene_report_infos": [
            {"info_type": kind, "info_content": content} for kind, content in merchant.report
        ],
    }
