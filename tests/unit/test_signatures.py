"""The provider's signature: the short way says yes only where the library does, and no to nobody."""

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from clock.channels import BadSignature
from clock.channels.webhooks import Signatures
from tests.conftest import WEBHOOK_SECRET

OTHER = "whsec_" + "b3RoZXIgc2VjcmV0IGZvciB0ZXN0cyBvbmx5LCAzMiA="
BODY = '{"order_no": "一"}'.encode()
Headers = dict[str, str]


def signed(at: float | None = None, body: bytes = BODY, secret: str = WEBHOOK_SECRET) -> Headers:
    moment = datetime.fromtimestamp(int(time.time() if at is None else at), tz=UTC)
    signature = Webhook(secret).sign("msg_1", moment, body.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": signature,
    }


def verdict(signatures: Signatures, headers: Headers, body: bytes = BODY) -> bool:
    try:
        signatures.verify(body, headers)
    except BadSignature:
        return False
    return True


@pytest.mark.parametrize("secrets", [WEBHOOK_SECRET, f"{OTHER} {WEBHOOK_SECRET}", WEBHOOK_SECRET.rstrip("=")])
def test_a_plain_signature_does_not_ask_the_library(secrets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Webhook, "verify", lambda *_, **__: pytest.fail("asked the library"))
    assert verdict(Signatures(secrets), signed())


CHANGES: dict[str, Callable[[Headers], Headers]] = {
    "none": lambda headers: headers,
    "another id": lambda headers: {**headers, "webhook-id": "msg_2"},
    "no id": lambda headers: {**headers, "webhook-id": ""},
    "another second": lambda headers: {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)},
    "parts of a second": lambda headers: {**headers, "webhook-timestamp": headers["webhook-timestamp"] + ".4"},
    "other digits": lambda headers: {**headers, "webhook-timestamp": "١" * 10},
    "no time": lambda headers: {**headers, "webhook-timestamp": ""},
    "another secret's": lambda _: signed(secret=OTHER),
    "another body's": lambda _: signed(body=b"{}"),
    "too old": lambda _: signed(time.time() - 310),
    "rather old": lambda _: signed(time.time() - 296),
    "too new": lambda _: signed(time.time() + 310),
    "one of two": lambda headers: {**headers, "webhook-signature": "v1,AAAA " + headers["webhook-signature"]},
    "another version": lambda headers: {**headers, "webhook-signature": "v2" + headers["webhook-signature"][2:]},
    "no signature": lambda headers: {**headers, "webhook-signature": ""},
    "half a signature": lambda headers: {**headers, "webhook-signature": headers["webhook-signature"][:20]},
    "a bad one and a good one": lambda headers: {
        **headers,
        "webhook-signature": "v1,bad " + headers["webhook-signature"],
    },
    "one without a comma first": lambda headers: {**headers, "webhook-signature": "v1 " + headers["webhook-signature"]},
    "blanks around": lambda headers: {**headers, "webhook-signature": f"  {headers['webhook-signature']}   v1,bad"},
    "two lines, joined": lambda headers: {
        **headers,
        "webhook-signature": f"v1,QUJD, {headers['webhook-signature']}, v1a,x",
    },
    "too many": lambda headers: {**headers, "webhook-signature": "v1,QUJD " * 16 + headers["webhook-signature"]},
    "not in ASCII": lambda headers: {**headers, "webhook-signature": "v1,ü"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_short_way_changes_no_verdict(
    change: Callable[[Headers], Headers], monkeypatch: pytest.MonkeyPatch
) -> None:
    signatures, headers = Signatures(WEBHOOK_SECRET), change(signed())
    with_it = verdict(signatures, headers)
    monkeypatch.setattr(Signatures, "_plainly_good", lambda *_: False)
    assert verdict(signatures, headers) == with_it


@pytest.mark.parametrize(
    "change", ["one of two", "a bad one and a good one", "one without a comma first", "blanks around"]
)
def test_any_good_signature_counts(change: str) -> None:
    assert verdict(Signatures(WEBHOOK_SECRET), CHANGES[change](signed()))
    assert verdict(Signatures(WEBHOOK_SECRET), CHANGES["two lines, joined"](signed()))
    assert not verdict(Signatures(WEBHOOK_SECRET), CHANGES["too many"](signed()))
    assert not verdict(Signatures(WEBHOOK_SECRET), CHANGES[change](signed(secret=OTHER)))


def test_a_body_that_is_no_text_is_not_believed() -> None:
    body = b"\xff\xfe"
    headers = signed(body=b"{}")
    assert not verdict(Signatures(WEBHOOK_SECRET), headers, body)


def test_a_body_that_is_no_text_is_signed_as_any_other() -> None:
    body = b'{"order_no": "\xff"}'
    at = str(int(time.time()))
    key = b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    signature = b64encode(hmac.digest(key, f"msg_1.{at}.".encode() + body, "sha256")).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}
    assert verdict(Signatures(WEBHOOK_SECRET), headers, body)
    assert not verdict(Signatures(WEBHOOK_SECRET), headers, body + b"\xfe")
    assert not verdict(Signatures(OTHER), headers, body)
