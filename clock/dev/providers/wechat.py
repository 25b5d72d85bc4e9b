"""The double of WeChat Pay, API v3: orders, payments, notifications (docs/wechat.md). Refunds and transfers are in
:mod:`wechat_money`, bills in :mod:`wechat_bills`.

Besides the provider's own paths it has ``/pay`` (a user pays), ``POST /confirm {"out_bill_no"}`` (a user confirms a
transfer) and ``PUT /trouble``.
"""

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from clock.dev.providers.books import rfc3339
from clock.dev.providers.double import Message, Sealed
from clock.dev.providers.foreign import ForeignDouble, ForeignTrouble, now_ms
from clock.dev.providers.wechat_bodies import Close, Order
from clock.dev.providers.wechat_seal import NotSigned, WechatSeal
from clock.runtime.dev_keys import WechatKeys

MONTH_MS = 30 * 86_400_000


class WechatTrouble(ForeignTrouble):
    old_key: float = 0
    """The share of notifications that are signed with the older key, of the platform certificate."""
    signtest: float = 0
    """A notification comes with a bad signature first, to see whether it is refused."""
    coupon: float = 0
    """The provider pays a fen of the price."""
    busy: float = 0
    """A refund is accepted, and answered 429."""
    abnormal: float = 0
    """A refund's money has left us and does not arrive."""
    refund_closed: float = 0
    lapse_ms: int = 86_400_000
    """How long a user may confirm a transfer."""
    blind_ms: int = MONTH_MS
    """Older transfers are not found any more."""


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


Body = dict[str, Any] | None
"""What is answered; ``None``: 204."""

MISMATCH = "268498688"
"""An order's number with other parameters."""

NOTICES = {
    "TRANSACTION.SUCCESS": ("transaction", "支付成功"),
    "REFUND.SUCCESS": ("refund", "退款成功"),
    "REFUND.ABNORMAL": ("refund", "退款异常"),
    "REFUND.CLOSED": ("refund", "退款关闭"),
    "MCHTRANSFER.BILL.FINISHED": ("mch_payment", "商家转账单据终态通知"),
}
"""Kind of what is encrypted, and the summary."""


class WechatProtocol(ForeignDouble):
    """Requests are verified, replies are signed, notifications are encrypted and signed."""

    name = "wechat"
    trouble: WechatTrouble

    def __init__(self, path: Path, keys: WechatKeys) -> None:
        super().__init__(path)
        self.trouble = WechatTrouble()
        self.keys = keys
        self.codec = WechatSeal(keys)

    def signed(self, action: Callable[[web.Request, bytes], Body]) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            try:
                self.codec.check(request.method, request.raw_path, raw, request.headers)
            except NotSigned as error:
                return self._answer(request, 401, {"code": "SIGN_ERROR", "message": str(error)})
            if self.happens(self.trouble.time_out_before):
                return self.hang_up(request)
            try:
                status, body = 200, action(request, raw)
            except Refusal as refusal:
                status, body = refusal.status, {"code": refusal.code, "message": refusal.message}
            except msgspec.ValidationError as error:
                status, body = 400, {"code": "PARAM_ERROR", "message": str(error)}
            if self.happens(self.trouble.time_out_after):
                return self.hang_up(request)
            return self._answer(request, status, body)

        return handle

    def _answer(self, request: web.Request, status: int, body: Body) -> web.Response:
        raw = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = self.codec.sign(raw, self.codec.serial_for(request.headers.get("Wechatpay-Serial", "")))
        if self.happens(self.trouble.unsigned):
            headers["Wechatpay-Timestamp"] = str(int(headers["Wechatpay-Timestamp"]) + 1)
        headers |= {"Request-ID": secrets.token_hex(16), "Content-Type": "application/json; charset=utf-8"}
        return web.Response(status=204 if body is None else status, body=raw, headers=headers)

    # -- notifications

    def notice(self, event: str, url: str, resource: dict[str, Any]) -> Message:
        """Encrypted when it is sent."""
        return Message(url, json.dumps({"event_type": event, "resource": resource}).encode())

    def _envelope(self, raw: bytes) -> bytes:
        said = json.loads(raw)
        kind, summary = NOTICES[said["event_type"]]
        body = {
            "id": hashlib.md5(raw, usedforsecurity=False).hexdigest(),
            "create_time": rfc3339(now_ms()),
            "resource_type": "encrypt-resource",
            "event_type": said["event_type"],
            "summary": summary,
            "resource": self.codec.encrypted(kind, said["resource"]),
        }
        return json.dumps(body, ensure_ascii=False).encode()

    def seal(self, raw: bytes) -> Sealed:
        return self._sealed(raw, probe=False)

    def _sealed(self, raw: bytes, probe: bool) -> tuple[bytes, dict[str, str]]:
        envelope = self._envelope(raw)
        serial = self.keys.old_serial if self.happens(self.trouble.old_key) else self.keys.key_id
        return envelope, self.codec.sign(envelope, serial, probe) | {"Content-Type": "application/json"}

    def bad(self, raw: bytes) -> list[Sealed]:
        found: list[Sealed] = []
        if self.happens(self.trouble.signtest):
            found.append(self._sealed(raw, probe=True))
        if self.happens(self.trouble.callback_forged):
            _, headers = self._sealed(raw, probe=False)
            found.append((self._envelope(raw), headers))  # another nonce, hence other bytes
        return found


class WechatOrders(WechatProtocol):
    def add_routes(self, router: web.UrlDispatcher) -> None:
        for how in ("jsapi", "h5", "native", "app"):
            router.add_post(f"/v3/pay/transactions/{how}", self.signed(self._order))
        router.add_get("/v3/pay/transactions/out-trade-no/{no}", self.signed(self._query_order))
        router.add_post("/v3/pay/transactions/out-trade-no/{no}/close", self.signed(self._close_order))

    def _order(self, request: web.Request, raw: bytes) -> Body:
        asked = msgspec.json.decode(raw, type=Order)
        self._check_merchant(asked.mchid, asked.appid)
        how, number = request.path.rpartition("/")[2], asked.out_trade_no
        if how == "jsapi" and not asked.payer:
            raise Refusal(400, "PARAM_ERROR", "payer.openid is missing")
        if how == "h5" and not asked.scene_info:
            raise Refusal(400, "PARAM_ERROR", "scene_info is missing")
        if self.books.payment_of(number) is not None:
            raise Refusal(400, "ORDERPAID", "该订单已支付")
        if self.books.is_closed(number):
            raise Refusal(400, "ORDER_CLOSED", "该订单已关闭")
        payer = asked.payer.openid if asked.payer else ""
        expires_ms = _instant(asked.time_expire) if asked.time_expire else now_ms() + 7 * 86_400_000
        body = msgspec.to_builtins(asked)
        if not self.make_order(number, how, body, asked.amount.total, payer, expires_ms, asked.notify_url):
            raise Refusal(400, MISMATCH, "请求重入时，参数与首次请求时不一致")
        name = hashlib.sha256(number.encode()).hexdigest()
        match how:
            case "h5":
                return {"h5_url": f"https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx{name[:32]}"}
            case "native":
                return {"code_url": f"weixin://wxpay/bizpayurl?pr={name[:10]}"}
        return {"prepay_id": f"wx{name[:34]}"}

    def _check_merchant(self, mchid: str, appid: str = "") -> None:
        if mchid != self.keys.mchid:
            raise Refusal(400, "PARAM_ERROR", "mchid is another merchant's")
        if appid and appid != self.keys.appid:
            raise Refusal(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")

    def _query_order(self, request: web.Request, _: bytes) -> Body:
        self._check_merchant(request.query.get("mchid", ""))
        number = request.match_info["no"]
        order, paid = self.order(number), self.books.payment_of(number)
        if paid is not None:
            return self.transaction(paid)
        if order is None:
            raise Refusal(404, "ORDER_NOT_EXIST", "订单不存在")
        state, said = ("CLOSED", "订单已关闭") if self.books.is_closed(number) else ("NOTPAY", "订单未支付")
        return {
            "amount": {"currency": "CNY", "payer_currency": "CNY", "total": order["amount"]},
            "appid": self.keys.appid,
            "mchid": self.keys.mchid,
            "out_trade_no": number,
            "promotion_detail": [],
            "trade_state": state,
            "trade_state_desc": said,
        }

    def _close_order(self, request: web.Request, raw: bytes) -> Body:
        self._check_merchant(msgspec.json.decode(raw, type=Close).mchid)
        number = request.match_info["no"]
        if self.order(number) is None:
            raise Refusal(404, "ORDER_NOT_EXIST", "订单不存在")
        if self.books.payment_of(number) is not None:
            raise Refusal(400, "ORDER_PAID", "该订单已支付")
        self.books.close(number)
        return None

    def transaction(self, paid: sqlite3.Row) -> dict[str, Any]:
        """A payment, as the query and the notification have it. One of which money went back is in state REFUND."""
        order = self.order(paid["order_no"])
        assert order is not None
        refunded = self.books.refunded(paid["transaction_id"]) > 0
        coupon = int(bool(paid["amount"] > 1) and self.happens(self.trouble.coupon))
        return {
            "amount": {
                "currency": "CNY",
                "payer_currency": "CNY",
                "payer_total": paid["amount"] - coupon,
                "total": paid["amount"],
            },
            "appid": self.keys.appid,
            "attach": "",
            "bank_type": "OTHERS",
            "mchid": self.keys.mchid,
            "out_trade_no": paid["order_no"],
            "payer": {"openid": paid["payer"]},
            "promotion_detail": [],
            "success_time": rfc3339(paid["at_ms"]),
            "trade_state": "REFUND" if refunded else "SUCCESS",
            "trade_state_desc": "订单发生过退款" if refunded else "支付成功",
            "trade_type": {"h5": "MWEB"}.get(order["how"], order["how"].upper()),
            "transaction_id": paid["transaction_id"],
        }

    def message_of(self, payment: sqlite3.Row) -> Message:
        order = self.order(payment["order_no"])
        assert order is not None
        said = self.transaction(payment) | {"trade_state": "SUCCESS", "trade_state_desc": "支付成功"}
        return self.notice("TRANSACTION.SUCCESS", order["notify_url"], said)


def _instant(text: str) -> int:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(400, "PARAM_ERROR", "time_expire is not RFC 3339") from None
    if instant.tzinfo is None:
        raise Refusal(400, "PARAM_ERROR", "time_expire has no offset")
    return int(instant.timestamp() * 1000)
