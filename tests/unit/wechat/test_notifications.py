"""Notifications: what is refused, what is read, and what the provider is answered."""

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from clock.channels import TAKEN, BadSignature, Ended, Payment, Probe, Reply, Unreadable
from clock.channels.wechat import WeChat
from clock.domain.outcomes import OUTCOMES
from tests.unit.wechat.stage import (
    CERTIFICATE_ID,
    ORDER,
    PUBLIC_KEY_ID,
    Waits,
    certificate_pem,
    notification,
    public_pem,
    signature,
    signed,
    transaction,
)
from tests.unit.wechat.stage import settings as settings_of

BODY = notification("TRANSACTION.SUCCESS", transaction())
Headers = dict[str, str]


@pytest.fixture
def reader() -> WeChat:
    return WeChat(settings_of(), Waits())


def without(name: str) -> Callable[[], tuple[bytes, Headers]]:
    return lambda: (BODY, {key: value for key, value in signed(BODY).items() if key != f"wechatpay-{name}"})


def changed(name: str, value: str) -> Callable[[], tuple[bytes, Headers]]:
    return lambda: (BODY, {**signed(BODY), f"wechatpay-{name}": value})


REFUSED: dict[str, Callable[[], tuple[bytes, Headers]]] = {
    "signed by a stranger": lambda: (BODY, signed(BODY, "stranger")),
    "signed with our own key": lambda: (BODY, signed(BODY, "merchant")),
    "signed with the other key": lambda: (BODY, signed(BODY, "certificate", serial=PUBLIC_KEY_ID)),
    "an unknown key's id": lambda: (BODY, signed(BODY, serial="PUB_KEY_ID_0000000000000000000000000000000000")),
    "the merchant's own serial": lambda: (BODY, signed(BODY, serial="5157F09EFDC096DE15EBE81A47057A7232F1B8E1")),
    "under another timestamp": lambda: changed("timestamp", str(int(time.time()) - 7))(),
    "under another nonce": changed("nonce", "another"),
    "too old": lambda: (BODY, signed(BODY, at=int(time.time()) - 302)),
    "too new": lambda: (BODY, signed(BODY, at=int(time.time()) + 302)),
    "another body": lambda: (BODY.replace(b"TRANSACTION", b"TRANSACTIOM"), signed(BODY)),
    "the same JSON in other bytes": lambda: (msgspec.json.format(BODY), signed(BODY)),
    "cut": lambda: (BODY[:-1], signed(BODY)),
    "with a newline": lambda: (BODY + b"\n", signed(BODY)),
    "empty": lambda: (b"", signed(BODY)),
    "no timestamp": without("timestamp"),
    "other digits": changed("timestamp", "١" * 10),
    "a long timestamp": changed("timestamp", "9" * 5000),
    "no nonce": without("nonce"),
    "no serial": without("serial"),
    "no signature": without("signature"),
    "no base64": changed("signature", "%%%"),
    "nothing at all": lambda: (BODY, {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(reader: WeChat, name: str) -> None:
    raw, headers = REFUSED[name]()
    with pytest.raises(BadSignature) as refused:
        reader.read(raw, headers)
    assert not isinstance(refused.value, Probe)


def test_no_nonce_is_no_signature_even_if_it_fits(reader: WeChat) -> None:
    at = str(int(time.time()))
    headers = {**signed(BODY), "wechatpay-nonce": "", "wechatpay-timestamp": at}
    with pytest.raises(BadSignature):
        reader.read(BODY, {**headers, "wechatpay-signature": signature("public", at, "", body=BODY)})


def test_a_probe_is_refused_and_told_from_a_forgery(reader: WeChat) -> None:
    given = signed(BODY)
    with pytest.raises(Probe):
        reader.read(BODY, {**given, "wechatpay-signature": "WECHATPAY/SIGNTEST/" + given["wechatpay-signature"]})


@pytest.mark.parametrize("late", [-295, 0, 295])
@pytest.mark.parametrize(
    ("name", "serial"), [("public", ""), ("certificate", ""), ("certificate", CERTIFICATE_ID.lower().zfill(40))]
)
def test_a_payment_signed_with_either_key(reader: WeChat, name: str, serial: str, late: int) -> None:
    """In the same seven days some notifications are signed with the certificate, and others with the public key."""
    paid = reader.read(BODY, signed(BODY, name, serial, int(time.time()) + late))
    kept = msgspec.json.encode(transaction())
    at_ms = 1_795_734_000_000
    assert paid == Payment(ORDER, 100, "4200000263201902167700134212", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", at_ms, kept)
    assert reader.parse(kept) == paid


def test_a_key_that_is_taken_out_of_the_settings_signs_nothing_any_more() -> None:
    only = {
        "public": WeChat(settings_of(wechat_keys=f"{PUBLIC_KEY_ID}\n{public_pem('public')}"), Waits()),
        "certificate": WeChat(settings_of(wechat_keys=certificate_pem()), Waits()),
    }
    for known, channel in only.items():
        for name in only:
            if name == known:
                assert isinstance(channel.read(BODY, signed(BODY, name)), Payment)
            else:
                with pytest.raises(BadSignature):
                    channel.read(BODY, signed(BODY, name))


ENDED = [
    ("REFUND.SUCCESS", {"out_refund_no": "R1", "refund_status": "SUCCESS"}, "R1"),
    ("REFUND.ABNORMAL", {"out_refund_no": "R2", "refund_status": "ABNORMAL"}, "R2"),
    ("REFUND.CLOSED", {"out_refund_no": "R3", "refund_status": "CLOSED"}, "R3"),
    ("MCHTRANSFER.BILL.FINISHED", {"out_bill_no": "W1N1", "state": "FAIL"}, "W1N1"),
]


@pytest.mark.parametrize(("event", "resource", "number"), ENDED)
def test_what_has_ended(reader: WeChat, event: str, resource: dict[str, Any], number: str) -> None:
    raw = notification(event, resource)
    assert reader.read(raw, signed(raw)) == Ended(number)


@pytest.mark.parametrize("event", ["PAYSCORE.USER_OPEN_SERVICE", "TRANSACTION.CLOSED", "COUPON.USE", ""])
def test_what_does_not_concern_us(reader: WeChat, event: str) -> None:
    """It is not opened: its resource may be anything."""
    raw = msgspec.json.encode({"event_type": event, "resource": "of another shape"})
    assert reader.read(raw, signed(raw)) is None


UNREADABLE: dict[str, bytes] = {
    "another key of encryption": notification("TRANSACTION.SUCCESS", transaction(), "x" * 32),
    "a refund under another key": notification("REFUND.SUCCESS", {"out_refund_no": "R1"}, "x" * 32),
    "another application": notification("TRANSACTION.SUCCESS", transaction(appid="wxffffffffffffffff")),
    "another merchant": notification("TRANSACTION.SUCCESS", transaction(mchid="1900009999")),
    "not paid": notification("TRANSACTION.SUCCESS", transaction(trade_state="CLOSED")),
    "no number": notification("TRANSACTION.SUCCESS", {"trade_state": "SUCCESS"}),
    "a number that is none": notification("TRANSACTION.SUCCESS", transaction(out_trade_no=7)),
    "a refund without a number": notification("REFUND.SUCCESS", {}),
    "no JSON inside": notification("TRANSACTION.SUCCESS", b"\x00\x01"),
    "no JSON": b"SUCCESS",
    "no resource": b'{"event_type":"TRANSACTION.SUCCESS"}',
    "no ciphertext": b'{"event_type":"TRANSACTION.SUCCESS","resource":{"nonce":"fdasflkja484"}}',
    "a nonce of no bytes": b'{"event_type":"TRANSACTION.SUCCESS","resource":{"nonce":"","ciphertext":"AAAA"}}',
    "a ciphertext that is no base64": b'{"event_type":"REFUND.CLOSED","resource":{"nonce":"f","ciphertext":"\xe4"}}',
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_signed_and_unreadable_is_kept_as_it_came(reader: WeChat, name: str) -> None:
    raw = UNREADABLE[name]
    with pytest.raises(Unreadable) as unreadable:
        reader.read(raw, signed(raw))
    assert unreadable.value.kept == raw
    with pytest.raises(Unreadable):
        reader.parse(raw)


LOOSE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no success_time": ({"success_time": None}, {"paid_at_ms": -1}),
    "a success_time that is a number": ({"success_time": 20261127070000}, {"paid_at_ms": -1}),
    "a success_time without a zone": ({"success_time": "2026-11-27T07:00:00"}, {"paid_at_ms": -1}),
    "an hour that is none": ({"success_time": "2026-11-27T27:00:00+08:00"}, {"paid_at_ms": -1}),
    "in another zone": ({"success_time": "2026-11-26T23:00:00Z"}, {"paid_at_ms": 1_795_734_000_000}),
    "no amount": ({"amount": None}, {"amount_fen": None}),
    "no transaction": ({"transaction_id": None}, {"transaction_id": ""}),
    "no payer": ({"payer": None}, {"buyer": ""}),
    "a field of another type": ({"trade_type": 7, "attach": {"a": []}}, {"amount_fen": 100}),
    "a field that is new": ({"promotion_detail": [{"name": "\ud83d"}]}, {"amount_fen": 100}),
}


@pytest.mark.parametrize("name", LOOSE)
def test_what_is_not_compared_fails_nothing(reader: WeChat, name: str) -> None:
    given, expected = LOOSE[name]
    raw = notification("TRANSACTION.SUCCESS", json.dumps(transaction(**given)).encode())
    paid = reader.read(raw, signed(raw))
    assert isinstance(paid, Payment)
    assert {field: getattr(paid, field) for field in expected} == expected


@pytest.mark.parametrize("word", sorted(OUTCOMES))
def test_what_is_answered(reader: WeChat, word: str) -> None:
    reply = reader.answer(word)
    assert reply is not None
    if word in TAKEN:
        assert reply == Reply(204)
        return
    assert reply.status == (OUTCOMES[word].http if OUTCOMES[word].http >= 400 else 500)
    assert msgspec.json.decode(reply.body)["code"] == "FAIL"
    assert reply.media_type == "application/json"


def test_a_key_of_encryption_opens_nothing_that_another_has_closed() -> None:
    channel = WeChat(settings_of(wechat_api_v3_key="x" * 32), Waits())
    with pytest.raises(Unreadable):
        channel.read(BODY, signed(BODY))
