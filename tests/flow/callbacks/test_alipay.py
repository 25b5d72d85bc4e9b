"""Alipay's notifications through the service: its own form of a body in, its own form of an answer out."""

from typing import Any

import msgspec
import pytest

from clock.config import Settings
from clock.http.players.callbacks import callback_routes
from tests.conftest import Api, at
from tests.flow.callbacks.stage import UID, order, quarantine, totals
from tests.raw import Redis
from tests.unit.alipay import stage


@pytest.fixture
def settings(settings: Settings) -> Settings:
    ours = stage.settings()
    names = ["public_url", *(name for name in Settings.__struct_fields__ if name.startswith("alipay_"))]
    return msgspec.structs.replace(settings, channel="alipay", **{name: getattr(ours, name) for name in names})


def told(number: str, signer: str = "alipay", **changes: str | None) -> bytes:
    fields = {"out_trade_no": number, "buyer_id": None, "buyer_open_id": f"open-{UID}", **changes}
    fields.setdefault("gmt_payment", "2026-11-22 20:00:00")
    return stage.posted(stage.signed(stage.notification(**fields), signer))


async def post(api: Api, raw: bytes) -> tuple[int, str, str]:
    async with api.session.post(f"{api.url}/callbacks/alipay", data=raw) as reply:
        return reply.status, reply.content_type, await reply.text()


SUCCESS = (200, "text/plain", "success")


async def test_a_payment_makes_a_member_once_and_every_notification_of_it_is_answered(api: Api, redis: Redis) -> None:
    api.service.time.stop_at(at("20:00"))
    number = await order(api)
    paid = await api.post("/api/pay", UID, order_no=number, how="native")
    assert paid["data"]["channel"] == "alipay"
    assert "time_expire%22%3A%222026-11-23+00%3A00%3A00%22" in paid["data"]["pay"]["url"]
    assert await post(api, told(number, "app")) == (401, "text/plain", "fail")
    assert await totals(redis) == (0, 0)
    for _ in range(2):
        assert await post(api, told(number)) == SUCCESS
        assert await totals(redis) == (1, 100)
    assert await post(api, told(number, refund_fee="0.40", out_biz_no="R1")) == SUCCESS
    assert await post(api, told(number, trade_status="TRADE_CLOSED", refund_fee="1.00")) == SUCCESS
    assert await totals(redis) == (1, 100)
    assert await quarantine(api) == []


async def test_a_refunds_notice_that_comes_first_changes_nothing_and_the_payments_comes_after(
    api: Api, redis: Redis
) -> None:
    api.service.time.stop_at(at("20:00"))
    number = await order(api)
    assert await post(api, told(number, refund_fee="0.40", out_biz_no="R1")) == SUCCESS
    assert await totals(redis) == (0, 0)
    assert await post(api, told(number)) == SUCCESS
    assert await totals(redis) == (1, 100)


async def test_what_is_signed_and_not_credited_is_kept_and_not_sent_again(api: Api, redis: Redis) -> None:
    api.service.time.stop_at(at("20:00"))
    number = await order(api)
    assert await post(api, told(number, total_amount="2.00")) == SUCCESS
    assert await post(api, told(number, buyer_open_id="open-8")) == SUCCESS
    assert await post(api, told(number, app_id="2021000000000009")) == SUCCESS
    assert await totals(redis) == (0, 0)
    kept = {(one["channel"], one["reason"]) for one in await quarantine(api)}
    assert kept == {("alipay", "amount_mismatch"), ("alipay", "buyer_mismatch"), ("alipay", "malformed")}


async def test_a_body_that_ends_early_was_not_kept_and_has_to_come_again(api: Api) -> None:
    [handler] = [one for one in callback_routes(api.service) if "/callbacks/alipay" in one.paths]
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"method": "POST", "headers": [], "query_string": b""}
    await handler.fn(scope, receive, send)
    assert (sent[0]["status"], sent[1]["body"]) == (503, b"fail")
