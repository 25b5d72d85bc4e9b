"""``check``: one signed question, and a sentence for whatever is wrong."""

import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from clock.channels import Silent
from clock.channels.wechat import WeChat
from clock.config import BadSetting
from tests.unit.wechat.stage import MCHID, PUBLIC_KEY_ID, SERIAL, Double, Waits, private_pem, settings, signed

NOT_THERE = {"code": "ORDER_NOT_EXIST", "message": "订单不存在"}
Sign = Callable[[bytes], dict[str, str]]


def dated(off: int, sign: Sign = signed) -> Sign:
    """A reply's headers where our clock is ``off`` seconds ahead."""
    return lambda raw: {**sign(raw), "date": formatdate(time.time() - off, usegmt=True)}


async def test_what_works(channel: WeChat, double: Double) -> None:
    double.says(404, NOT_THERE, dated(120))
    ours, theirs, clock = await channel.check()
    assert MCHID in ours and SERIAL in ours
    assert PUBLIC_KEY_ID in theirs and "one of 2" in theirs
    assert "+120 s" in clock or "+119 s" in clock or "+121 s" in clock
    (asked,) = double.asked
    assert asked.method == "GET" and asked.target.endswith(f"?mchid={MCHID}")


WRONG: dict[str, tuple[int, Any, Sign, str]] = {
    "a clock that is ahead": (404, NOT_THERE, dated(310), r"clock is \+3(09|10|11) s off"),
    "a clock that is behind": (404, NOT_THERE, dated(-310), r"clock is -3(09|10|11) s off"),
    "a clock, though the signature is refused": (401, {"code": "SIGN_ERROR"}, dated(3_600), "clock is"),
    "a merchant's signature": (
        401,
        {"code": "SIGN_ERROR"},
        dated(0),
        "CLOCK_WECHAT_PRIVATE_KEY and CLOCK_WECHAT_SERIAL",
    ),
    "the same, unsigned": (401, b"", lambda _: {}, "CLOCK_WECHAT_PRIVATE_KEY and CLOCK_WECHAT_SERIAL"),
    "a key that is not known": (404, NOT_THERE, lambda raw: signed(raw, serial="PUB_KEY_ID_7"), "PUB_KEY_ID_7, which"),
    "no signature": (404, NOT_THERE, lambda _: {}, "signed with no key, which CLOCK_WECHAT_KEYS does not have"),
    "another key under its id": (
        404,
        NOT_THERE,
        lambda raw: signed(raw, "stranger", PUBLIC_KEY_ID),
        f"CLOCK_WECHAT_KEYS: the reply does not verify with {PUBLIC_KEY_ID}",
    ),
    "a right that is missing": (403, {"code": "NO_AUTH", "message": "无权限"}, signed, "NO_AUTH: 无权限"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_is_named(channel: WeChat, double: Double, name: str) -> None:
    status, body, headers, sentence = WRONG[name]
    double.says(status, body, headers)
    with pytest.raises(BadSetting, match=sentence):
        await channel.check()


async def test_a_private_key_of_another_merchant(double: Double, waits: Waits) -> None:
    channel = WeChat(settings(wechat_url=double.url, wechat_private_key=private_pem("stranger")), waits)
    with pytest.raises(BadSetting, match="does not accept our signature"):
        await channel.check()
    await channel.close()


@pytest.mark.parametrize("status", [429, 500, 502])
async def test_a_provider_that_is_down(channel: WeChat, double: Double, status: int) -> None:
    double.says(status, b"<html>", lambda _: {})
    with pytest.raises(Silent, match=f"HTTP {status}"):
        await channel.check()


async def test_nobody_there(waits: Waits) -> None:
    channel = WeChat(settings(wechat_url="http://127.0.0.1:9"), waits)
    with pytest.raises(Silent, match="no connection"):
        await channel.check()
    await channel.close()


async def test_a_reply_without_a_date_says_so(channel: WeChat, double: Double) -> None:
    double.says(404, NOT_THERE, lambda raw: {**signed(raw), "date": "soon"})
    assert "no Date" in (await channel.check())[2]
