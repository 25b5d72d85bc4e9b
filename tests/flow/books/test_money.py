"""What follows from a row, money and counts, happens once."""

from typing import Any

from clock.books import outbox
from clock.service import Service
from tests.conftest import DAY, at
from tests.flow.books.stage import SHARD, Entry, Person, add, crowd, entries_of, payments


async def money(service: Service) -> dict[str, list[tuple[Any, ...]]]:
    """What follows from the rows of the books."""
    queries = {
        "transfers": "SELECT kind, cause, uid, from_account, to_account, amount_fen FROM transfers ORDER BY 1, 2",
        "outgoing": "SELECT no, kind, uid, amount_fen FROM outgoing ORDER BY 1",
        "steps": "SELECT step, sum(count)::int FROM steps GROUP BY 1 ORDER BY 1",
    }
    async with service.store.transaction() as connection:
        return {
            name: [tuple(row.values()) for row in await (await connection.execute(query.encode())).fetchall()]
            for name, query in queries.items()
        }


async def test_what_follows_from_a_row_happens_once_beside_rows_that_are_new(process: Service) -> None:
    """Entries that come again share a transaction with entries that nobody has read."""
    entries = entries_of(crowd(9), 4)
    await add(process, entries)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    once = await money(process)
    # 9 stakes, 3 unwanted payments, 9 stakes back, 8 packets (one has 0 fen), 9 payouts; 9 payouts and 3 refunds.
    assert {name: len(found) for name, found in once.items()} == {"transfers": 38, "outgoing": 12, "steps": 4}
    fresh = [
        ["payment", at("22:00"), payments(77, Person())],
        ["checked_in", at("22:00"), 78, [77]],
        ["claimed", at("22:00"), "user", 100, 77, [77], [3]],
    ]
    await add(process, entries + fresh)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    after = await money(process)
    added = {name: sorted(set(after[name]) - set(once[name])) for name in ("transfers", "outgoing")}
    assert [(kind, fen) for kind, _, _, _, _, fen in added["transfers"]] == [
        ("packet", 3),
        ("payout", 103),
        ("stake", 100),
        ("stake_back", 100),
    ]
    assert added["outgoing"] == [(f"P{DAY:%Y%m%d}77", "payout", 77, 103)]
    assert [len(after[name]) - len(once[name]) for name in ("transfers", "outgoing")] == [4, 1]
    steps = dict(once["steps"])
    assert dict(after["steps"]) == steps | {step: steps[step] + 1 for step in ("paid", "checked_in", "claimed")}


async def test_a_packet_that_two_users_claim_is_paid_to_the_first(process: Service) -> None:
    """Two servers gave one rank: the books keep what they have, and reconciling will say it."""
    claims: list[Entry] = [["claimed", at("22:00", n), "user", 100, 0, [uid], [5]] for n, uid in enumerate((1, 2))]
    await add(process, claims)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    found = await money(process)
    assert {row[2] for row in found["transfers"]} == {1} and len(found["transfers"]) == 3
    assert found["outgoing"] == [(f"P{DAY:%Y%m%d}1", "payout", 1, 105)]


async def test_a_payment_that_counted_is_not_given_back_because_redis_forgot_it(process: Service) -> None:
    """Redis has fallen behind the books, and says of a callback that comes again that it came too late."""
    again = Person(outcomes=("refund_closed",))
    await add(process, [["payment", at("20:00"), payments(1, Person())]])
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    before = await money(process)
    await add(process, [["payment", at("22:00"), payments(1, again) + payments(2, again)]])
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    after = await money(process)
    assert [row[:3] for row in set(after["transfers"]) - set(before["transfers"])] == [("unwanted", "N2:T0", 2)]
    assert [(kind, uid) for _, kind, uid, _ in after["outgoing"]] == [("refund", 2)]
