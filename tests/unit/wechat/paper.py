"""Bills as WeChat Pay writes them; the headings are those of real ones."""

from collections.abc import Sequence

BOM = b"\xef\xbb\xbf"

TRADE_HEAD = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,"
    "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
TRADE_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"

FUNDS_HEAD = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,"
    "业务凭证号"
)
FUNDS_TOTALS = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"


def line(values: Sequence[str]) -> str:
    return ",".join(f"`{value}" for value in values)


def text(*lines: str) -> bytes:
    return BOM + "".join(f"{one}\r\n" for one in lines).encode()


def payment(number: str, order: str, yuan: str, payer: str = "oUpF8", at: str = "2026-11-26 07:00:00") -> list[str]:
    head = [at, "wx0123456789abcdef", "1900001234", "0", "", number, order, payer, "JSAPI", "SUCCESS", "OTHERS", "CNY"]
    return [
        *head,
        yuan,
        "0.00",
        "0",
        "0",
        "0.00",
        "0.00",
        "",
        "",
        "早起打卡押金",
        "",
        "0.01000",
        "0.60%",
        yuan,
        "0.00",
        "",
    ]


def refund(number: str, order: str, yuan: str, state: str = "SUCCESS", at: str = "2026-11-26 08:00:00") -> list[str]:
    head = [at, "wx0123456789abcdef", "1900001234", "0", "", "42", order, "oUpF8", "JSAPI", "REFUND", "OTHERS", "CNY"]
    money = ["0.00", "0.00", "50000", number, yuan, "0.00", "ORIGINAL", state, "早起打卡押金", "", "-0.01000", "0.60%"]
    return [*head, *money, "0.00", yuan, ""]


def trades(rows: Sequence[Sequence[str]], paid: str, returned: str, count: str = "") -> bytes:
    totals = [count or f"{len(rows)}.0", paid, returned, "0.0", "0.0", paid, returned]
    return text(TRADE_HEAD, *map(line, rows), TRADE_TOTALS, line(totals))


def movement(number: str, yuan: str, way: str = "支出", at: str = "2026-11-26 09:00:00") -> list[str]:
    return [at, "1330000", "1330001", "商家转账", "商家转账", way, yuan, "900.00", "SYSTEM", "", number]


def funds(rows: Sequence[Sequence[str]], received: str, spent: str) -> bytes:
    ways = [row[5] for row in rows]
    totals = [str(len(rows)), str(ways.count("收入")), received, str(ways.count("支出")), spent]
    return text(FUNDS_HEAD, *map(line, rows), FUNDS_TOTALS, line(totals))
