"""`wechatpayv3`, which others wrote, signs what we verify and verifies what we sign."""

import base64
from typing import Any

import msgspec
import pytest
from wechatpayv3 import utils

from clock.channels import BadSignature
from clock.channels.wechat import signing
from clock.channels.wechat.settings import Merchant, merchant_of
from tests.unit.wechat.stage import (
    API_V3_KEY,
    MCHID,
    SERIAL,
    Asked,
    accepts,
    certificate_pem,
    key,
    private_pem,
    public_pem,
    sealed,
    settings,
    signed,
)

BODY = '{"id":"EV-1","summary":"支付成功"}'


@pytest.fixture
def merchant() -> Merchant:
    return merchant_of(settings())


@pytest.mark.parametrize("pem", [public_pem("public"), certificate_pem()], ids=["public key", "certificate"])
def test_it_signs_what_we_verify(merchant: Merchant, pem: str) -> None:
    name = "certificate" if "CERTIFICATE" in pem else "public"
    headers = signed(b"", name)
    at, nonce = headers["wechatpay-timestamp"], headers["wechatpay-nonce"]
    message = f"{at}\n{nonce}\n{BODY}\n"
    headers["wechatpay-signature"] = utils.rsa_sign(utils.load_private_key(private_pem(name)), message)
    assert signing.verify(merchant.keys, BODY.encode(), headers) == headers["wechatpay-serial"]
    with pytest.raises(BadSignature):
        signing.verify(merchant.keys, BODY.encode() + b" ", headers)


def test_it_verifies_as_we_do(merchant: Merchant) -> None:
    headers = signed(BODY.encode())
    given = (headers["wechatpay-timestamp"], headers["wechatpay-nonce"], BODY, headers["wechatpay-signature"])
    assert utils.rsa_verify(*given, utils.load_public_key(public_pem("public")))
    assert signing.verify(merchant.keys, BODY.encode(), headers)


def test_its_request_is_one_that_our_double_takes_and_ours_is_one_that_it_makes(merchant: Merchant) -> None:
    body: dict[str, Any] = {"mchid": MCHID, "description": "押金"}
    raw = msgspec.json.encode(body)
    target = "/v3/pay/transactions/jsapi"
    theirs = utils.build_authorization(target, "POST", MCHID, SERIAL, key("merchant"), raw.decode())
    assert accepts(Asked("POST", target, {"authorization": theirs}, raw))
    ours = signing.authorization(merchant, "POST", target, raw)
    assert accepts(Asked("POST", target, {"authorization": ours}, raw))
    assert not accepts(Asked("POST", target + "?a=1", {"authorization": ours}, raw))
    nonce = ours.partition('nonce_str="')[2].partition('"')[0]
    at = ours.partition('timestamp="')[2].partition('"')[0]
    same = utils.rsa_sign(key("merchant"), f"POST\n{target}\n{at}\n{nonce}\n{raw.decode()}\n")
    assert f'signature="{same}"' in ours


def test_it_opens_what_our_double_seals_and_we_open_the_same() -> None:
    made = sealed(b'{"out_trade_no":"1"}')
    nonce, kind, ciphertext = made["nonce"], made["associated_data"], made["ciphertext"]
    theirs = utils.aes_decrypt(nonce, ciphertext, kind, API_V3_KEY)
    assert theirs.encode() == signing.decrypted(API_V3_KEY.encode(), nonce, kind, ciphertext)


def test_it_verifies_what_a_page_hands_to_wechat(merchant: Merchant) -> None:
    given = signing.pay_sign(merchant.key, "wx1", "1554208460", "593BEC0C930BF1AFEB40B4A08C8FB242", "prepay_id=wx2")
    message = "wx1\n1554208460\n593BEC0C930BF1AFEB40B4A08C8FB242\nprepay_id=wx2\n"
    assert utils.rsa_sign(key("merchant"), message) == given
    assert len(base64.b64decode(given)) == 256
