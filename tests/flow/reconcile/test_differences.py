"""Whatever is planted is named, with its order or user, and nothing else is."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from clock.audit.reconcile import reconcile
from clock.config import Settings
from clock.game import keys
from tests.conftest import DAY
from tests.flow.reconcile.stage import Ended, named
from tests.flow.stage import People, bill, move
from tests.model.world import new_world
from tests.raw import raw

MEMBERS = keys.name(DAY, 0, "members")


Plant = Callable[[Ended], Awaitable[None]]


def changed(statement: str, *parameters: Any) -> Plant:
    async def plant(ended: Ended) -> None:
        await ended.people.tamper(statement, *parameters)

    return plant


def record(uid: int, value: bytes | None) -> Plant:
    """A user's record in Redis is replaced; ``None``: removed."""

    async def plant(ended: Ended) -> None:
        redis: Any = ended.people.service.redis
        if value is None:
            assert await redis.hdel(MEMBERS, str(uid)) == 1
        else:
            old: bytes = await redis.hget(MEMBERS, uid) or b"O"
            await redis.hset(MEMBERS, uid, value + old[1:])

    return plant


async def another_packet(ended: Ended) -> None:
    """What a user who asks again is told of the packet."""
    redis: Any = ended.people.service.redis
    await redis.lset(keys.pieces(keys.name(DAY, 0, "packets"), 1)[0], 0, 99_999)


async def another_rank(ended: Ended) -> None:
    redis: Any = ended.people.service.redis
    old = await redis.hget(MEMBERS, 1)
    await redis.hset(MEMBERS, 1, old[:-1] + b"\x63")


async def payout_never_queued(ended: Ended) -> None:
    """The books owe it, and nobody is going to send it."""
    await ended.people.tamper("DELETE FROM outgoing WHERE no = %s", ended.payout(3))
    await ended.people.tamper("DELETE FROM transfers WHERE kind = 'payout_sent' AND cause = %s", ended.payout(3))
    ended.channel.provider.books.db.execute("DELETE FROM movements WHERE no = ?", (ended.payout(3),))


async def another_pool(ended: Ended) -> None:
    redis: Any = ended.people.service.redis
    await redis.hincrby(keys.name(DAY, 0, "totals"), "pool_fen", 100)


async def payment_not_billed(ended: Ended) -> None:
    ended.channel.provider.books.db.execute("DELETE FROM payments WHERE payer = 'open-4'")


async def payment_with_another_amount(ended: Ended) -> None:
    ended.channel.provider.books.db.execute("UPDATE payments SET amount = 99 WHERE payer = 'open-4'")


async def payment_of_a_wrong_amount_unheard(ended: Ended) -> None:
    bill(ended.channel, ended.order(8), "T8", 8, amount=1)


async def payout_not_billed(ended: Ended) -> None:
    ended.channel.provider.books.db.execute("DELETE FROM movements WHERE no = ?", (ended.payout(2),))


async def payout_twice_as_large(ended: Ended) -> None:
    ended.channel.provider.books.db.execute("UPDATE movements SET amount = 2 * amount WHERE no = ?", (ended.payout(2),))


async def payout_unknown_to_the_books(ended: Ended) -> None:
    move(ended.channel, ended.payout(77), "transfer", 500)


async def refund_unknown_to_the_books(ended: Ended) -> None:
    move(ended.channel, "R" + 31 * "f", "refund", 100, ended.order(4))


async def a_payment_that_only_redis_knows(ended: Ended) -> None:
    """The row and its transfer are gone; Redis says that it has been dealt with."""
    await ended.people.tamper("DELETE FROM payments WHERE transaction_id = 'T-second'")
    await ended.people.tamper("DELETE FROM transfers WHERE kind = 'unwanted'")


PLANTED: dict[str, tuple[Plant, str, str]] = {
    # what is wrong                                  how                      what must be named, of whom
    "an order is missing": (changed("DELETE FROM orders WHERE uid = 8"), "user_state", "user 8"),
    "a member is missing": (changed("DELETE FROM members WHERE uid = 4"), "user_state", "user 4"),
    "a winner's membership is missing": (changed("DELETE FROM members WHERE uid = 1"), "user_state", "user 1"),
    "a check-in is missing": (changed("DELETE FROM check_ins WHERE uid = 1"), "user_state", "user 1"),
    "a claim is missing": (changed("DELETE FROM claims WHERE uid = 1"), "user_state", "user 1"),
    "a payment is missing": (
        changed("DELETE FROM payments WHERE uid = 4"),
        "ledger_stake",
        "{order 4}:S{order 4}0",
    ),
    "a payment is missing everywhere but in Redis": (a_payment_that_only_redis_knows, "payment_unheard", "{order 1}"),
    "a refund is missing": (changed("DELETE FROM refunds WHERE uid = 7"), "ledger_refund", "{order 7}:S{order 7}0"),
    "a refund of a second payment is missing": (changed("DELETE FROM refunds WHERE uid = 1"), "", "{refund 1}"),
    "a payment has another amount": (
        changed("UPDATE payments SET amount_fen = 99 WHERE uid = 4"),
        "payment_amount",
        "order {order 4}",
    ),
    "a claim has another packet": (
        changed("UPDATE claims SET packet_fen = packet_fen + 1 WHERE uid = 1"),
        "claim_not_in_manifest",
        "user 1",
    ),
    "a packet has another sum": (
        changed("UPDATE packets SET fen = fen + 1 WHERE index = 0"),
        "manifest",
        "2026-11-22",
    ),
    "the fee has another sum": (changed("UPDATE rounds SET fee_fen = fee_fen + 1"), "ledger_fee", "settlement"),
    "a transfer is missing": (changed("DELETE FROM transfers WHERE kind = 'packet' AND uid = 1"), "ledger_packet", "1"),
    "a transfer that says that money was sent is missing": (
        changed("DELETE FROM transfers WHERE kind = 'payout_sent' AND uid = 1"),
        "ledger_payout_sent",
        "{payout 1}",
    ),
    "a transfer has another amount": (
        changed("UPDATE transfers SET amount_fen = amount_fen + 1 WHERE kind = 'packet' AND uid = 1"),
        "ledger_packet",
        "1",
    ),
    "a transfer went to somebody else": (
        changed("UPDATE transfers SET to_account = 'user:666' WHERE kind = 'packet' AND uid = 1"),
        "ledger_packet",
        "1",
    ),
    "a transfer has no row that it follows from": (
        changed(
            "INSERT INTO transfers SELECT day, kind, '4', 4, from_account, 'user:4', 1, at_ms FROM transfers"
            " WHERE kind = 'packet' AND uid = 1"
        ),
        "ledger_packet",
        "4",
    ),
    "what is owed was never queued": (payout_never_queued, "", "{payout 3}"),
    "a payout has another amount": (
        changed("UPDATE outgoing SET amount_fen = amount_fen + 1 WHERE uid = 2"),
        "payout_not_as_billed",
        "{payout 2}",
    ),
    "a record in Redis is another": (record(4, b"C"), "user_state", "user 4"),
    "a record in Redis is missing": (record(4, None), "user_state", "user 4"),
    "a record in Redis is nobody's": (record(99, b"M"), "user_state", "user 99"),
    "a packet in Redis is another": (another_packet, "packets", "shard 0"),
    "a rank in Redis is another": (another_rank, "user_state", "user 1"),
    "a total in Redis is another": (another_pool, "", "pool_fen"),
    "a payment is not billed": (payment_not_billed, "payment_not_billed", "order {order 4}"),
    "a payment is billed with another amount": (payment_with_another_amount, "payment_amount", "order {order 4}"),
    "a payment of a wrong amount is billed": (payment_of_a_wrong_amount_unheard, "payment_unheard", "order {order 8}"),
    "a payout is not billed": (payout_not_billed, "payout_not_as_billed", "{payout 2}"),
    "a payout is billed twice as large": (payout_twice_as_large, "payout_not_as_billed", "{payout 2}"),
    "a payout is billed that the books do not have": (payout_unknown_to_the_books, "", "{payout 77}"),
    "a refund is billed that the books do not have": (refund_unknown_to_the_books, "", "R" + 31 * "f"),
}
"""``{order 4}`` stands for that user's order, and so on. No name: any, as long as the subject is there."""


@pytest.mark.parametrize("name", PLANTED)
async def test_what_does_not_agree_is_named(ended: Ended, name: str) -> None:
    plant, what, subject = PLANTED[name]
    for uid in (1, 2, 3, 4, 7, 8, 77):
        subject = subject.replace(f"{{order {uid}}}", ended.people.orders.get(uid, ""))
        subject = subject.replace(f"{{payout {uid}}}", ended.payout(uid))
    [second] = await ended.people.rows("SELECT refund_no FROM refunds WHERE transaction_id = 'T-second'")
    subject = subject.replace("{refund 1}", second["refund_no"])
    await plant(ended)
    found = named(await ended.report())
    assert any(one.startswith(what) and subject in other for one, other in found), found


async def test_nothing_that_agrees_is_named(ended: Ended) -> None:
    await ended.people.tamper("UPDATE transfers SET amount_fen = amount_fen + 1 WHERE kind = 'packet' AND uid = 1")
    assert named(await ended.report()) == {("ledger_packet", "1"), ("pool_not_empty", f"pool:{DAY}")}


async def test_a_live_round_that_redis_has_lost_is_named(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await people.members(1, 2)
        await people.drain()
        await raw(service.redis).flushall()
        report = await reconcile(service, DAY)
        assert report is not None
        assert named(report) == {("round_missing", "shard 0")}
