"""What is kept of a signed callback and not looked at never fails its payment."""

import itertools

import psycopg

from tests.conftest import Api
from tests.flow.callbacks.stage import callback, order, quarantine, send, signed, totals
from tests.raw import Redis

UNREADABLE = (
    b"{",
    b"[]",
    b"null",
    b"",
    b"\x00",
    b"not json at all",
    b'{"extra": {}}',
    b'{"order_no": 7, "extra": {}}',
    b'{"order_no": "TTC1", "extra": []}',
    b'{"order_no": "TTC1", "extra": {"amount": "100"}}',
    b'{"order_no": "TTC1", "extra": {"amount": 100.0}}',
    b'{"order_no": "TTC1", "extra": {"amount": true}}',
    b'{"order_no": "TTC1", "extra": {"transactionId": "\\u0000"}}',
)


async def test_what_is_signed_but_cannot_be_read_is_a_bad_request_and_kept_too(api: Api) -> None:
    for raw in UNREADABLE:
        assert await send(api, raw) == (400, "bad_request"), raw
    assert {(one["channel"], one["reason"]) for one in await quarantine(api)} == {("platform", "malformed")}
    async with await psycopg.AsyncConnection.connect(api.settings.database_url) as connection:
        cursor = await connection.execute("SELECT raw FROM quarantine")
        assert sorted(raw for (raw,) in await cursor.fetchall()) == sorted(UNREADABLE)


KEPT = {
    "half an emoji": b'"ab\\ud83d"',
    "another half": b'"\\uDE00ab"',
    "an emoji in two halves": b'"\\ud83d\\ude00"',
    "a number": b"13800000007",
    "a fraction": b"1e3",
    "no": b"false",
    "nothing": b"null",
    "an object": b'{"a": [{"b": "\\ud83d"}]}',
    "a NUL": b'"\\u0000"',
    "not UTF-8": '"微信"'.encode("gbk"),
    "a long text": b'"%b"' % (b"x" * 30_000),
}


async def test_what_is_kept_and_not_looked_at_never_fails_a_payment(api: Api, redis: Redis) -> None:
    fields = ("content", "nickname", "mobile", "notify_time", "unheard_of")
    for uid, (what, field) in enumerate(itertools.product(KEPT, fields), 100):
        order = (await api.join(uid))["data"]["order_no"]
        raw = (
            b'{"order_no": "%b", "extra": {"amount": 100, "buyerId": "open-%d", "transactionId": "T%d", "%b": %b}}'
            % (
                order.encode(),
                uid,
                uid,
                field.encode(),
                KEPT[what],
            )
        )
        assert await send(api, raw) == (200, "paid"), (what, field)
        assert await send(api, raw) == (200, "already_paid"), (what, field)
    number = len(KEPT) * len(fields)
    assert await totals(redis) == (number, 100 * number)
    assert await quarantine(api) == []


async def test_a_byte_order_mark_fails_no_payment_and_half_an_emoji_in_a_buyer_is_a_mismatch(api: Api) -> None:
    number = await order(api)
    raw = callback(number, buyerId="open-7x").replace(b"open-7x", b"open-7\\ud83d")
    assert await send(api, raw) == (200, "buyer_mismatch")
    (kept,) = await quarantine(api)
    assert kept["why_not"] == ""
    assert await send(api, b"\xef\xbb\xbf" + callback(number)) == (200, "paid")


async def test_half_an_emoji_in_a_profile_costs_the_half(api: Api) -> None:
    extra = b'{"mobile": "13800000008", "nickname": "ab\\ud83d", "openId": "open-\\ude008"}'
    body = b'{"uid": 8, "extra": %b}' % extra
    status, reply = await api.send("POST", "/api/join", body, api.token(8))
    assert (status, reply["code"]) == (200, "ordered")
    paid = callback(reply["data"]["order_no"], buyerId="open-?8").replace(b"open-?8", b"open-\\ude008")
    assert await send(api, paid) == (200, "paid")
    status, reply = await api.send("POST", "/api/join", body.replace(b'"ab\\ud83d"', b"7"), api.token(8))
    assert (status, "nickname" in reply["message"]) == (400, True)


async def test_any_good_signature_of_several_lines_counts(api: Api) -> None:
    raw = callback(await order(api))
    good = signed(raw)
    for lines in (
        ("v1,bad", good["webhook-signature"]),
        (good["webhook-signature"], "v1,bad"),
        ("v1,QUJD v2,x", good["webhook-signature"]),
    ):
        headers = [(name, value) for name, value in good.items() if name != "webhook-signature"]
        headers += [("webhook-signature", line) for line in lines]
        async with api.session.post(api.url + "/callbacks/platform", data=raw, headers=headers) as reply:
            assert reply.status == 200, lines
