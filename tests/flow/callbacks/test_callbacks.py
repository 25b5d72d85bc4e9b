"""The platform channel: who is believed, what is checked in which order, what is kept, what becomes of late money."""

import asyncio
import itertools
import time
from typing import Any

import pytest

from clock.books import outbox
from clock.domain import order_no
from tests.conftest import DAY, WEBHOOK_SECRET, Api, at
from tests.flow.callbacks.stage import (
    OLD_SECRET,
    STRANGERS_SECRET,
    UID,
    callback,
    order,
    quarantine,
    send,
    signature,
    signed,
    totals,
)
from tests.raw import Redis

# -- who is believed


async def test_a_signed_payment_makes_a_member(api: Api, redis: Redis) -> None:
    assert await send(api, callback(await order(api))) == (200, "paid")
    assert await totals(redis) == (1, 100)


async def test_what_is_not_signed_with_our_secret_is_not_believed(api: Api, redis: Redis) -> None:
    raw = callback(await order(api))
    good = signed(raw)
    now = good["webhook-timestamp"]
    forged = {
        "no headers": {},
        **{f"without {name}": {key: value for key, value in good.items() if key != name} for name in good},
        **{f"empty {name}": {**good, name: ""} for name in good},
        "a stranger's secret": signed(raw, STRANGERS_SECRET),
        "another message": {**good, "webhook-id": "msg_2"},
        "another instant": {**good, "webhook-timestamp": str(int(now) - 1)},
        "another version": {**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")},
        "a time that is none": {**good, "webhook-timestamp": "yesterday"},
        "a time out of bounds": {**good, "webhook-timestamp": "9" * 30},
        "an infinite time": {**good, "webhook-timestamp": "inf"},
        "no number": {**good, "webhook-timestamp": "nan"},
        "a negative time": {**good, "webhook-timestamp": "-1"},
    }
    for what, headers in forged.items():
        assert await send(api, raw, headers) == (401, "bad_signature"), what
    assert await totals(redis) == (0, 0)
    assert await quarantine(api) == []  # anybody could fill it otherwise
    assert await send(api, raw, good) == (200, "paid")


GARBAGE = ("", " ", ",", "v1", "v1,", "v1,,", "v1,=", "v1,a", "v1 abc", "v1,é", "v1,QUJD", "x" * 8000, "v1,QQ== " * 500)


async def test_garbage_for_a_signature_is_refused_and_breaks_nothing(api: Api) -> None:
    raw = callback(await order(api))
    for value in GARBAGE:
        assert await send(api, raw, {**signed(raw), "webhook-signature": value}) == (401, "bad_signature"), value
    assert await send(api, raw) == (200, "paid")


async def test_one_changed_byte_of_the_body_undoes_the_signature(api: Api, redis: Redis) -> None:
    raw = callback(await order(api))
    headers = signed(raw)
    for place in range(0, len(raw), 7):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        assert await send(api, changed, headers) == (401, "bad_signature"), place
    for changed in (raw + b" ", raw[:-1], b"", b" " + raw, b"\xff" + raw, raw.replace(b'"', b"\xfe", 1)):
        assert await send(api, changed, headers) == (401, "bad_signature"), changed
    assert await totals(redis) == (0, 0)


async def test_a_signature_is_good_for_five_minutes_of_the_real_clock(api: Api) -> None:
    raw = callback(await order(api))
    for age in (3600, 301, -301, -3600):
        assert await send(api, raw, signed(raw, age_seconds=age)) == (401, "bad_signature"), age
    the_games_now = str(at("20:00") // 1000)
    headers = {"webhook-id": "m", "webhook-timestamp": the_games_now}
    headers["webhook-signature"] = signature(raw, "m", the_games_now)
    if abs(time.time() - int(the_games_now)) > 300:
        assert await send(api, raw, headers) == (401, "bad_signature")
    assert await send(api, raw, signed(raw, age_seconds=290)) == (200, "paid")
    assert await send(api, raw, signed(raw, age_seconds=-290)) == (200, "already_paid")


@pytest.mark.parametrize("secrets", [f"{WEBHOOK_SECRET} {OLD_SECRET}"])
async def test_while_a_secret_is_rotated_both_are_believed_and_a_third_is_not(api: Api) -> None:
    raw = callback(await order(api))
    assert await send(api, raw, signed(raw, STRANGERS_SECRET)) == (401, "bad_signature")
    assert await send(api, raw, signed(raw, OLD_SECRET)) == (200, "paid")
    assert await send(api, raw, signed(raw)) == (200, "already_paid")
    both = signed(raw)
    both["webhook-signature"] = f"v1a,b3RoZXI= {signed(raw, OLD_SECRET)['webhook-signature']}"
    both["webhook-timestamp"] = signed(raw, OLD_SECRET)["webhook-timestamp"]
    assert await send(api, raw, both) == (200, "already_paid")


# -- what is checked, in which order

CHECKS: list[tuple[str, dict[str, Any]]] = [
    ("amount_mismatch", {"amount": 99}),
    ("transaction_missing", {"transactionId": None}),
    ("buyer_mismatch", {"buyerId": "open-8"}),
]


async def test_the_checks_come_in_the_order_of_the_rules(api: Api, redis: Redis) -> None:
    number = await order(api)
    for count in (1, 2, 3):
        for failed in itertools.combinations(CHECKS, count):
            changes = {name: value for _, some in failed for name, value in some.items()}
            assert await send(api, callback(number, **changes)) == (200, failed[0][0]), changes
            unknown = number[:-1] + ("0" if number[-1] != "0" else "1")
            assert await send(api, callback(unknown, **changes)) == (404, "order_not_found"), changes
            raw = callback(unknown, **changes)
            assert await send(api, raw, signed(raw, STRANGERS_SECRET)) == (401, "bad_signature"), changes
    assert await totals(redis) == (0, 0)
    assert await send(api, callback(number)) == (200, "paid")
    for changes in ({"amount": 99}, {"buyerId": "open-8"}, {"amount": 99, "buyerId": None}):
        assert await send(api, callback(number, **changes)) == (200, "already_paid"), changes
    assert await totals(redis) == (1, 100)


FAILING: list[tuple[dict[str, Any], str]] = [
    ({"amount": None}, "amount_mismatch"),
    ({"amount": 101}, "amount_mismatch"),
    ({"amount": -100}, "amount_mismatch"),
    ({"amount": 0}, "amount_mismatch"),
    ({"amount": 2**64 + 100}, "amount_mismatch"),
    ({"transactionId": None}, "transaction_missing"),
    ({"transactionId": ""}, "transaction_missing"),
    ({"buyerId": None}, "buyer_mismatch"),
    ({"buyerId": ""}, "buyer_mismatch"),
    ({"buyerId": "OPEN-7"}, "buyer_mismatch"),
]


async def test_a_signed_callback_that_fails_a_check_is_quarantined_with_its_body_and_credits_nobody(
    api: Api, redis: Redis
) -> None:
    number = await order(api)
    expected = set()
    for changes, code in FAILING:
        raw = callback(number, **changes)
        for _ in range(2):  # the same callback is kept once
            assert await send(api, raw) == (200, code), changes
        expected.add(("platform", code, number, raw.decode()))
    kept = await quarantine(api)
    assert {(one["channel"], one["reason"], one["order_no"], one["raw"]) for one in kept} == expected
    assert len(kept) == len(FAILING)
    assert await totals(redis) == (0, 0)
    assert await send(api, callback(number)) == (200, "paid")


NEVER_ORDERED = (
    "",
    "X",
    "TTC",
    "TTC" + "0" * 26,
    "TTC" + "z" * 26,
    "TTC" + "é" * 26,
    "ttc" + "1" * 26,
    "'; DROP TABLE orders; --",
    order_no.make("TTC", order_no.Place(DAY, 5, 7, "0" * 12)),  # in a shard that the round does not have
)


async def test_an_order_that_never_was_is_not_found_and_its_money_is_not_lost(api: Api) -> None:
    for number in NEVER_ORDERED:
        assert await send(api, callback(number)) == (404, "order_not_found"), number
    kept = {(one["reason"], one["order_no"], one["raw"]) for one in await quarantine(api)}
    assert kept == {("order_not_found", number, callback(number).decode()) for number in NEVER_ORDERED}


# -- twice, and many times


async def test_the_same_callback_fifty_times_at_once_pays_once(api: Api, redis: Redis) -> None:
    raw = callback(await order(api))
    replies = await asyncio.gather(*(send(api, raw) for _ in range(50)))
    assert sorted(replies) == [(200, "already_paid")] * 49 + [(200, "paid")]
    assert await totals(redis) == (1, 100)


async def test_a_second_payment_of_an_order_is_refunded_once_however_often_it_is_announced(
    api: Api, redis: Redis
) -> None:
    number = await order(api)
    assert await send(api, callback(number)) == (200, "paid")
    second = callback(number, transactionId="T-second")
    assert await asyncio.gather(*(send(api, second) for _ in range(20))) == [(200, "refund_due")] * 20
    assert await send(api, callback(number)) == (200, "already_paid")
    assert await totals(redis) == (1, 100)
    await outbox.drain(api.service.store, api.service.redis, DAY, 0)
    figures = (await api.send("GET", f"/ops/rounds/{DAY}", headers=api.token(99, "operator")))[1]["data"]
    assert (figures["refunds"], figures["refunds_fen"]) == (1, 100)


# -- when


PAYMENTS: list[tuple[int, str | None, str]] = [
    # before joining closes
    (at("20:00"), "2026-11-22 19:59:59", "paid"),
    (at("00:00", 1, -1), "2026-11-22 23:59:59", "paid"),
    # until check-in opens
    (at("00:00", 1), "2026-11-22 23:59:59", "paid"),
    (at("00:00", 1, 1_000), "2026-11-23 00:00:00", "refund_due"),
    (at("05:00", 1, -1), "2026-11-22 23:59:59", "paid"),
    (at("05:00", 1, -1), "2026-11-23 00:00:00", "refund_due"),
    # during check-in
    (at("05:00", 1), "2026-11-22 23:59:59", "paid"),
    (at("05:00", 1), "2026-11-23 00:00:00", "refund_due"),
    (at("08:00", 1, -1), "2026-11-22 23:59:59", "paid"),
    # after check-in closes
    (at("08:00", 1, 5_000), "2026-11-22 23:59:59", "refund_due"),
    (at("12:00", 1), "2026-11-23 00:00:00", "refund_due"),
    (at("12:00", 3), "2026-11-22 20:00:00", "refund_due"),
    # the formats of notify_time, and time zones
    (at("01:00", 1), "2026-11-22T23:59:59+08:00", "paid"),
    (at("01:00", 1), "2026-11-22T15:59:59Z", "paid"),
    (at("01:00", 1), "2026-11-22T15:59:59.999Z", "paid"),
    (at("01:00", 1), "2026-11-22T16:00:00Z", "refund_due"),
    (at("01:00", 1), "2026-11-22t15:59:59z", "paid"),
    (at("01:00", 1), "2026-11-22T15:59:59.123456789Z", "paid"),
    (at("01:00", 1), "2026-11-22T10:59:59-05:00", "paid"),
    # missing, unreadable or in the future: the time of receipt
    (at("20:00"), None, "paid"),
    (at("20:00"), "2026-11-23 00:00:01", "paid"),
    (at("20:00"), "9999-12-31 23:59:59", "paid"),
    (at("20:00"), "an hour ago", "paid"),
    (at("01:00", 1), None, "refund_due"),
    (at("01:00", 1), "", "refund_due"),
    (at("01:00", 1), "an hour ago", "refund_due"),
    (at("01:00", 1), "20261122235959x", "refund_due"),
    (at("01:00", 1), "0001-01-01 00:00:00", "refund_due"),
    (at("01:00", 1), "1795363199", "refund_due"),
    (at("01:00", 1), "2026-11-22", "refund_due"),
    (at("01:00", 1), "2026-W47-7T20:00:00Z", "refund_due"),
    (at("01:00", 1), "2026-11-23 02:00:00", "refund_due"),
]


async def test_what_becomes_of_a_payment_is_decided_by_when_it_was_made_and_when_it_arrives(
    api: Api, redis: Redis
) -> None:
    orders = {uid: await order(api, uid) for uid in range(1, len(PAYMENTS) + 1)}
    for (uid, number), (arrives, paid_at, code) in zip(orders.items(), PAYMENTS, strict=True):
        api.service.time.stop_at(arrives)
        raw = callback(number, buyerId=f"open-{uid}", notify_time=paid_at)
        assert await send(api, raw) == (200, code), (arrives, paid_at)
        again = "already_paid" if code == "paid" else "refund_due"
        assert await send(api, raw) == (200, again), (arrives, paid_at)
    members = sum(code == "paid" for _, _, code in PAYMENTS)
    assert await totals(redis) == (members, 100 * members)


async def test_a_late_member_may_check_in_and_is_refunded_if_not_never_forfeited(api: Api) -> None:
    early = [await order(api, uid) for uid in (1, 2)]
    late = {uid: await order(api, uid) for uid in (UID, 8)}
    for uid, number in zip((1, 2), early, strict=True):
        assert (await api.pay(number, uid))[1]["code"] == "paid"
    api.service.time.stop_at(at("06:00", 1))
    for uid, number in late.items():
        assert await send(api, callback(number, buyerId=f"open-{uid}")) == (200, "paid")
    assert (await api.post("/api/check-in", 1))["code"] == "checked_in"
    assert (await api.post("/api/check-in", UID))["code"] == "checked_in"
    api.service.time.stop_at(at("08:05", 1))
    assert await api.service.settling.settle(DAY) == "settled"
    figures = (await api.send("GET", f"/ops/rounds/{DAY}", headers=api.token(99, "operator")))[1]["data"]
    assert (figures["members"], figures["winners"], figures["late"]) == (4, 2, 2)
    assert (figures["forfeited"], figures["pot"]) == (
        100,
        100,
    )  # user 2 overslept; user 8 was late, and is not to blame
    assert (figures["refunds"], figures["refunds_fen"]) == (1, 100)
