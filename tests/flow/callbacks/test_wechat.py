"""The channel wechat over HTTP: answers in the provider's form, and what becomes of a notification."""

from typing import Any

import msgspec
import pytest

from clock import metrics
from clock.config import Settings
from tests.conftest import DAY, Api
from tests.flow.callbacks.stage import UID, order, quarantine, totals
from tests.raw import Redis
from tests.unit.wechat import stage


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The order's channel is the default one."""
    given = stage.settings()
    names = [name for name in given.__struct_fields__ if name.startswith("wechat_")]
    keys = {name: getattr(given, name) for name in names}
    return msgspec.structs.replace(settings, channel="wechat", public_url=given.public_url, **keys)


def paid(number: str, **changed: Any) -> bytes:
    at = f"{DAY}T12:00:00+08:00"
    order = {"out_trade_no": number, "payer": {"openid": f"open-{UID}"}, "success_time": at, **changed}
    return stage.notification("TRANSACTION.SUCCESS", stage.transaction(**order))


async def send(api: Api, raw: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    headers = stage.signed(raw) if headers is None else headers
    async with api.session.post(api.url + "/callbacks/wechat", data=raw, headers=headers) as reply:
        return reply.status, await reply.read()


async def test_a_payment_makes_a_member_once_whichever_key_signs_it(api: Api, redis: Redis) -> None:
    raw = paid(await order(api))
    for name in "public", "certificate", "public":
        assert await send(api, raw, stage.signed(raw, name)) == (204, b"")
    assert await totals(redis) == (1, 100)
    assert await quarantine(api) == []


async def test_what_fails_a_check_is_kept_and_does_not_come_again(api: Api, redis: Redis) -> None:
    number = await order(api)
    wrong = {
        "amount_mismatch": paid(number, amount={"total": 99}),
        "buyer_mismatch": paid(number, payer={"openid": "open-8"}),
        "malformed": paid(number, appid="wxffffffffffffffff"),
    }
    for raw in wrong.values():
        assert await send(api, raw) == (204, b"")
    assert await totals(redis) == (0, 0)
    assert sorted(item["reason"] for item in await quarantine(api)) == sorted(wrong)


async def test_what_is_not_signed_is_refused_in_the_providers_form(api: Api, redis: Redis) -> None:
    raw = paid(await order(api))
    for headers in stage.signed(raw, "stranger"), stage.signed(raw, at=1_624_523_846), {}:
        status, body = await send(api, raw, headers)
        assert status == 401 and msgspec.json.decode(body)["code"] == "FAIL"
    assert await totals(redis) == (0, 0) and await quarantine(api) == []


@pytest.mark.parametrize("described", [True])
async def test_the_document_says_nothing_of_what_the_provider_describes(api: Api) -> None:
    _, document = await api.send("GET", "/schema/openapi.json")
    assert [path for path in document["paths"] if path.startswith("/callbacks/")] == ["/callbacks/platform"]


async def test_a_probe_of_the_providers_is_refused_and_rings_no_alarm(api: Api) -> None:
    metrics.take_recent()
    before = metrics.take_recent().bad_signatures
    raw = paid(await order(api))
    for name, counted in ("WECHATPAY/SIGNTEST/AAAA", 0), ("AAAA", 1):
        status, _ = await send(api, raw, {**stage.signed(raw), "wechatpay-signature": name})
        assert status == 401
        assert metrics.take_recent().bad_signatures - before == counted
