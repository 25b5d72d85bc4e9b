"""The double of Alipay: the gateway, trades and their notifications. Money out is in :mod:`alipay_money`, bills in
:mod:`alipay_bills`.

Besides ``/gateway.do`` it has ``/pay`` (a user pays: for an order that was only signed as a link, ``pay`` in the body
holds the link) and ``PUT /trouble``.
"""

import hashlib
import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from clock.dev.providers.alipay_seal import AlipaySeal, NotSigned
from clock.dev.providers.books import beijing, beijing_ms, yuan
from clock.dev.providers.double import Message, Sealed
from clock.dev.providers.foreign import ForeignDouble, ForeignTrouble, now_ms
from clock.runtime.dev_keys import AlipayKeys

PRODUCTS = {
    "alipay.trade.create": "JSAPI_PAY",
    "alipay.trade.wap.pay": "QUICK_WAP_WAY",
    "alipay.trade.page.pay": "FAST_INSTANT_TRADE_PAY",
    "alipay.trade.app.pay": "QUICK_MSECURITY_PAY",
}

USER_ID = re.compile(r"2088\d{12}")
"""Other names of users are open ids."""

AMOUNT = re.compile(r"(0|[1-9]\d{0,8})\.(\d\d)")

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


class AlipayTrouble(ForeignTrouble):
    fund_change_n: float = 0
    """A refund is accepted and answered ``fund_change`` N: only the query says that it has succeeded."""
    system_error: float = 0
    """A call is carried out and answered with ``ACQ.SYSTEM_ERROR``."""


class Refusal(Exception):
    """``40004`` with this ``sub_code``."""


Content = Mapping[str, Any]
Action = Callable[[Content, Mapping[str, str]], dict[str, Any]]


class AlipayProtocol(ForeignDouble):
    name = "alipay"
    trouble: AlipayTrouble

    def __init__(self, path: Path, keys: AlipayKeys) -> None:
        super().__init__(path)
        self.trouble = AlipayTrouble()
        self.keys = keys
        self.codec = AlipaySeal(keys)

    def methods(self) -> dict[str, Action]:
        raise NotImplementedError

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/gateway.do", self._gateway)
        router.add_get("/gateway.do", self._open_link)

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        """The common parameters may be in the address or in the form."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        said = {**request.query, **form}
        method = said.get("method", "")
        if method in PRODUCTS and method != "alipay.trade.create":
            return self._page(said)
        try:
            self.codec.check(said)
            action = self.methods()[method]
            content = json.loads(said["biz_content"])
        except NotSigned as error:
            return self._answer(method, refused("40002", str(error)), signed=False)
        except (KeyError, ValueError):
            return self._answer("error", refused("40002", "isv.invalid-method"), signed=False)
        if self.happens(self.trouble.time_out_before):
            return self.hang_up(request)
        body = self._carried_out(action, content, said)
        if self.happens(self.trouble.time_out_after):
            return self.hang_up(request)
        if self.happens(self.trouble.system_error):
            return self._answer(method, refused("20000", "aop.ACQ.SYSTEM_ERROR"), signed=True)
        if self.happens(self.trouble.unsigned):
            return self._answer(method, refused("20000", "isp.unknow-error"), signed=False)
        return self._answer(method, body, signed=True)

    @staticmethod
    def _carried_out(action: Action, content: Content, said: Mapping[str, str]) -> dict[str, Any]:
        try:
            return {"code": "10000", "msg": "Success"} | action(content, said)
        except Refusal as refusal:
            return refused("40004", str(refusal))
        except KeyError as error:
            return refused("40002", f"isv.missing-parameter: {error}")

    def _answer(self, method: str, body: dict[str, Any], signed: bool) -> web.Response:
        return web.Response(body=self.codec.reply(method, body, signed), content_type="text/html", charset="utf-8")

    async def _open_link(self, request: web.Request) -> web.Response:
        return self._page(dict(request.query))

    def _page(self, said: Mapping[str, str]) -> web.Response:
        """A user has opened a link: there is no trade yet."""
        try:
            self.codec.check(said, stale=False)
        except NotSigned as error:
            return web.Response(status=400, text=str(error))
        return web.Response(text="支付宝收银台", content_type="text/html")

    # -- notifications

    def seal(self, raw: bytes) -> Sealed:
        return self.codec.notification(json.loads(raw)), FORM

    def bad(self, raw: bytes) -> list[Sealed]:
        if not self.happens(self.trouble.callback_forged):
            return []
        return [(self.codec.notification(json.loads(raw)).replace(b"total_amount=", b"total_amount=1"), FORM)]

    def taken(self, status: int, reply: bytes) -> bool:
        return status == 200 and reply == b"success"


def refused(code: str, sub_code: str) -> dict[str, Any]:
    names = {"40002": "Invalid Arguments", "40004": "Business Failed", "20000": "Service Currently Unavailable"}
    return {"code": code, "msg": names[code], "sub_code": sub_code, "sub_msg": "见错误码/说明"}


def fen_of(amount: object) -> int:
    """Of yuan as text with two decimals. Raises :class:`Refusal`."""
    found = AMOUNT.fullmatch(amount) if isinstance(amount, str) else None
    if found is None:
        raise Refusal("ACQ.INVALID_PARAMETER")
    return int(found[1]) * 100 + int(found[2])


class AlipayTrades(AlipayProtocol):
    def methods(self) -> dict[str, Action]:
        return {
            "alipay.trade.create": self._create,
            "alipay.trade.query": self._query,
            "alipay.trade.close": self._close,
        }

    def _create(self, content: Content, said: Mapping[str, str]) -> dict[str, Any]:
        buyer = content.get("buyer_open_id") or content["buyer_id"]
        if "op_app_id" not in content or content.get("product_code") != "JSAPI_PAY":
            raise Refusal("ACQ.INVALID_PARAMETER")
        self._make(content, said, buyer)
        return {"out_trade_no": content["out_trade_no"], "trade_no": f"S{content['out_trade_no']}0"}

    def _make(self, content: Content, said: Mapping[str, str], buyer: str) -> None:
        number = content["out_trade_no"]
        if self.books.payment_of(number) is not None:
            raise Refusal("ACQ.TRADE_HAS_SUCCESS")
        if self.books.is_closed(number):
            raise Refusal("ACQ.TRADE_HAS_CLOSE")
        if not content["subject"] or "notify_url" not in said:
            raise Refusal("ACQ.INVALID_PARAMETER")
        expires = content.get("time_expire")
        expires_ms = beijing_ms(expires) if expires else now_ms() + 15 * 86_400_000
        asked, fen = dict(content), fen_of(content["total_amount"])
        if not self.make_order(number, said["method"], asked, fen, buyer, expires_ms, said["notify_url"]):
            raise Refusal("ACQ.CONTEXT_INCONSISTENT")

    def refusal_of(self, body: dict[str, Any]) -> str:
        """Of an order that was signed as a link the trade begins now, when the user enters the password."""
        for text in (body.get("pay") or {}).values():
            try:
                said = self.codec.link(text) if isinstance(text, str) else None
                if said is not None and PRODUCTS.get(said["method"]) == json.loads(said["biz_content"])["product_code"]:
                    self._make(json.loads(said["biz_content"]), said, "")
            except NotSigned as error:
                return str(error)
            except Refusal as refusal:
                if str(refusal) != "ACQ.TRADE_HAS_SUCCESS":
                    return str(refusal)
        return super().refusal_of(body)

    def trade(self, content: Content) -> sqlite3.Row | None:
        """The payment that ``trade_no`` or ``out_trade_no`` names."""
        if "trade_no" in content:
            return self.books.payment(content["trade_no"])
        return self.books.payment_of(content["out_trade_no"])

    def made(self, content: Content) -> sqlite3.Row:
        """The trade that somebody has begun. Raises :class:`Refusal`."""
        number = content.get("out_trade_no") or content["trade_no"][1:-1]
        order = self.order(number)
        if order is None:
            raise Refusal("ACQ.TRADE_NOT_EXIST")
        return order

    def _query(self, content: Content, _: Mapping[str, str]) -> dict[str, Any]:
        paid = self.trade(content)
        if paid is not None:
            return self.described(paid) | {"send_pay_date": beijing(paid["at_ms"])}
        order = self.made(content)
        closed = self.books.is_closed(order["order_no"])
        return {
            "out_trade_no": order["order_no"],
            "trade_no": f"S{order['order_no']}0",
            "trade_status": "TRADE_CLOSED" if closed else "WAIT_BUYER_PAY",
            "total_amount": yuan(order["amount"]),
            **_who(order["payer"]),
        }

    def _close(self, content: Content, _: Mapping[str, str]) -> dict[str, Any]:
        if self.trade(content) is not None:
            raise Refusal("ACQ.TRADE_STATUS_ERROR")
        order = self.made(content)
        if self.books.is_closed(order["order_no"]):
            raise Refusal("ACQ.TRADE_STATUS_ERROR")
        self.books.close(order["order_no"])
        return {"out_trade_no": order["order_no"], "trade_no": f"S{order['order_no']}0"}

    def described(self, paid: sqlite3.Row) -> dict[str, Any]:
        """A payment; one that went back in full is a closed trade."""
        back = self.books.refunded(paid["transaction_id"])
        return {
            "out_trade_no": paid["order_no"],
            "trade_no": paid["transaction_id"],
            "trade_status": "TRADE_CLOSED" if back == paid["amount"] else "TRADE_SUCCESS",
            "total_amount": yuan(paid["amount"]),
            "receipt_amount": yuan(paid["amount"]),
            "buyer_pay_amount": yuan(paid["amount"]),
            "buyer_logon_id": "159****5620",
            **_who(paid["payer"]),
        }

    def said_of(self, paid: sqlite3.Row, **more: str) -> Message:
        order = self.order(paid["order_no"])
        assert order is not None
        said = {
            "app_id": self.keys.app_id,
            "charset": "utf-8",
            "fund_bill_list": json.dumps([{"amount": yuan(paid["amount"]), "fundChannel": "ALIPAYACCOUNT"}]),
            "gmt_create": beijing(order["at_ms"]),
            "gmt_payment": beijing(paid["at_ms"]),
            "notify_id": hashlib.md5(f"{paid['transaction_id']} {more}".encode(), usedforsecurity=False).hexdigest(),
            "notify_time": beijing(now_ms()),
            "notify_type": "trade_status_sync",
            "seller_id": self.keys.seller_id,
            "subject": json.loads(order["asked"])["subject"],
            "version": "1.0",
            **{name: value for name, value in self.described(paid).items() if not name.endswith("_user_id")},
            "trade_status": "TRADE_SUCCESS",
            **{name.replace("user_id", "id"): value for name, value in _who(paid["payer"]).items()},
            **more,
        }
        return Message(order["notify_url"], json.dumps(said).encode())

    def message_of(self, payment: sqlite3.Row) -> Message:
        return self.said_of(payment)


def _who(user: str) -> dict[str, str]:
    """As a query names a buyer; a notification says ``buyer_id``."""
    if not user:
        return {}
    return {"buyer_user_id" if USER_ID.fullmatch(user) else "buyer_open_id": user}


def order_id() -> str:
    return f"{now_ms()}{secrets.randbelow(10**15):015}"
