"""The tables hold what the stream said, all of it."""

import hypothesis
import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from clock.books import outbox
from clock.channels.platform import PaymentCallback
from clock.config import Settings
from clock.domain.shapes import Extra
from clock.service import Service
from tests.conftest import DAY, at
from tests.flow.books.stage import SHARD, Person, add, entries_of, expected_tables, read_tables, same
from tests.model.world import arrived, forgetful, new_world
from tests.payments import paid

people = st.builds(
    Person,
    outcomes=st.sampled_from(
        [
            (),
            ("paid",),
            ("paid_late",),
            ("paid", "refund_second"),
            ("refund_late", "paid"),
            ("refund_closed",),
            ("refund_void", "refund_void"),
        ]
    ),
    wakes=st.booleans(),
    packet_fen=st.none() | st.integers(0, 10**12),
    by=st.sampled_from(["user", "system"]),
    nickname=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12),
    raw=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
)


@hypothesis.settings(
    max_examples=20,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(people=st.lists(people, max_size=12), size=st.integers(1, 5))
async def test_the_tables_hold_exactly_what_the_stream_said(
    settings: Settings, people: list[Person], size: int
) -> None:
    async with forgetful(settings), new_world(settings) as service:
        await service.opener.open_round(DAY)
        entries = entries_of(people, size)
        await add(service, entries)
        assert await outbox.drain(service.store, service.redis, DAY, SHARD) == len(entries)
        same(await read_tables(service), expected_tables(entries))
        assert await outbox.depth(service.redis, DAY, 1) == 0


@pytest.mark.parametrize("text", ['"', "\\", '\\"', "{a,b}", "NULL", " ", ",", "\n\t", "%s", "\\x00", "早\u202e🐓"])
async def test_a_text_reaches_the_books_as_it_is(process: Service, text: str) -> None:
    """Rows are sent as the text of an array, which has letters of its own."""
    entries = entries_of([Person(nickname=text, raw=text), Person(nickname="", raw="")], 2)
    await add(process, entries)
    assert await outbox.drain(process.store, process.redis, DAY, SHARD) == len(entries)
    same(await read_tables(process), expected_tables(entries))


async def test_a_payment_whose_body_is_not_utf_8_reaches_the_books(process: Service) -> None:
    """Text in a field that nobody reads may be in another encoding; the parser does not look at it."""
    process.time.stop_at(at("20:00"))
    extra = Extra(mobile="13800000007", nickname="早", openId="open-7")
    number = (await process.verbs.join(7, extra, arrived())).data["order_no"].encode()
    fields = b'"amount": 100, "buyerId": "open-7", "transactionId": "T7"'
    raw = b'{"order_no": "%s", "extra": {%s, "memo": "%s"}}' % (number, fields, "你好".encode("gb18030"))
    callback = msgspec.json.decode(raw, type=PaymentCallback)
    assert (await process.incoming.pay(paid(callback, raw), "platform", arrived())).word == "paid"
    for shard in range(2):
        await outbox.drain(process.store, process.redis, DAY, shard)
    assert [row[0] for row in (await read_tables(process))["members"]] == [7]
