"""The double of WeChat Pay: refunds, and transfers that their users have to confirm."""

import json
import sqlite3
import time
from typing import Any

import msgspec
from aiohttp import web

from clock.dev.providers.books import rfc3339
from clock.dev.providers.double import Message
from clock.dev.providers.foreign import DONE, Movement, Outcome, now_ms, word
from clock.dev.providers.wechat import Body, Refusal, WechatOrders
from clock.dev.providers.wechat_bodies import Refund, Transfer

LEAST_TRANSFER_FEN, MOST_TRANSFER_FEN = 10, 200_000
NAME_FROM_FEN, NAME_NEEDED_FEN = 30, 200_000
"""From so much on a name may be given, and from so much on it has to be."""

NEEDED_REPORTS = {"1000": {"活动名称", "奖励说明"}}
"""What a scene wants to be told, all of it."""

REFUND_STATES = {"done": "SUCCESS", "processing": "PROCESSING", "abnormal": "ABNORMAL", "failed": "CLOSED"}

TRANSFER_STATES = {
    "accepted": "ACCEPTED",
    "processing": "PROCESSING",
    "waiting": "WAIT_USER_CONFIRM",
    "done": "SUCCESS",
    "failed": "FAIL",
    "cancelled": "CANCELLED",
}


class WechatRefunds(WechatOrders):
    def add_routes(self, router: web.UrlDispatcher) -> None:
        super().add_routes(router)
        router.add_post("/v3/refund/domestic/refunds", self.signed(self._refund))
        router.add_get("/v3/refund/domestic/refunds/{no}", self.signed(self._query_refund))

    def _refund(self, _: web.Request, raw: bytes) -> Body:
        asked = msgspec.json.decode(raw, type=Refund)
        if bool(asked.transaction_id) == bool(asked.out_trade_no):
            raise Refusal(400, "PARAM_ERROR", "one of transaction_id and out_trade_no")
        paid = (
            self.books.payment(asked.transaction_id)
            if asked.transaction_id
            else self.books.payment_of(asked.out_trade_no or "")
        )
        if paid is None:
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "订单号不存在")
        number, fen = asked.out_refund_no, asked.amount.refund
        body = {"amount": fen, "total": asked.amount.total}
        known = self.books.movement(number)
        if known is not None:
            if known["kind"] != "refund" or not self.was_asked(known, body):
                raise Refusal(400, "INVALID_REQUEST", "退款单号已存在，但信息不一致")
            return self._refund_body(known)
        if asked.amount.total != paid["amount"]:
            raise Refusal(400, "INVALID_REQUEST", "订单金额或退款金额与之前请求不一致")
        if fen + self.books.refunded(paid["transaction_id"]) > paid["amount"]:
            raise Refusal(400, "INVALID_REQUEST", "申请退款金额大于订单可退金额")
        if self.happens(self.trouble.not_enough):
            raise Refusal(403, "NOT_ENOUGH", "基本账户余额不足")
        movement = Movement(
            kind="refund", no=number, payer=paid["payer"], body=body, notify_url=asked.notify_url or "", paid=paid
        )
        row = self.begin(movement, self._refund_outcome())
        if self.happens(self.trouble.busy):
            raise Refusal(429, "FREQUENCY_LIMITED", "该笔退款受理中，请降低频率后重试查单")
        return self._refund_body(row)

    def _refund_outcome(self) -> Outcome:
        trouble = self.trouble
        ends = "done"
        if self.happens(trouble.abnormal):
            ends = "abnormal"
        elif self.happens(trouble.refund_closed):
            ends = "failed"
        if ends == "done" and not self.happens(trouble.processing):
            return DONE
        return Outcome("processing", ends, trouble.processing_ms)

    def _query_refund(self, request: web.Request, _: bytes) -> Body:
        found = self.books.movement(request.match_info["no"])
        if found is None or found["kind"] != "refund":
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
        return self._refund_body(found)

    def _refund_body(self, refund: sqlite3.Row) -> dict[str, Any]:
        amount = {
            "currency": "CNY",
            "discount_refund": 0,
            "payer_refund": refund["amount"],
            "payer_total": json.loads(refund["body"])["total"],
            "refund": refund["amount"],
            "refund_fee": 0,
            "settlement_refund": refund["amount"],
            "settlement_total": json.loads(refund["body"])["total"],
            "total": json.loads(refund["body"])["total"],
        }
        said = {
            "amount": amount,
            "channel": "ORIGINAL",
            "create_time": rfc3339(refund["at_ms"]),
            "funds_account": "AVAILABLE",
            "out_refund_no": refund["no"],
            "out_trade_no": refund["order_no"],
            "promotion_detail": [],
            "refund_id": f"50{refund['at_ms']:019}",
            "status": REFUND_STATES[refund["state"]],
            "transaction_id": self.end_of(refund["no"])["transaction_id"],
            "user_received_account": "支付用户零钱",
        }
        return said | ({"success_time": rfc3339(refund["at_ms"])} if refund["state"] == "done" else {})

    def end_message_of(self, movement: sqlite3.Row, end: sqlite3.Row) -> Message:
        body = self._refund_body(movement)
        said = {
            "mchid": self.keys.mchid,
            "refund_status": body["status"],
            "amount": {name: body["amount"][name] for name in ("total", "refund", "payer_total", "payer_refund")},
        }
        names = (
            "transaction_id",
            "out_trade_no",
            "refund_id",
            "out_refund_no",
            "success_time",
            "user_received_account",
        )
        said |= {name: body[name] for name in names if name in body}
        return self.notice(f"REFUND.{body['status']}", end["notify_url"], said)


class WechatTransfers(WechatRefunds):
    def add_routes(self, router: web.UrlDispatcher) -> None:
        super().add_routes(router)
        bills = "/v3/fund-app/mch-transfer/transfer-bills"
        router.add_post(bills, self.signed(self._transfer))
        router.add_get(f"{bills}/out-bill-no/{{no}}", self.signed(self._query_transfer))
        router.add_post(f"{bills}/out-bill-no/{{no}}/cancel", self.signed(self._cancel_transfer))
        router.add_post("/confirm", self._confirm)

    def _transfer(self, _: web.Request, raw: bytes) -> Body:
        asked = msgspec.json.decode(raw, type=Transfer)
        number, fen = asked.out_bill_no, asked.transfer_amount
        body = msgspec.to_builtins(asked) | {"amount": fen}
        known = self.books.movement(number)
        if known is not None:
            if known["kind"] != "transfer" or not self.was_asked(known, body):
                raise Refusal(400, "INVALID_REQUEST", "商户单号已存在，但信息不一致")
            return self._created(known)
        self._check_transfer(asked)
        if self.happens(self.trouble.not_enough):
            raise Refusal(403, "NOT_ENOUGH", "运营账户余额不足")
        movement = Movement(
            kind="transfer", no=number, payer=asked.openid, body=body, notify_url=asked.notify_url or ""
        )
        return self._created(self.begin(movement, self._transfer_outcome()))

    def _check_transfer(self, asked: Transfer) -> None:
        fen, told = asked.transfer_amount, {one.info_type for one in asked.transfer_scene_report_infos}
        if asked.appid != self.keys.appid:
            raise Refusal(400, "PARAM_ERROR", "appid")
        if not LEAST_TRANSFER_FEN <= fen <= MOST_TRANSFER_FEN:
            raise Refusal(400, "INVALID_REQUEST", "转账金额超过单笔转账上下限")
        if asked.user_name and fen < NAME_FROM_FEN:
            raise Refusal(400, "INVALID_REQUEST", "转账金额小于0.3元，不支持收款用户姓名校验")
        if not asked.user_name and fen >= NAME_NEEDED_FEN:
            raise Refusal(400, "INVALID_REQUEST", "收款用户姓名必填")
        if not NEEDED_REPORTS.get(asked.transfer_scene_id, set()) <= told:
            raise Refusal(400, "INVALID_REQUEST", "未完整传入场景所需的转账场景报备信息")

    def _transfer_outcome(self) -> Outcome:
        trouble = self.trouble
        if self.happens(trouble.lapses):
            return Outcome("waiting", "failed", trouble.processing_ms, "OVERDUE_CLOSE")
        if self.happens(trouble.processing):
            return Outcome("processing", "waiting", trouble.processing_ms, "OVERDUE_CLOSE")
        return Outcome("waiting", "failed", trouble.lapse_ms, "OVERDUE_CLOSE")

    def _found_transfer(self, no: str) -> sqlite3.Row:
        """As it is now. One that was processed before it waits for its user waits from then on."""
        found = self.books.movement(no)
        if found is None or found["kind"] != "transfer" or now_ms() - found["at_ms"] > self.trouble.blind_ms:
            raise Refusal(404, "NOT_FOUND", "记录不存在")
        if (found["state"], found["ends"]) == ("waiting", "waiting"):
            found = self._change(no, "waiting", "failed", self.trouble.lapse_ms)
        return found

    def _change(self, no: str, state: str, ends: str, wait_ms: int = 0) -> sqlite3.Row:
        self.books.db.execute(
            "UPDATE movements SET state = ?, ends = ?, settles_at = ? WHERE no = ?",
            (state, ends, time.time() + wait_ms / 1000, no),
        )
        found = self.books.movement(no)
        assert found is not None
        return found

    def _created(self, transfer: sqlite3.Row) -> dict[str, Any]:
        said = {
            "out_bill_no": transfer["no"],
            "transfer_bill_no": f"13{transfer['at_ms']:019}",
            "create_time": rfc3339(transfer["at_ms"]),
            "state": TRANSFER_STATES[transfer["state"]],
        }
        return said | (
            {"package_info": f"affffddafdfafddffda=={transfer['no']}"} if transfer["state"] == "waiting" else {}
        )

    def _query_transfer(self, request: web.Request, _: bytes) -> Body:
        return self._transfer_body(self._found_transfer(request.match_info["no"]))

    def _transfer_body(self, transfer: sqlite3.Row) -> dict[str, Any]:
        """Without ``package_info``, and the merchant is called otherwise than elsewhere."""
        body, end = json.loads(transfer["body"]), self.end_of(transfer["no"])
        said = {
            "mch_id": self.keys.mchid,
            "out_bill_no": transfer["no"],
            "transfer_bill_no": f"13{transfer['at_ms']:019}",
            "appid": self.keys.appid,
            "state": TRANSFER_STATES[transfer["state"]],
            "transfer_amount": transfer["amount"],
            "transfer_remark": body["transfer_remark"],
            "openid": transfer["payer"],
            "create_time": rfc3339(transfer["at_ms"]),
            "update_time": rfc3339(end["at_ms"] or transfer["at_ms"]),
        }
        return said | ({"fail_reason": end["reason"]} if transfer["state"] == "failed" else {})

    def _cancel_transfer(self, request: web.Request, _: bytes) -> Body:
        found = self._found_transfer(request.match_info["no"])
        if found["state"] not in ("waiting", "processing", "cancelled"):
            raise Refusal(400, "INVALID_REQUEST", "当前状态不支持撤销")
        if found["state"] != "cancelled":
            found = self._change(found["no"], "cancelled", "cancelled")
        said = {name: self._transfer_body(found)[name] for name in ("out_bill_no", "transfer_bill_no", "update_time")}
        return said | {"state": "CANCELING"}

    async def _confirm(self, request: web.Request) -> web.Response:
        """A user confirms a transfer on WeChat's own page."""
        number = json.loads(await request.read())["out_bill_no"]
        try:
            found = self._found_transfer(number)
        except Refusal:
            return web.Response(body=word("unknown"), status=404)
        if found["state"] != "waiting":
            return web.Response(body=word(found["state"]), status=409)
        self._change(number, "done", "done")
        return web.Response(body=word("confirmed"))

    def end_message_of(self, movement: sqlite3.Row, end: sqlite3.Row) -> Message:
        if movement["kind"] == "refund":
            return super().end_message_of(movement, end)
        body = self._transfer_body(movement)
        names = ("out_bill_no", "transfer_bill_no", "state", "mch_id", "transfer_amount", "openid", "create_time")
        said = {name: body[name] for name in (*names, "update_time", "fail_reason") if name in body}
        return self.notice("MCHTRANSFER.BILL.FINISHED", end["notify_url"], said)
