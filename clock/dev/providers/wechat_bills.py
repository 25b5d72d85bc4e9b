"""The double of WeChat Pay: a day's bill of trades, and of the flow of funds."""

import gzip
import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web

from clock.dev.providers.books import beijing, day_ms, yuan
from clock.dev.providers.wechat import Body, Refusal
from clock.dev.providers.wechat_money import WechatTransfers
from clock.dev.providers.wechat_seal import NotSigned

LINK_SECONDS = 300

TRADES = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,"
    "代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
TRADE_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
FUNDS = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,"
    "收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号"
)
FUND_TOTALS = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"

BILLED_REFUNDS = {"done": "SUCCESS", "processing": "PROCESSING", "abnormal": "CHANGE", "failed": "FAIL"}
"""A bill has other words for a refund's state than the API."""


class WechatDouble(WechatTransfers):
    def add_routes(self, router: web.UrlDispatcher) -> None:
        super().add_routes(router)
        router.add_get("/v3/bill/tradebill", self.signed(self._trade_bill))
        router.add_get("/v3/bill/fundflowbill", self.signed(self._fund_bill))
        router.add_get("/v3/billdownload/file", self._download)
        self._links: dict[str, tuple[float, bytes]] = {}

    def _trade_bill(self, request: web.Request, _: bytes) -> Body:
        first_ms = self._day_of(request)
        if request.query.get("bill_type", "ALL") != "ALL":
            raise Refusal(400, "PARAM_ERROR", "bill_type")
        payments, moved = self.books.paid_on(first_ms), self.books.moved_on(first_ms)
        refunds = [row for row in moved if row["kind"] == "refund"]
        if not payments and not refunds:
            raise Refusal(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        lines = [self._trade(row, None) for row in payments]
        lines += [self._trade(self._paid(row), row) for row in refunds]
        paid = yuan(sum(row["amount"] for row in payments))
        back = yuan(sum(row["amount"] for row in refunds if row["state"] != "failed"))
        asked = yuan(sum(row["amount"] for row in refunds))
        totals = [str(len(lines)), paid, back, "0.00", "0.00", paid, asked]
        return self._offer(request, TRADES, lines, TRADE_TOTALS, totals)

    def _paid(self, refund: Any) -> Any:
        return self.books.payment(self.end_of(refund["no"])["transaction_id"])

    def _trade(self, paid: Any, refund: Any) -> list[str]:
        """A refund's line has the time at which it was accepted."""
        order = self.order(paid["order_no"])
        how = {"h5": "MWEB"}.get(order["how"], order["how"].upper()) if order is not None else "JSAPI"
        back = ["0", "0", "0.00", "0.00", "", ""]
        if refund is not None:
            fen = yuan(refund["amount"] if refund["state"] != "failed" else 0)
            back = [f"50{refund['at_ms']:019}", refund["no"], fen, "0.00", "ORIGINAL", BILLED_REFUNDS[refund["state"]]]
        whole = "0.00" if refund is not None else yuan(paid["amount"])
        return [
            beijing((refund if refund is not None else paid)["at_ms"]),
            *(self.keys.appid, self.keys.mchid, "0", "", paid["transaction_id"], paid["order_no"], paid["payer"]),
            *(how, "REFUND" if refund is not None else "SUCCESS", "OTHERS", "CNY", whole, "0.00"),
            *back,
            *("早起打卡", "", "0.00000", "0.60%", whole, yuan(refund["amount"]) if refund is not None else "0.00", ""),
        ]

    def _fund_bill(self, request: web.Request, _: bytes) -> Body:
        first_ms = self._day_of(request)
        account = request.query.get("account_type", "BASIC")
        moved = [row for row in self.books.moved_on(first_ms) if row["state"] == "done"]
        if account == "OPERATION":
            flows = [("转账", "支出", row["no"], row) for row in moved if row["kind"] == "transfer"]
        elif account == "BASIC":
            payments = self.books.paid_on(first_ms)
            flows = [("交易", "收入", row["order_no"], row) for row in payments]
            flows += [("退款", "支出", row["no"], row) for row in moved if row["kind"] == "refund"]
        else:
            raise Refusal(400, "PARAM_ERROR", "account_type")
        if not flows:
            raise Refusal(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        lines, totals = [], {"收入": [0, 0], "支出": [0, 0]}
        for number, (name, way, voucher, row) in enumerate(flows):
            business = f"13{row['at_ms']:019}"
            ways = [name, "商家转账" if name == "转账" else name, way, yuan(row["amount"])]
            lines.append([beijing(row["at_ms"]), business, f"{number:019}", *ways, "0.00", "system", "", voucher])
            totals[way][0] += 1
            totals[way][1] += row["amount"]
        sums = [text for count, fen in totals.values() for text in (str(count), yuan(fen))]
        return self._offer(request, FUNDS, lines, FUND_TOTALS, [str(len(lines)), *sums])

    def _day_of(self, request: web.Request) -> int:
        if self.happens(self.trouble.bill_missing):
            raise Refusal(400, "STATEMENT_CREATING", "账单生成中")
        if request.query.get("tar_type", "GZIP") != "GZIP":
            raise Refusal(400, "PARAM_ERROR", "tar_type")
        try:
            return day_ms(request.query["bill_date"])
        except (KeyError, ValueError):
            raise Refusal(400, "PARAM_ERROR", "bill_date") from None

    def _offer(
        self, request: web.Request, head: str, lines: Iterable[Sequence[str]], last: str, totals: Sequence[str]
    ) -> Body:
        """A link to the file: UTF-8 with a byte order mark, every value behind a backtick."""
        rows = [head, *(_line(values) for values in lines), last, _line(totals)]
        raw = "".join(f"{row}\r\n" for row in rows).encode("utf-8-sig")
        token = secrets.token_hex(16)
        self._links[token] = time.monotonic() + LINK_SECONDS, raw
        url = f"{request.url.origin()}/v3/billdownload/file?token={token}&tartype=gzip"
        return {"hash_type": "SHA1", "hash_value": hashlib.sha1(raw).hexdigest(), "download_url": url}  # noqa: S324

    async def _download(self, request: web.Request) -> web.Response:
        """Wants the merchant's signature, and has none itself."""
        try:
            self.codec.check(request.method, request.raw_path, b"", request.headers)
        except NotSigned as error:
            return web.json_response({"code": "SIGN_ERROR", "message": str(error)}, status=401)
        until, raw = self._links.get(request.query.get("token", ""), (0.0, b""))
        if until < time.monotonic():
            return web.json_response({"code": "NO_STATEMENT_EXIST", "message": "链接已失效"}, status=400)
        return web.Response(body=gzip.compress(raw), content_type="application/x-gzip")


def _line(values: Sequence[str]) -> str:
    return ",".join(f"`{value}" for value in values)
