"""The double of Alipay: refunds and transfers."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from clock.dev.providers.alipay import Action, AlipayTrades, Content, Refusal, fen_of
from clock.dev.providers.books import beijing, yuan
from clock.dev.providers.double import Message
from clock.dev.providers.foreign import DONE, Movement, Outcome

LEAST_FEN = {"TRANS_ACCOUNT_NO_PWD": 10, "STD_RED_PACKET": 1}
IDENTITIES = ("ALIPAY_USER_ID", "ALIPAY_OPEN_ID", "ALIPAY_LOGON_ID")
STATES = {"done": "SUCCESS", "processing": "DEALING", "failed": "FAIL"}


class AlipayMoney(AlipayTrades):
    def methods(self) -> dict[str, Action]:
        return super().methods() | {
            "alipay.trade.refund": self._refund,
            "alipay.trade.fastpay.refund.query": self._query_refund,
            "alipay.fund.trans.uni.transfer": self._transfer,
            "alipay.fund.trans.common.query": self._query_transfer,
        }

    # -- refunds

    def _refund(self, content: Content, _: Mapping[str, str]) -> dict[str, Any]:
        """Synchronous. ``fund_change`` says whether *this* call moved money: a repeated one did not."""
        paid, number = self.trade(content), content["out_request_no"]
        if paid is None:
            self.made(content)
            raise Refusal("ACQ.TRADE_STATUS_ERROR")
        body = {"amount": fen_of(content["refund_amount"])}
        known = self.books.movement(number)
        if known is not None and not self.was_asked(known, body):
            raise Refusal("ACQ.DISCORDANT_REPEAT_REQUEST")
        moved = False
        if known is None:
            left = paid["amount"] - self.books.refunded(paid["transaction_id"])
            if not left:
                raise Refusal("ACQ.TRADE_HAS_FINISHED")
            if not 0 < body["amount"] <= left:
                raise Refusal("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL")
            if self.happens(self.trouble.not_enough):
                raise Refusal("ACQ.SELLER_BALANCE_NOT_ENOUGH")
            order = self.order(paid["order_no"])
            url = order["notify_url"] if order is not None else ""
            wait_ms = self.trouble.processing_ms
            outcome = Outcome("processing", "done", wait_ms) if self.happens(self.trouble.fund_change_n) else DONE
            known = self.begin(
                Movement(kind="refund", no=number, payer=paid["payer"], body=body, notify_url=url, paid=paid), outcome
            )
            moved = known["state"] == "done"
        return {
            **{name: value for name, value in self.described(paid).items() if name.startswith(("out_", "trade_no"))},
            "fund_change": "Y" if moved else "N",
            "refund_fee": yuan(self.books.refunded(paid["transaction_id"])),
            "gmt_refund_pay": beijing(known["at_ms"]),
        }

    def _query_refund(self, content: Content, _: Mapping[str, str]) -> dict[str, Any]:
        """Without ``refund_status`` it has not arrived, or failed."""
        self.made(content)
        found = self.books.movement(content["out_request_no"])
        if found is None or found["kind"] != "refund" or found["state"] != "done":
            return {}
        paid = self.books.payment(self.end_of(found["no"])["transaction_id"])
        assert paid is not None
        return {
            "out_trade_no": found["order_no"],
            "trade_no": paid["transaction_id"],
            "out_request_no": found["no"],
            "refund_amount": yuan(found["amount"]),
            "total_amount": yuan(paid["amount"]),
            "refund_status": "REFUND_SUCCESS",
        }

    def end_message_of(self, movement: sqlite3.Row, end: sqlite3.Row) -> Message:
        """To the URL of the trade: it has succeeded once more, or it is closed."""
        paid = self.books.payment(end["transaction_id"])
        assert paid is not None
        back = self.books.refunded(paid["transaction_id"])
        return self.said_of(
            paid,
            trade_status="TRADE_CLOSED" if back == paid["amount"] else "TRADE_SUCCESS",
            refund_fee=yuan(back),
            gmt_refund=f"{beijing(movement['at_ms'])}.{movement['at_ms'] % 1000:03}",
            out_biz_no=movement["no"],
        )

    # -- transfers

    def _transfer(self, content: Content, _: Mapping[str, str]) -> dict[str, Any]:
        number, product, payee = content["out_biz_no"], content["product_code"], content["payee_info"]
        fen = fen_of(content["trans_amount"])
        red = product == "STD_RED_PACKET"
        if content["biz_scene"] != "DIRECT_TRANSFER" or product not in LEAST_FEN or not content["order_title"]:
            raise Refusal("INVALID_PARAMETER")
        if payee["identity_type"] not in IDENTITIES or (
            payee["identity_type"] == IDENTITIES[2] and not payee.get("name")
        ):
            raise Refusal("INVALID_PARAMETER")
        if red and json.loads(content["business_params"]).get("sub_biz_scene") != "REDPACKET":
            raise Refusal("INVALID_PARAMETER")
        body = {**content, "amount": fen}
        known = self.books.movement(number)
        if known is None:
            if fen < LEAST_FEN[product]:
                raise Refusal("EXCEED_LIMIT_SM_MIN_AMOUNT")
            if self.happens(self.trouble.not_enough):
                raise Refusal("PAYER_BALANCE_NOT_ENOUGH")
            movement = Movement(kind="transfer", no=number, payer=payee["identity"], body=body, notify_url="")
            known = self.begin(movement, self._transfer_outcome())
        elif known["kind"] != "transfer" or not self.was_asked(known, body):
            raise Refusal("INVALID_PARAMETER")
        return self._described(known) | {"trans_date": beijing(known["at_ms"])}

    def _transfer_outcome(self) -> Outcome:
        trouble = self.trouble
        if self.happens(trouble.lapses):
            return Outcome("processing", "failed", trouble.processing_ms, "PAYEE_ACCOUNT_STATUS_ERROR")
        return Outcome("processing", "done", trouble.processing_ms) if self.happens(trouble.processing) else DONE

    def _described(self, transfer: sqlite3.Row) -> dict[str, Any]:
        number = f"2026{transfer['at_ms']:024}"
        names = {"out_biz_no": transfer["no"], "order_id": number, "pay_fund_order_id": number}
        return names | {"status": STATES[transfer["state"]]}

    def _query_transfer(self, content: Content, _: Mapping[str, str]) -> dict[str, Any]:
        found = self.books.movement(content["out_biz_no"])
        if found is None or found["kind"] != "transfer":
            raise Refusal("ORDER_NOT_EXIST")
        said = self._described(found) | {"trans_amount": yuan(found["amount"])}
        if found["state"] == "failed":
            reason = self.end_of(found["no"])["reason"]
            return said | {"error_code": reason, "fail_reason": "收款账号状态异常"}
        return said | ({"pay_date": beijing(found["at_ms"])} if found["state"] == "done" else {})
