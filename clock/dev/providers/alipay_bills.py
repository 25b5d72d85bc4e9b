"""The double of Alipay: a day's bill of trades, and of the account. Payers are masked in both."""

import io
import secrets
import time
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from clock.dev.providers.alipay import Action, Content, Refusal
from clock.dev.providers.alipay_money import AlipayMoney
from clock.dev.providers.books import beijing, day_ms, yuan

LINK_SECONDS = 30

TRADES = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,"
    "支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,"
    "退款批次号/请求号,服务费（元）,分润（元）,备注"
)
ACCOUNT = (
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,"
    "收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注"
)
LINE = "-" * 40


class AlipayDouble(AlipayMoney):
    def methods(self) -> dict[str, Action]:
        return super().methods() | {"alipay.data.dataservice.bill.downloadurl.query": self._bill}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        super().add_routes(router)
        router.add_get("/bill", self._download)
        self._links: dict[str, tuple[float, bytes]] = {}
        self._own_url = ""

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        self._own_url = str(request.url.origin())
        return await super()._gateway(request)

    def _bill(self, content: Content, _: Mapping[str, str]) -> dict[str, Any]:
        if self.happens(self.trouble.bill_missing):
            raise Refusal("isp.bill_not_exist")
        try:
            first_ms = day_ms(content["bill_date"])
        except ValueError:
            raise Refusal("isv.invalid-arguments") from None
        match content["bill_type"]:
            case "trade":
                raw = self._trades(content["bill_date"], first_ms)
            case "signcustomer":
                raw = self._account(content["bill_date"], first_ms)
            case _:
                raise Refusal("isv.invalid-arguments")
        token = secrets.token_hex(16)
        self._links[token] = time.monotonic() + LINK_SECONDS, raw
        return {"bill_download_url": f"{self._own_url}/bill?token={token}&fileType=csv.zip"}

    def _trades(self, day: str, first_ms: int) -> bytes:
        lines: list[list[str]] = []
        paid = self.books.paid_on(first_ms)
        for row in paid:
            lines.append(self._trade(row, "交易", beijing(row["at_ms"]), row["amount"], ""))
        back = [row for row in self.books.moved_on(first_ms) if row["kind"] == "refund" and row["state"] == "done"]
        for row in back:
            trade = self.books.payment(self.end_of(row["no"])["transaction_id"])
            lines.append(self._trade(trade, "退款", beijing(row["at_ms"]), -row["amount"], row["no"]))
        came, went = yuan(sum(row["amount"] for row in paid)), yuan(-sum(row["amount"] for row in back))
        ends = [
            f"#交易合计：{len(paid)}笔，商家实收共{came}元，商家优惠共0.00元",
            f"#退款合计：{len(back)}笔，商家实收退款共{went}元，商家优惠退款共0.00元",
        ]
        return self._file("业务明细", day, TRADES, lines, ends)

    def _trade(self, paid: Any, kind: str, at: str, fen: int, request_no: str) -> list[str]:
        amount, nothing = yuan(fen), "0.00"
        return [
            *(f"{paid['transaction_id']}\t", f"{paid['order_no']}\t", kind, "早起打卡", beijing(paid["at_ms"]), at),
            *("", "", "", "", "*明(159****5620)", amount, amount, nothing, nothing, nothing, nothing, nothing, ""),
            *(nothing, nothing, f"{request_no}\t" if request_no else "", nothing, nothing, ""),
        ]

    def _account(self, day: str, first_ms: int) -> bytes:
        came = [(row["order_no"], "在线支付", row["amount"], row) for row in self.books.paid_on(first_ms)]
        went = [
            (row["no"], "转账", -row["amount"], row)
            if row["kind"] == "transfer"
            else (row["order_no"], "交易退款", -row["amount"], row)
            for row in self.books.moved_on(first_ms)
            if row["state"] == "done"
        ]
        lines = [
            [
                *(f"{number:020}\t", f"2026{row['at_ms']:024}\t", f"{name}\t", "早起打卡", beijing(row["at_ms"])),
                *("*明(159****5620)", yuan(max(fen, 0)), yuan(min(fen, 0)), "0.00", "支付宝", kind, ""),
            ]
            for number, (name, kind, fen, row) in enumerate([*came, *went])
        ]
        ends = [
            f"#支出合计：{len(went)}笔，共{yuan(sum(fen for _, _, fen, _ in went))}元",
            f"#收入合计：{len(came)}笔，共{yuan(sum(fen for _, _, fen, _ in came))}元",
        ]
        return self._file("账务明细", day, ACCOUNT, lines, ends)

    def _file(self, kind: str, day: str, head: str, lines: list[list[str]], ends: Sequence[str]) -> bytes:
        """A zip of two files, names and texts in GBK: the lines, and a summary."""
        begins = [
            f"#支付宝{kind}查询",
            f"#账号：[{self.keys.seller_id}0156]",
            f"#起始日期：[{day} 00:00:00]   终止日期：[{day} 24:00:00]",
            f"#{LINE}{kind}列表{LINE}",
        ]
        rows = [*begins, head, *(",".join(values) for values in lines), f"#{LINE}{kind}列表结束{LINE}", *ends]
        name = f"{self.keys.seller_id}0156_{day.replace('-', '')}_{kind}"
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_Gbk(f"{name}(汇总).csv"), f"#支付宝{kind}汇总查询\r\n".encode("gbk"))
            archive.writestr(_Gbk(f"{name}.csv"), "".join(f"{row}\r\n" for row in rows).encode("gbk"))
        return file.getvalue()

    async def _download(self, request: web.Request) -> web.Response:
        until, raw = self._links.get(request.query.get("token", ""), (0.0, b""))
        if until < time.monotonic():
            return web.Response(status=404, text="链接已失效")
        return web.Response(body=raw, content_type="application/zip")


class _Gbk(zipfile.ZipInfo):
    """With its name in GBK, and without the flag that says UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("gbk"), self.flag_bits
