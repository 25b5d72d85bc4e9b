"""Notifications: what is believed, what is refused, and that a refund's is never a payment."""

import json
from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
from cryptography import x509

from clock.channels import TAKEN, BadSignature, Ended, Payment, Reply, Unreadable, rsa
from clock.channels.alipay import Alipay
from clock.channels.alipay.keys import serial
from clock.channels.alipay.signing import signed_content
from clock.domain.outcomes import OUTCOMES
from clock.domain.rounds import instant_ms, parse_day
from tests.unit.alipay.stage import (
    APP_ID,
    ORDER,
    TRADE,
    USER,
    Double,
    certificate,
    certified,
    channel,
    key,
    notification,
    posted,
    signed,
)

PAID_AT_MS = instant_ms(parse_day("2026-11-27"), "10:00", "Asia/Shanghai") + 1_000

Change = Callable[[], bytes]


def good(**changes: str | None) -> bytes:
    return posted(signed(notification(**changes)))


def changed(name: str, value: str) -> bytes:
    """After it was signed."""
    return posted({**signed(notification()), name: value})


def test_a_payment_is_read() -> None:
    raw = good()
    paid = channel().read(raw, {})
    assert paid == Payment(ORDER, 100, TRADE, USER, PAID_AT_MS, raw)
    assert channel().parse(raw) == paid


def without(*names: str) -> bytes:
    fields = signed(notification())
    return posted({name: value for name, value in fields.items() if name not in names})


def re_encoded() -> bytes:
    return urlencode({name: quote(value) for name, value in signed(notification()).items()}).encode()


def in_another_charset() -> bytes:
    return urlencode({name: value.encode("gbk") for name, value in signed(notification()).items()}).encode()


def too_many() -> bytes:
    """In the order in which they are signed, so that a rest that is not taken apart would not be missed."""
    fields = signed(notification(**{f"z{number:03}": "1" for number in range(300)}))
    return posted({name: fields[name] for name in ("sign", "sign_type", *sorted(fields))})


REFUSED: dict[str, Change] = {
    "forged: not signed": lambda: posted(notification()),
    "forged: an empty signature": lambda: changed("sign", ""),
    "forged: no Base64": lambda: changed("sign", "not a signature"),
    "signed by our own key": lambda: posted(signed(notification(), "app")),
    "signed by a stranger": lambda: posted(signed(notification(), "stranger")),
    "another amount": lambda: changed("total_amount", "100.00"),
    "another order": lambda: changed("out_trade_no", ORDER[:-1] + "8"),
    "another buyer": lambda: changed("buyer_id", USER[:-1] + "8"),
    "another status": lambda: changed("trade_status", "TRADE_FINISHED"),
    "a parameter more": lambda: changed("buyer_open_id", "open-2"),
    "an empty parameter more": lambda: changed("body", ""),
    "a parameter twice": lambda: good() + b"&total_amount=1.00",
    "a parameter twice, the other first": lambda: b"total_amount=100.00&" + good(),
    "a parameter less": lambda: without("buyer_logon_id"),
    "encoded twice": re_encoded,
    "re-encoded in another charset": in_another_charset,
    "a plus that became a blank": lambda: good(body="a+b").replace(b"a%2Bb", b"a+b"),
    "cut": lambda: good()[:-40],
    "cut in the middle": lambda: good()[: len(good()) // 2],
    "nothing": lambda: b"",
    "JSON instead of a form": lambda: json.dumps(signed(notification())).encode(),
    "too many parameters": too_many,
    "the certificate of somebody": lambda: posted(signed(notification(alipay_cert_sn="0" * 32))),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_what_is_not_as_it_was_signed_is_refused(change: Change) -> None:
    with pytest.raises(BadSignature):
        channel().read(change(), {})


OF_OTHERS = {
    "of another application": {"app_id": APP_ID[:-1] + "2"},
    "of no application": {"app_id": None},
    "of another seller": {"seller_id": USER},
    "of no seller": {"seller_id": None},
}


@pytest.mark.parametrize("change", OF_OTHERS.values(), ids=OF_OTHERS)
def test_what_is_signed_for_others_is_kept_and_not_believed(change: dict[str, str | None]) -> None:
    raw = good(**change)
    with pytest.raises(Unreadable) as caught:
        channel().read(raw, {})
    assert caught.value.kept == raw
    with pytest.raises(Unreadable):
        channel().parse(raw)


def test_what_is_signed_in_another_charset_is_kept() -> None:
    fields = {name.encode(): value.encode("gbk") for name, value in notification(charset="gbk").items()}
    text = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields.items()}
    raw = urlencode(signed_latin_1(text), encoding="latin-1").encode()
    with pytest.raises(Unreadable):
        channel().read(raw, {})


def signed_latin_1(text: dict[str, str]) -> dict[str, str]:
    """The signature is over the bytes, of whatever charset."""
    content = signed_content((name.encode("latin-1"), value.encode("latin-1")) for name, value in text.items())
    return {**text, "sign": rsa.sign(key("alipay"), content), "sign_type": "RSA2"}


REFUNDS: dict[str, dict[str, str | None]] = {
    "of a part": {"refund_fee": "0.40", "gmt_refund": "2026-11-27 11:00:00.123", "out_biz_no": "R1"},
    "of all": {"trade_status": "TRADE_CLOSED", "refund_fee": "1.00", "gmt_refund": "2026-11-27 11:00:00"},
    "after the time for refunds": {"trade_status": "TRADE_FINISHED", "refund_fee": "1.00"},
    "of an amount that cannot be read": {"refund_fee": "a part"},
    "without an amount": {"gmt_refund": "2026-11-27 11:00:00"},
    "by the name of the request": {"refund_fee": "0.40", "out_request_no": "R1"},
}


@pytest.mark.parametrize("change", REFUNDS.values(), ids=REFUNDS)
def test_a_refunds_notice_is_never_a_payment_also_if_it_is_the_first_that_comes(
    change: dict[str, str | None],
) -> None:
    """It only brings the question about the refund forward; the payment comes by its own notice, or by a question."""
    raw = good(**change)
    notice = channel().read(raw, {})
    assert notice == (Ended("R1") if "R1" in change.values() else None)
    with pytest.raises(Unreadable):
        channel().parse(raw)


@pytest.mark.parametrize("fee", ["", "0.00", "0"])
def test_nothing_refunded_is_no_refund(fee: str) -> None:
    assert isinstance(channel().read(good(refund_fee=fee), {}), Payment)


@pytest.mark.parametrize("status", ["WAIT_BUYER_PAY", "TRADE_CLOSED", "SOMETHING", None])
def test_other_news_of_a_trade_are_nothing(status: str | None) -> None:
    assert channel().read(good(trade_status=status), {}) is None


def test_a_trade_that_is_finished_was_paid() -> None:
    assert isinstance(channel().read(good(trade_status="TRADE_FINISHED"), {}), Payment)


def transfer_message(content: str) -> bytes:
    fields = {
        "app_id": APP_ID,
        "charset": "utf-8",
        "version": "1.1",
        "notify_id": "2026112700262100002000000000000001",
        "utc_timestamp": "1795795200000",
        "msg_method": "alipay.fund.trans.order.changed",
        "biz_content": content,
    }
    return posted(signed(fields))


def test_a_transfers_message_names_no_seller_and_brings_its_question_forward() -> None:
    assert channel().read(transfer_message('{"out_biz_no":"P1","status":"SUCCESS"}'), {}) == Ended("P1")
    assert channel().read(transfer_message('{"status":"SUCCESS"}'), {}) is None
    with pytest.raises(Unreadable):
        channel().read(transfer_message("no JSON"), {})


@pytest.mark.parametrize(
    ("change", "buyer"),
    [
        ({"buyer_open_id": "open-1", "buyer_id": None}, "open-1"),
        ({"buyer_open_id": "open-1"}, "open-1"),
        ({"buyer_open_id": "open-1", "passback_params": "buyer_id"}, USER),
        ({"buyer_open_id": "open-1", "buyer_id": None, "passback_params": "buyer_id"}, "open-1"),
        ({"buyer_id": None}, ""),
    ],
)
def test_the_buyer_is_named_as_the_order_names_them(change: dict[str, str | None], buyer: str) -> None:
    paid = channel().read(good(**change), {})
    assert isinstance(paid, Payment)
    assert paid.buyer == buyer


@pytest.mark.parametrize(
    ("text", "amount_fen"),
    [("1.00", 100), ("0.01", 1), ("1.5", 150), ("88", 8_800), ("1.005", None), ("1e2", None), ("", None), ("１", None)],
)
def test_an_amount_is_read_in_integers_or_not_at_all(text: str, amount_fen: int | None) -> None:
    paid = channel().read(good(total_amount=text), {})
    assert isinstance(paid, Payment)
    assert paid.amount_fen == amount_fen


@pytest.mark.parametrize("text", [None, "", "2026-11-27", "2026-13-27 10:00:00", "yesterday"])
def test_a_time_that_cannot_be_read_fails_no_payment(text: str | None) -> None:
    paid = channel().read(good(gmt_payment=text), {})
    assert isinstance(paid, Payment)
    assert paid.paid_at_ms == -1


def test_each_certificate_verifies_what_names_it() -> None:
    alipay = channel(certified())
    names = {
        name: serial(x509.load_pem_x509_certificate(certificate(name, number).encode()))
        for name, number in (("alipay", 8), ("newer", 9))
    }
    for signer, named in names.items():
        assert isinstance(alipay.read(posted(signed(notification(alipay_cert_sn=named), signer)), {}), Payment)
        assert isinstance(alipay.read(posted(signed(notification(), signer)), {}), Payment)
    with pytest.raises(BadSignature):
        alipay.read(posted(signed(notification(alipay_cert_sn=names["newer"]), "alipay")), {})
    with pytest.raises(BadSignature):
        alipay.read(posted(signed(notification(alipay_cert_sn="0" * 32), "alipay")), {})
    with pytest.raises(BadSignature):
        alipay.read(posted(signed(notification(), "authority")), {})


@pytest.mark.parametrize("word", OUTCOMES)
def test_the_answer_is_success_for_what_is_taken_care_of_and_nothing_else(word: str) -> None:
    reply = channel().answer(word)
    if word in TAKEN:
        assert reply == Reply(200, "text/plain", b"success")
    else:
        assert reply is not None
        assert reply.body == b"fail"
        assert reply.status == max(400, OUTCOMES[word].http)


async def test_what_a_query_finds_is_the_payment_that_the_notification_had(alipay: Alipay, gateway: Double) -> None:
    said = {
        "code": "10000",
        "msg": "Success",
        "buyer_user_id": USER,
        "buyer_open_id": "open-1",
        "passback_params": "buyer_id",
        "out_trade_no": ORDER,
        "send_pay_date": "2026-11-27 10:00:01",
        "total_amount": "1.00",
        "buyer_pay_amount": "0.50",
        "trade_no": TRADE,
        "trade_status": "TRADE_SUCCESS",
        "fund_bill_list": [{"amount": "1.00"}],
    }
    gateway.answers("alipay.trade.query", said)
    asked = await alipay.query_order(ORDER)
    assert asked.payment is not None
    assert asked.payment == Payment(ORDER, 100, TRADE, USER, PAID_AT_MS, asked.payment.kept)
    assert alipay.parse(asked.payment.kept) == asked.payment
    assert gateway.business == {"out_trade_no": ORDER}
