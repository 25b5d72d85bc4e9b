"""``clock channel check alipay``: one signed question, and in words what is wrong."""

from email.utils import formatdate
from time import time

import pytest

from clock.channels import Silent, TooManyCalls
from clock.channels.alipay import Alipay
from clock.config import BadSetting
from tests.unit.alipay.stage import Double, certified, channel, reply, settings

QUERY = "alipay.trade.query"

NONE = {"code": "40004", "sub_code": "ACQ.TRADE_NOT_EXIST", "out_trade_no": "0"}


async def test_what_works_is_said_in_sentences(alipay: Alipay, gateway: Double) -> None:
    gateway.answers(QUERY, NONE)
    said = await alipay.check()
    assert len(said) == 2
    assert all(" " in sentence for sentence in said)
    assert gateway.asked == [QUERY]


@pytest.mark.parametrize("signer", ["", "alipay"], ids=["unsigned", "signed"])
@pytest.mark.parametrize(
    ("sub_code", "named"),
    [
        ("isv.invalid-signature", "CLOCK_ALIPAY_PRIVATE_KEY"),
        ("isv.missing-signature-key", "CLOCK_ALIPAY_PRIVATE_KEY"),
        ("isv.invalid-app-id", "CLOCK_ALIPAY_APP_ID"),
    ],
)
async def test_a_setting_that_alipay_refuses_is_named(
    sub_code: str, named: str, signer: str, alipay: Alipay, gateway: Double
) -> None:
    gateway.answers(QUERY, {"code": "40002", "sub_code": sub_code}, signer=signer)
    with pytest.raises(BadSetting, match=f"{named}.*{sub_code}"):
        await alipay.check()
    gateway.says[QUERY] = f'{{"error_response":{{"code":"40002","sub_code":"{sub_code}"}}}}'.encode()
    with pytest.raises(BadSetting, match=f"{named}.*{sub_code}"):
        await alipay.check()


async def test_a_reply_that_another_key_has_signed_names_the_setting_with_the_keys(gateway: Double) -> None:
    gateway.answers(QUERY, NONE, signer="stranger")
    for given, named in [
        (settings(alipay_url=gateway.url), "CLOCK_ALIPAY_PUBLIC_KEY"),
        (certified(alipay_url=gateway.url), "CLOCK_ALIPAY_CERTS"),
    ]:
        alipay = channel(given)
        with pytest.raises(BadSetting, match=named):
            await alipay.check()
        await alipay.close()


@pytest.mark.parametrize("off_seconds", [-400, -310, 301, 400])
async def test_a_clock_that_is_off_is_named(off_seconds: int, alipay: Alipay, gateway: Double) -> None:
    gateway.answers(QUERY, NONE)
    gateway.headers = {"Date": formatdate(time() - off_seconds, usegmt=True)}
    with pytest.raises(BadSetting, match="clock"):
        await alipay.check()


@pytest.mark.parametrize("off_seconds", [-250, 250])
async def test_a_clock_that_agrees_is_not(off_seconds: int, alipay: Alipay, gateway: Double) -> None:
    gateway.answers(QUERY, NONE)
    gateway.headers = {"Date": formatdate(time() - off_seconds, usegmt=True)}
    assert await alipay.check()
    gateway.headers = {"Date": "yesterday"}
    assert await alipay.check()


async def test_other_trouble_is_silence(alipay: Alipay, gateway: Double) -> None:
    for says in (
        reply(QUERY, {"code": "20000", "sub_code": "isp.unknow-error"}),
        reply(QUERY, NONE, signer=""),
        b"<html>",
    ):
        gateway.says[QUERY] = says
        with pytest.raises(Silent):
            await alipay.check()
    gateway.status = 502
    with pytest.raises(Silent, match="502"):
        await alipay.check()
    away = channel(settings(alipay_url="http://127.0.0.1:9/gateway.do"))
    with pytest.raises(Silent, match="no connection"):
        await away.check()
    await away.close()


async def test_a_limit_that_is_used_up_is_silence(gateway: Double) -> None:
    async def wait(endpoint: str, per_second: float) -> None:
        raise TooManyCalls(endpoint)

    with pytest.raises(Silent):
        await Alipay(settings(alipay_url=gateway.url), wait).check()
    assert gateway.forms == []
