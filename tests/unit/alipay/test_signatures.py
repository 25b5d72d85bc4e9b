"""What is signed, and that others sign and verify the same."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from hypothesis import given
from hypothesis import strategies as some
from pay_kit.providers.alipay import sign as pay_kit

from clock.channels import rsa
from clock.channels.alipay import Alipay
from clock.channels.alipay.signing import form, node_of, signed_content
from tests.unit.alipay.stage import ORDER, TRADE, Double, key, notification, private_pem, public_pem, reply, signed

NAME = "alipay_trade_create_response"
SIGN = (
    "TS355N0QjK1r9GyD4YOsG5esszSUhESgwu1q5+e1sWwqtPYe30CQ3v0QTEDd"
    "xYN9vm2No8V1KzuTSadrA4SZSkEkRchrcdVHCU8rCXOHWzS5wof8jg=="
)

PLAIN = r'"out_trade_no":"20150320010101001","trade_no":"2019062322001446881000041395"'
BRACES = r'"trade_no":"2019062322001446881000041395"'

AWKWARD = {
    "plain": rf'{{"code":"10000","msg":"Success",{PLAIN}}}',
    "an object inside": rf'{{"code":"10000","msg":"Success","nested":{{"a":1,"b":"2"}},{PLAIN}}}',
    "a list inside": rf'{{"code":"10000","msg":"Success","nested":{{"a":1,"b":"2","array":["1","2","3"]}},{PLAIN}}}',
    "pairs of braces in a value": (
        r'{"code":"10000","msg":"Success","nested":{"a":1,"b":"2","array":["1","2","3"]},'
        rf'"out_trade_no":"201{{5}}0320010101001{{}}",{BRACES}}}'
    ),
    "pairs of braces in a name": (
        r'{"code":"10000","msg":"Success","nested":{"a":1,"b":"2","array":["1","2","3"]},'
        rf'"out_{{trade}}_{{no}}":"201{{5}}0320010101001{{}}",{BRACES}}}'
    ),
    "single braces in a value": (
        r'{"code":"100}00","msg":"Suc}cess","nested":{"a":1,"b":"2","array":["{1","2","3"]},'
        r'"out_{trade}_{no}":"201{5}0320010101001{}","trade_no":"2019062{322001446881000041395"}'
    ),
    "single braces in a name": (
        r'{"co{de":"100}00","ms}g":"Suc}cess","ne{sted":{"a":1,"b":"2","array":["{1","2","3"]},'
        r'"{out_{trade}_{no}":"201{5}0320010101001{}","trade_no}":"2019062{322001446881000041395"}'
    ),
    "single braces behind quotation marks": (
        r'{"co{de":"100}00","ms}g":"Suc\"}cess","ne{sted":{"a":1,"b":"2","array":["\"{1","2","3"]},'
        r'"{out_{trade}_{no}":"201{5\"}0320010101001{}","trade_no}":"20\"19062{322001446881000041395"}'
    ),
    "escaped backslashes before quotation marks": (
        r'{"code":"10000\\",         "msg": "Success",         "\\out_trade_no\\": '
        r'"\\\\20150320010101001\\\\",         "trade_no": "2019062322001446881000041395"     }'
    ),
    "encrypted": '"eyJjb2RlIjoiMTAwMDAiLCJtc2ciOiJTdWNjZXNzIiwib3V0X3RyYWRlX25vIjoiMjAxNTAzMjAwMTAxMDEwMDEifQ=="',
}
"""The nodes of AlipaySignatureTest (alipay-sdk-java-all, v2), as they have to be verified."""


@pytest.mark.parametrize("node", AWKWARD.values(), ids=AWKWARD)
@pytest.mark.parametrize(
    "around",
    ['{{"{}":{},"sign":"{}"}}', '{{"{}"      :      {},     "sign": "{}" }}', ' {{ "sign":"{2}",\n"{0}":{1}}}\n'],
    ids=["close", "with blanks", "the signature first"],
)
def test_exactly_the_nodes_bytes_are_verified(node: str, around: str) -> None:
    found = node_of(around.format(NAME, node, SIGN).encode(), NAME)
    assert found is not None
    assert found.raw == node.encode()
    assert found.signature == SIGN
    assert found.serial == ""


@given(
    some.recursive(
        some.text() | some.integers() | some.none(), lambda one: some.lists(one) | some.dictionaries(some.text(), one)
    )
)
def test_whatever_a_node_holds_its_end_is_found(content: object) -> None:
    for text in (json.dumps(content), json.dumps(content, ensure_ascii=True, indent=2)):
        found = node_of(f'{{"a":"}}","{NAME}":{text},"alipay_cert_sn":"12","sign":"{SIGN}"}}'.encode(), NAME)
        assert found is not None
        assert (found.raw, found.content, found.serial) == (text.encode(), content, "12")


NO_NODES = {
    "another name": b'{"alipay_trade_query_response":{}}',
    "a name within another node": b'{"a":{"alipay_trade_create_response":{}}}',
    "twice": b'{"alipay_trade_create_response":{},"alipay_trade_create_response":{}}',
    "two signatures": b'{"alipay_trade_create_response":{},"sign":"a","sign":"b"}',
    "a signature that is no text": b'{"alipay_trade_create_response":{},"sign":1}',
    "more behind the end": b'{"alipay_trade_create_response":{}}{}',
    "no end": b'{"alipay_trade_create_response":{}',
    "no comma": b'{"alipay_trade_create_response":{} "sign":"a"}',
    "no colon": b'{"alipay_trade_create_response" {}}',
    "a comma at the end": b'{"alipay_trade_create_response":{},}',
    "a number for a name": b'{1:{},"alipay_trade_create_response":{}}',
    "a list": b'["alipay_trade_create_response"]',
    "nothing": b"",
    "no UTF-8": b'{"alipay_trade_create_response":"\xd6"}',
    "an endless number": b'{"alipay_trade_create_response":' + b"9" * 5_000 + b"}",
    "too deep": b'{"alipay_trade_create_response":' + b"[" * 100_000,
}


@pytest.mark.parametrize("raw", NO_NODES.values(), ids=NO_NODES)
def test_what_can_be_read_in_two_ways_is_not_read(raw: bytes) -> None:
    assert node_of(raw, NAME) is None


def test_a_form_is_decoded_once_as_bytes() -> None:
    assert form(b"a=1%252B&b=x+y%2Bz&%E4%B8%80=%D6%D0&c=") == {
        b"a": b"1%2B",
        b"b": b"x y+z",
        "一".encode(): "中".encode("gbk"),
        b"c": b"",
    }


def test_what_is_signed_is_sorted() -> None:
    assert signed_content([(b"b", b"2"), (b"a", b"1"), (b"B", b"3")]) == b"B=3&a=1&b=2"


async def test_the_form_is_signed_as_the_gateway_reads_it(alipay: Alipay, gateway: Double) -> None:
    gateway.answers("alipay.trade.query", {"code": "20000"})
    await alipay.query_order(ORDER)
    (sent,) = gateway.forms
    assert all(sent.values())
    assert {"app_id", "method", "charset", "sign_type", "timestamp", "version", "biz_content", "sign"} <= sent.keys()
    assert (sent["charset"], sent["sign_type"], sent["version"]) == ("utf-8", "RSA2", "1.0")
    content = "&".join(f"{name}={sent[name]}" for name in sorted(sent) if name != "sign")
    assert pay_kit.verify(content, sent["sign"], pay_kit.load_public_key(public_pem("app")))
    assert not pay_kit.verify(content + " ", sent["sign"], pay_kit.load_public_key(public_pem("app")))


async def test_another_library_signs_what_is_verified_here(alipay: Alipay, gateway: Double) -> None:
    fields = notification()
    content = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    signature = pay_kit.sign(content, pay_kit.load_private_key(private_pem("alipay")))
    assert signature == signed(fields)["sign"]
    node = json.dumps({"code": "10000", "trade_status": "TRADE_CLOSED", "out_trade_no": ORDER, "trade_no": TRADE})
    signature = pay_kit.sign(node, pay_kit.load_private_key(private_pem("alipay")))
    gateway.says["alipay.trade.query"] = f'{{"alipay_trade_query_response":{node},"sign":"{signature}"}}'.encode()
    assert (await alipay.query_order(ORDER)).state == "closed"
    assert gateway.says["alipay.trade.query"] == reply("alipay.trade.query", json.loads(node))


SDK_PUBLIC = (
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAmeSS5CuS2TVihjixfsRSawDDa1U+X5x/7lH0dpNY0snXZA0zCvTn4MMq0rRkAz6uMsOeRns"
    "RdcRdSpaZZ6kNQWXBEE1xtsPewzK2uNlNRfi4vC0FdqwOGeZMzPU5jx67cg4FP6uNu9IS/LpUZJgjGHXLJW9r/H7axi6DNs1hLUBOpBACB5PYZNqcsMs"
    "0mhgfTK6rZCylmIwfuGwLkvOBB0Iiq4KABs2FO7aZX0epr2q66JOtyuw0KreMzi4/0MjVc78REcQs+fXM5rHzuIS1HTW1hamnv1tI2gG3oW3MyN+nsxy"
    "HYWJCfeADhtvjOLrvjbR8RhLkaNy2+4xKmaqt4QIDAQAB"
)
SDK_PRIVATE = (
    "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCZ5JLkK5LZNWKGOLF+xFJrAMNrVT5fnH/uUfR2k1jSyddkDTMK9OfgwyrStGQDPq4"
    "yw55GexF1xF1KlplnqQ1BZcEQTXG2w97DMra42U1F+Li8LQV2rA4Z5kzM9TmPHrtyDgU/q4270hL8ulRkmCMYdcslb2v8ftrGLoM2zWEtQE6kEAIHk9h"
    "k2pywyzSaGB9MrqtkLKWYjB+4bAuS84EHQiKrgoAGzYU7tplfR6mvarrok63K7DQqt4zOLj/QyNVzvxERxCz59czmsfO4hLUdNbWFqae/W0jaAbehbcz"
    "I36ezHIdhYkJ94AOG2+M4uu+NtHxGEuRo3Lb7jEqZqq3hAgMBAAECggEAGwLaoX/ga42KOILU7KoqySs+IaW5p/CBJ+Rsoy9jpMPWsXH7po2r8XBwIM"
    "GW2Fb1HmXlbvuE6gXIViIu1NoAQJ1KkMD3F5wzilFpbvJ9NK3eRvEkB1tVskgQ7NyR+MPtJKy/URicbP4HZSKTU4C8kDuEp5JyAsSFQ8nAMCtGRjm++"
    "IvMxfytck8WndK20di7P5hYhRr0wpqem8jP5cf8KKj7uch/bqmDHg0cnQa8rCG4HMoLNeR8O/tLo59tjAAlw+0H386Qe1vovOmDSPlGw4TmwgKlPgZJC"
    "L9NYXStQjdo+cb7Syvks1wSdybVwu2DEcEnE/+Rwcl4fXqg4Qj6vQKBgQD3HQNoB/M0b4YMYpPHVRu+g3HjzEyRZxLdiVvcHSdYE9RBl0xVVHIK9+Vv"
    "n6mxWol2IvKTaP7nZplvN/qSmXt4aUphSlOMwPPU/omIj6xnFBrrsFRpuDr0Bv/xQV7kllDtnd39XuxHw8OAZZnIg7jZ1ql/TPJmy5JoWH0YIhpQxwK"
    "BgQCfbVmHu1x2q2jLkp8IOBDOXN1CJFEBCpudmUFJgfONgdYRn1hj6THuqyoaDjyFll4uTikgQmBERsmfHO66BoDvApqz5l1eaonsI05nUiNJuP5t5k"
    "37RR3+Rgku2Iu99bKCPakSkDL+l//aAjpcivZVjxFhDQIvSnle1vpQXPM0FwKBgBq52JR3x6X0KdtNDg6Q9d80+Cxa/Cz9qNys7nJv9MFh46L0ah0Qd"
    "QUaqoXYDtJPqG5OeU3YHTmJry6IL2GLl/795D2BfGfMtpJitR0/7LV5RzAWcgq9EiMyXpwJJeozF62bVVcB3Swl0A8i7e7x0Bw/SzWpbM4RVlRSvbTO"
    "e2ohAoGAKhRgtzS62Q+xH1pZ43944B8ev2B6iP3VySk0VESallUYvZoDaIuahFZlTG9JhjEENtCmhj8+zYapnPe0AyHIUk2rq6Q4LL2OHefLv/WsHr9"
    "XWIabOqEpo3202sqJR+Bb94hy4dVxwEU6YL6JzPdYwYh7m9QlKXpMwr2XYDLIdo0CgYBA0dOk3jaycvkHlnsjNFXNyjinKApqN4uyVaq1ybE2p6irv4"
    "0oOc0cLeD8pUMbPsYwkPFikQTEcTjmTnQbJxftNz8O3yK+SBs423wJppbP/ohqd+TojR3YyMVEXz9C+U+osqg/ezk1zALF6NV1xUnbsCvtOuR2Avz6F"
    "+7AqDw0XQ=="
)
"""The key pair of RSA2EncryptorTest (alipay-sdk-java-all, v2): published, and nobody's."""

TEXT = ("测试" * 2_498 + "test").encode()
"""As that test signs it."""


def pem_of(text: str, kind: str) -> str:
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n"


def pair() -> tuple[RSAPrivateKey, RSAPublicKey]:
    return (
        rsa.private_key(pem_of(SDK_PRIVATE, "PRIVATE KEY"), "private"),
        rsa.public_key(pem_of(SDK_PUBLIC, "PUBLIC KEY"), "public"),
    )


def test_the_keys_of_the_sdks_test_are_a_pair() -> None:
    private, public = pair()
    assert rsa.belongs(public, private)
    signature = rsa.sign(private, TEXT)
    assert rsa.verifies(public, signature, TEXT)
    assert not rsa.verifies(public, signature, TEXT[:-1])


def by_openssl(path: Path) -> str:
    """OpenSSL's own signature (PKCS#1 v1.5 is deterministic)."""
    (path / "key.pem").write_text(pem_of(SDK_PRIVATE, "PRIVATE KEY"))
    (path / "text").write_bytes(TEXT)
    command = ["openssl", "dgst", "-sha256", "-sign", str(path / "key.pem"), str(path / "text")]
    return base64.b64encode(subprocess.run(command, check=True, capture_output=True).stdout).decode()


def by_pay_kit(path: Path) -> str:
    return pay_kit.sign(TEXT.decode(), pay_kit.load_private_key(pem_of(SDK_PRIVATE, "PRIVATE KEY")))


OTHERS: list[Callable[[Path], str]] = [by_pay_kit, *([by_openssl] if shutil.which("openssl") else [])]


@pytest.mark.parametrize("other", OTHERS)
def test_the_signature_is_the_one_that_others_make(other: Callable[[Path], str], tmp_path: Path) -> None:
    assert rsa.sign(pair()[0], TEXT) == other(tmp_path)


def test_a_signature_in_another_base64_is_none() -> None:
    signature = rsa.sign(key("app"), b"text")
    public = key("app").public_key()
    for spoilt in (signature[:-1], f"{signature} ", signature.replace("=", ""), signature[::-1], "", "ü"):
        assert not rsa.verifies(public, spoilt, b"text")
