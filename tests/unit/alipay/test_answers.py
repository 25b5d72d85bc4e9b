"""Every answer of the table, driven through a signed reply of a double, and everything that cannot be verified."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from clock.channels import PayRefused, Purchase, Silent, TooManyCalls
from clock.channels.alipay import Alipay
from clock.channels.alipay.answers import ANSWERS, METHODS, Call, Row
from tests.unit.alipay.stage import ORDER, TRADE, Double, channel, reply, settings

PAPER = Path(__file__).parents[3] / "docs" / "alipay.md"

NUMBERS = {"out_trade_no": ORDER, "trade_no": TRADE, "out_request_no": "R1", "out_biz_no": "P1"}

PURCHASE = Purchase(ORDER, 100, "open-1", 1_795_795_200_000, "jsapi")


async def pay(alipay: Alipay) -> str:
    try:
        assert await alipay.pay(PURCHASE) == {"how": "jsapi", "trade_no": TRADE}
    except PayRefused:
        return "refused"
    except TooManyCalls:
        return "too_many"
    except Silent:
        return "silent"
    return "ok"


async def query(alipay: Alipay) -> str:
    return (await alipay.query_order(ORDER)).state


async def close(alipay: Alipay) -> str:
    return (await alipay.close_order(ORDER)).state


async def refund(alipay: Alipay) -> str:
    return (await alipay.refund("R1", ORDER, TRADE, 40, 100)).state


async def query_refund(alipay: Alipay) -> str:
    return (await alipay.query_refund("R1", ORDER)).state


async def transfer(alipay: Alipay) -> str:
    return (await alipay.transfer("P1", "open-1", 123)).state


async def query_transfer(alipay: Alipay) -> str:
    return (await alipay.query_transfer("P1")).state


ASK: dict[Call, Callable[[Alipay], Awaitable[str]]] = {
    "pay": pay,
    "query": query,
    "close": close,
    "refund": refund,
    "query_refund": query_refund,
    "transfer": transfer,
    "query_transfer": query_transfer,
}

UNKNOWN = {"pay": "silent"}
"""What is said where nothing is known; of all other calls ``unknown``."""

IDS = [f"{row.call} {' '.join(row.says.values()) or 'anything else'}" for row in ANSWERS]


def fields_of(row: Row) -> dict[str, str]:
    """A reply that the row describes."""
    says = {name: value.replace("*", "SOMETHING") for name, value in row.says.items() if value}
    if row.says.get("trade_no"):
        says["trade_no"] = TRADE
    unheard_of = {"code": "50000"} if row.call in ("pay", "close") else {"code": "40004", "sub_code": "ACQ.UNHEARD_OF"}
    return {"msg": "…", **(NUMBERS | says if says else unheard_of)}


@pytest.mark.parametrize("row", ANSWERS, ids=IDS)
async def test_an_answer_means_what_its_row_says(row: Row, alipay: Alipay, gateway: Double) -> None:
    gateway.answers(METHODS[row.call], fields_of(row))
    if row.state == "ask":
        gateway.answers(METHODS["query"], {"code": "10000", "trade_status": "TRADE_SUCCESS", **NUMBERS})
        assert await ASK[row.call](alipay) == "paid"
        assert gateway.asked == [METHODS[row.call], METHODS["query"]]
    else:
        assert await ASK[row.call](alipay) == row.state
        assert gateway.asked == [METHODS[row.call]]


def test_the_first_row_that_fits_counts_so_each_has_its_place() -> None:
    """A row behind one that fits all of its replies would never be found."""
    for number, row in enumerate(ANSWERS):
        before = [other for other in ANSWERS[:number] if other.call == row.call]
        assert not any(other.says.items() <= row.says.items() for other in before), row
    assert {row.call for row in ANSWERS if not row.says} == set(METHODS)


@pytest.mark.parametrize("call", METHODS)
@pytest.mark.parametrize("code", ["20000", "ACQ.SYSTEM_ERROR"])
async def test_a_gateway_in_trouble_has_said_nothing(code: str, call: Call, alipay: Alipay, gateway: Double) -> None:
    says = {"code": "40004", "sub_code": code} if "." in code else {"code": code, "sub_code": "isp.unknow-error"}
    gateway.answers(METHODS[call], says)
    gateway.answers(METHODS["query"], says)
    assert await ASK[call](alipay) == UNKNOWN.get(call, "unknown")


GOOD: dict[Call, dict[str, str]] = {
    row.call: {"code": "10000", **fields_of(row)}
    for row in reversed(ANSWERS)
    if row.state in ("ok", "paid", "closed", "done", "failed")
}


def unsigned(method: str, fields: Mapping[str, str]) -> bytes:
    return reply(method, fields, signer="")


def by_ourselves(method: str, fields: Mapping[str, str]) -> bytes:
    return reply(method, fields, signer="app")


def changed_behind(method: str, fields: Mapping[str, str]) -> bytes:
    return reply(method, fields).replace(b'"msg": ', b'"msg":')


def of_another_call(method: str, fields: Mapping[str, str]) -> bytes:
    return reply("alipay.some.thing", fields)


def of_another_number(method: str, fields: Mapping[str, str]) -> bytes:
    return reply(method, {name: f"{value}9" if name in NUMBERS else value for name, value in fields.items()})


def cut(method: str, fields: Mapping[str, str]) -> bytes:
    return reply(method, fields)[:-1]


def twice(method: str, fields: Mapping[str, str]) -> bytes:
    node = f'"{method.replace(".", "_")}_response":{json.dumps({"code": "10000"})},'
    return b"{" + node.encode() + reply(method, fields)[1:]


def error_node(method: str, fields: Mapping[str, str]) -> bytes:
    return b'{"error_response":{"code":"40002","sub_code":"isv.invalid-app-id"}}'


def a_page(method: str, fields: Mapping[str, str]) -> bytes:
    return b"<html>503</html>"


def no_object(method: str, fields: Mapping[str, str]) -> bytes:
    return b"[" * 100_000


UNVERIFIED = [
    *(unsigned, by_ourselves, changed_behind, of_another_call, of_another_number, cut, twice),
    *(error_node, a_page, no_object),
]


@pytest.mark.parametrize("call", METHODS)
@pytest.mark.parametrize("spoilt", UNVERIFIED)
async def test_what_cannot_be_verified_is_unknown(
    spoilt: Callable[[str, Mapping[str, str]], bytes], call: Call, alipay: Alipay, gateway: Double
) -> None:
    """Never done and never failed, whatever it says."""
    gateway.says[METHODS[call]] = reply(METHODS[call], GOOD[call])
    assert await ASK[call](alipay) != UNKNOWN.get(call, "unknown")
    gateway.says[METHODS[call]] = spoilt(METHODS[call], GOOD[call])
    assert await ASK[call](alipay) == UNKNOWN.get(call, "unknown")


@pytest.mark.parametrize("call", METHODS)
async def test_another_status_is_unknown_and_a_closed_port_was_not_reached(
    call: Call, alipay: Alipay, gateway: Double
) -> None:
    gateway.answers(METHODS[call], GOOD[call])
    gateway.status = 502
    assert await ASK[call](alipay) == UNKNOWN.get(call, "unknown")
    assert alipay.silent_seconds() > 0
    away = channel(settings(alipay_url="http://127.0.0.1:9/gateway.do"))
    assert await ASK[call](away) == ("again" if call in MONEY else UNKNOWN.get(call, "unknown"))
    await away.close()


MONEY = ("refund", "query_refund", "transfer", "query_transfer")


@pytest.mark.parametrize("call", METHODS)
async def test_a_limit_that_is_used_up_sends_nothing(call: Call, gateway: Double) -> None:
    waited: list[tuple[str, float]] = []

    async def wait(endpoint: str, per_second: float) -> None:
        waited.append((endpoint, per_second))
        raise TooManyCalls(endpoint)

    limited = Alipay(settings(alipay_url=gateway.url), wait)
    want = "again" if call in MONEY else {"pay": "too_many"}.get(call, "unknown")
    assert await ASK[call](limited) == want
    assert waited == [(METHODS[call], 100.0)]
    assert gateway.forms == []
    await limited.close()


async def test_a_paid_order_without_its_number_says_too_little(alipay: Alipay, gateway: Double) -> None:
    gateway.answers(METHODS["query"], {"code": "10000", "trade_status": "TRADE_SUCCESS", "trade_no": TRADE})
    asked = await alipay.query_order(ORDER)
    assert asked.state == "paid"
    assert asked.payment is None


async def test_a_refusal_of_our_settings_is_never_a_failure_and_is_logged(alipay: Alipay, gateway: Double) -> None:
    gateway.answers(METHODS["transfer"], {"code": "40006", "sub_code": "isv.insufficient-isv-permissions"})
    with capture_logs() as logged:
        assert (await alipay.transfer("P1", "open-1", 123)).state == "again"
    assert "alipay_refuses" in [line["event"] for line in logged]


def test_the_paper_has_the_table() -> None:
    listed = re.findall(r"^\| `(\w+)` \| (.+?) \| `(\w+)` \| (.*?) ?\|$", PAPER.read_text("utf-8"), re.MULTILINE)
    says = [", ".join(f"`{name}={value}`" for name, value in row.says.items()) or "anything else" for row in ANSWERS]
    assert listed == [(row.call, said, row.state, row.why) for row, said in zip(ANSWERS, says, strict=True)]
