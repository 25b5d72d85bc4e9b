"""Compares three sources on the demo's round: the players' journal, Postgres and Redis.

:func:`differences` gives the demo's verdict; it knows nothing of how the round was played.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, Literal

import msgspec
import psycopg
from psycopg.rows import dict_row
from rich.table import Table

from clock.audit import packets
from clock.books import outbox
from clock.domain.rounds import Rules
from clock.domain.split import Split, fee, split
from clock.fair.statements import FAILED
from clock.game import keys, totals
from clock.game.client.commands import Commands
from clock.game.totals import Totals

Pays = Literal["once", "repeated", "dev", "twice", "never", "after_midnight", "in_the_morning"]

FIELDS_OF = {"O": 3, "M": 5, "L": 5, "C": 5, "P": 5}
"""How many MessagePack values follow the state byte of a member's record (``lua/prelude.lua``)."""


class Player(msgspec.Struct):
    """What one player intends, and the journal of what the service has acknowledged to them."""

    uid: int
    pays: Pays = "once"
    sleeps: bool = False
    taps: int = 1
    forgets: bool = False
    authorization: str = ""
    order_no: str = ""
    pay: dict[str, Any] = {}
    """What the service gave to pay with, where the provider has to be asked for it."""
    withdrawn_fen: int = 0
    is_member: bool = False
    refunds: int = 0
    """Payments that were answered with ``refund_due``, each transaction once."""
    firsts: int = 0
    """How often ``checked_in`` was answered, instead of ``already_checked_in``."""
    is_winner: bool = False
    packet_fen: int | None = None

    @property
    def is_late(self) -> bool:
        return self.pays == "in_the_morning"


class Claim(msgspec.Struct, frozen=True):
    packet_fen: int
    stake_fen: int
    by: str
    manifest_fen: int | None
    """The manifest's packet at the index of this claim."""


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """A round in Postgres. ``refunds_fen`` has the sum and ``refunds`` the number of a user's refunds."""

    round: dict[str, Any]
    rules: Rules
    paid_fen: int
    orders: dict[int, str]
    members: dict[int, bool]
    """uid to whether the member was late."""
    winners: frozenset[int]
    claims: dict[int, Claim]
    refunds: Counter[int]
    refunds_fen: int
    packets: list[int]
    sent_fen: Counter[str]
    """By ``payout`` and ``refund``: fen confirmed by the provider; ``waiting_fen``: fen still on the way."""
    waiting_fen: Counter[str]
    withdrawn_fen: dict[int, int]
    """By user, since the round: what the provider has paid out of balances."""
    pulls: bool
    """Whether the channel does: stakes go back as refunds then, and packets into balances."""
    pool_received_fen: int
    pool_left_fen: int
    """The sum of all credits of the round's pool account, and its balance."""
    quarantined: int


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """A round in Redis."""

    states: dict[int, str]
    packets: dict[int, int]
    """By user: of those who claimed, the packet of their rank."""
    totals: Totals
    outbox_depth: int


async def read_books(database_url: str, day: date, pulls: bool) -> Books:
    """Everything about the round in Postgres, in one snapshot."""
    async with await psycopg.AsyncConnection.connect(database_url, row_factory=dict_row) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)

        async def rows(text: Any) -> list[dict[str, Any]]:
            return await (await connection.execute(text, {"day": day})).fetchall()

        (round_,) = await rows("SELECT * FROM rounds WHERE day = %(day)s")
        orders = await rows("SELECT uid, order_no FROM orders WHERE day = %(day)s")
        members = await rows("SELECT uid, late FROM members WHERE day = %(day)s")
        winners = await rows("SELECT uid FROM check_ins WHERE day = %(day)s")
        claims = await rows(
            "SELECT c.uid, c.packet_fen, c.stake_fen, c.by, p.fen FROM claims c"
            " LEFT JOIN packets p USING (day, shard, index) WHERE c.day = %(day)s"
        )
        refunds = await rows("SELECT uid, amount_fen FROM refunds WHERE day = %(day)s")
        packets = await rows("SELECT fen FROM packets WHERE day = %(day)s ORDER BY shard, index")
        payments = await rows("SELECT amount_fen FROM payments WHERE day = %(day)s")
        outgoing = await rows(
            "SELECT kind, state = 'done' AS done, sum(amount_fen)::bigint AS fen FROM outgoing"
            " WHERE day = %(day)s AND state <> 'failed' GROUP BY 1, 2"
        )
        withdrawn = await rows(
            "SELECT uid, sum(amount_fen)::bigint AS fen FROM outgoing"
            " WHERE day >= %(day)s AND kind = 'withdrawal' AND state = 'done' GROUP BY uid"
        )
        pool = await rows("SELECT amount_fen FROM postings WHERE day = %(day)s AND account = 'pool:' || %(day)s::date")
        (quarantine,) = await rows("SELECT count(*) AS kept FROM quarantine WHERE day = %(day)s")
    return Books(
        round=round_,
        rules=msgspec.convert(round_["rules"], Rules),
        paid_fen=sum(row["amount_fen"] for row in payments),
        orders={row["uid"]: row["order_no"] for row in orders},
        members={row["uid"]: row["late"] for row in members},
        winners=frozenset(row["uid"] for row in winners),
        claims={r["uid"]: Claim(r["packet_fen"], r["stake_fen"], r["by"], r["fen"]) for r in claims},
        refunds=Counter(row["uid"] for row in refunds),
        refunds_fen=sum(row["amount_fen"] for row in refunds),
        packets=[row["fen"] for row in packets],
        sent_fen=Counter({row["kind"]: row["fen"] for row in outgoing if row["done"]}),
        waiting_fen=Counter({row["kind"]: row["fen"] for row in outgoing if not row["done"]}),
        pulls=pulls,
        withdrawn_fen={row["uid"]: row["fen"] for row in withdrawn},
        pool_received_fen=sum(row["amount_fen"] for row in pool if row["amount_fen"] > 0),
        pool_left_fen=sum(row["amount_fen"] for row in pool),
        quarantined=quarantine["kept"],
    )


async def count_sent(database_url: str, day: date) -> tuple[int, int]:
    """How many payouts and refunds of the round are final, and how many there are."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        counted = await connection.execute(
            "SELECT count(*) FILTER (WHERE ended_at IS NOT NULL), count(*) FROM outgoing WHERE day = %s", [day]
        )
        ended, all_of_them = await counted.fetchone() or (0, 0)
    return ended, all_of_them


async def count_withdrawn(database_url: str, day: date) -> tuple[int, int]:
    """How many withdrawals since the round have been paid, and how many there are."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        counted = await connection.execute(
            "SELECT count(*) FILTER (WHERE state = 'done'), count(*) FROM outgoing"
            " WHERE day >= %s AND kind = 'withdrawal'",
            [day],
        )
        paid, all_of_them = await counted.fetchone() or (0, 0)
    return paid, all_of_them


async def read_memory(redis: Commands, day: date, shards: int) -> Memory:
    """Everything about the round in Redis."""
    states, claimed = {}, {}
    for shard in range(shards):
        fens = await packets.read(redis, day, shard)
        for uid, record in (await redis.hgetall(keys.name(day, shard, "members"))).items():
            state = chr(record[0])
            states[int(uid)] = state
            # Prefix the consecutive values with an array header, to decode them as one array.
            values = msgspec.msgpack.decode(bytes([0x90 + FIELDS_OF[state]]) + record[1:])
            if state == "P":
                claimed[int(uid)] = fens[values[-1] - 1]
    return Memory(
        states=states,
        packets=claimed,
        totals=await totals.read(redis, day, shards),
        outbox_depth=await outbox.depth(redis, day, shards),
    )


def differences(players: Iterable[Player], seed_hash: str, books: Books, memory: Memory) -> dict[str, list[str]]:
    """Each statement that must hold, with the contradictions found. ``seed_hash``: as published before the game."""
    return {
        "what players were told is what the books say": list(_untold(players, books)),
        "Redis and Postgres agree, user by user": list(_unlike(books, memory)),
        "the seed has the published hash, the packets follow from it, and each was given once": list(
            _unfair(seed_hash, books)
        ),
        "every fen that was paid is in exactly one place": list(_unbalanced(books)),
    }


def _untold(players: Iterable[Player], books: Books) -> Iterator[str]:
    expected: Counter[int] = Counter()
    told: dict[str, set[int]] = {"orders": set(), "members": set(), "winners": set()}
    for player in players:
        uid, claim = player.uid, books.claims.get(player.uid)
        told["orders"].add(uid)
        if player.is_member:
            told["members"].add(uid)
        if player.is_winner:
            told["winners"].add(uid)
        expected[uid] = player.refunds + (player.is_late and player.is_member and not player.is_winner)
        if books.orders.get(uid) != player.order_no:
            yield f"user {uid} has order {player.order_no}, the books have {books.orders.get(uid)}"
        if player.withdrawn_fen != (sent_fen := books.withdrawn_fen.get(uid, 0)):
            yield f"user {uid} has withdrawn {player.withdrawn_fen} fen, the books have {sent_fen}"
        if player.firsts > 1:
            yield f"user {uid} was told {player.firsts} times to be the first to check in"
        if player.packet_fen is not None:
            if claim is None or (claim.packet_fen, claim.by) != (player.packet_fen, "user"):
                yield f"user {uid} was given {player.packet_fen} fen, the books say {claim}"
        elif player.is_winner and (claim is None or claim.by != "system"):
            yield f"user {uid} forgot to claim and was not credited: {claim}"
    for name, found in (("orders", books.orders), ("members", books.members), ("winners", books.winners)):
        yield from _set_differences(f"{name} as told", told[name], f"{name} in the books", set(found))
    for uid in expected.keys() | books.refunds.keys():
        if expected[uid] != books.refunds[uid]:
            yield f"user {uid} is owed {expected[uid]} refunds, the books have {books.refunds[uid]}"


def _unlike(books: Books, memory: Memory) -> Iterator[str]:
    in_redis = {
        letters: {u for u, s in memory.states.items() if s in letters} for letters in ("OMLCP", "MLCP", "CP", "P")
    }
    pairs: list[tuple[str, str, set[int]]] = [
        ("orders", "OMLCP", set(books.orders)),
        ("members", "MLCP", set(books.members)),
        ("winners", "CP", set(books.winners)),
        ("claims", "P", set(books.claims)),
    ]
    for name, letters, recorded in pairs:
        yield from _set_differences(f"{name} in Redis", in_redis[letters], f"{name} in Postgres", recorded)
    for uid, packet in memory.packets.items():
        claim = books.claims.get(uid)
        if claim and claim.packet_fen != packet:
            yield f"user {uid} has a packet of {packet} fen in Redis, of {claim.packet_fen} in Postgres"
    sums, row = memory.totals, books.round
    counted = {
        "members": (sums.members, row["members"], len(books.members)),
        "winners": (sums.winners, row["winners"], len(books.winners)),
        "late members": (sums.late, row["late"], sum(books.members.values())),
        "pool": (sums.pool_fen, row["pool_fen"], books.rules.stake_fen * len(books.members)),
        "packets": (sums.published, sums.claimed, len(books.packets), len(books.claims)),
        "fen in packets": (sums.published_fen, sums.claimed_fen, sum(books.packets)),
        "events on their way": (memory.outbox_depth, 0),
    }
    for name, values in counted.items():
        if len(set(values)) > 1:
            yield f"{name}: {', '.join(map(str, values))} should be one number"


def _unfair(seed_hash: str, books: Books) -> Iterator[str]:
    row, rules = books.round, books.rules
    seed_hashes = {seed_hash, row["seed_hash"].hex(), hashlib.sha256(row["seed"]).hexdigest()}
    if len(seed_hashes) > 1:
        yield f"the seed's hash: {', '.join(sorted(seed_hashes))}"
    how = Split(
        mode=rules.split,
        lucky_count=rules.lucky_count,
        lucky_bps=rules.lucky_bps,
        packet_cap_fen=rules.packet_cap_fen,
    )
    if row["draw"] in FAILED:
        how = Split(mode="equal", packet_cap_fen=rules.packet_cap_fen)
    again = split(row["drawn"] or row["seed"], row["pot_fen"], row["winners"], how)
    left_fen = row["carried_out_fen"] + row["bonus_back_fen"]
    if list(again.packets_fen) != books.packets or again.carried_fen != left_fen:
        yield "the packets recomputed from the seed are not the manifest's"
    for uid, claim in books.claims.items():
        if claim.manifest_fen != claim.packet_fen:
            yield f"user {uid} got {claim.packet_fen} fen, the manifest has {claim.manifest_fen} at that place"


def _unbalanced(books: Books) -> Iterator[str]:
    row, rules = books.round, books.rules
    stakes_fen = sum(claim.stake_fen for claim in books.claims.values())
    packets_fen = sum(claim.packet_fen for claim in books.claims.values())
    out_fen = books.sent_fen + books.waiting_fen
    equal = {
        "paid = stakes returned + forfeited + refunds": (
            books.paid_fen,
            stakes_fen + row["forfeited_fen"] + books.refunds_fen,
        ),
        "pot = forfeited - fee + carried in + bonus": (
            row["pot_fen"],
            row["forfeited_fen"] - row["fee_fen"] + row["carried_in_fen"] + row["bonus_fen"],
        ),
        "fee": (row["fee_fen"], fee(row["forfeited_fen"], rules.fee_bps)),
        "pot = packets + carried out + bonus that nobody won": (
            row["pot_fen"],
            sum(books.packets) + row["carried_out_fen"] + row["bonus_back_fen"],
        ),
        "packets given = packets": (packets_fen, sum(books.packets)),
        "payouts, sent or on their way = stakes returned + packets": (
            out_fen["payout"],
            0 if books.pulls else stakes_fen + packets_fen,
        ),
        "refunds, sent or on their way = refunds, and stakes where they go back as such": (
            out_fen["refund"],
            books.refunds_fen + (stakes_fen if books.pulls else 0),
        ),
        "ledger: into the pool = pool + carried in + bonus": (
            books.pool_received_fen,
            row["pool_fen"] + row["carried_in_fen"] + row["bonus_fen"],
        ),
        "ledger: left in the pool = 0": (books.pool_left_fen, 0),
    }
    for name, (one, other) in equal.items():
        if one != other:
            yield f"{name}: {one} is not {other}"


def _set_differences(name: str, one: set[int], other_name: str, other: set[int]) -> Iterator[str]:
    if one != other:
        example = min(one ^ other)
        yield f"{name}: {len(one)}, {other_name}: {len(other)}; user {example} is in one only"


def table(books: Books) -> Table:
    """The round's figures, for people."""
    row, by = books.round, Counter(claim.by for claim in books.claims.values())
    smallest, largest = min(books.packets, default=0), max(books.packets, default=0)
    figures = [
        ("members", f"{row['members']:,}", f"of {len(books.orders):,} who ordered; {row['late']:,} late"),
        ("winners", f"{row['winners']:,}", "checked in between opening and closing"),
        ("pool", f"{row['pool_fen']:,} fen", f"stakes of {books.rules.stake_fen:,} fen"),
        ("forfeited", f"{row['forfeited_fen']:,} fen", f"fee {row['fee_fen']:,} fen"),
        ("pot", f"{row['pot_fen']:,} fen", f"carried in {row['carried_in_fen']:,}, out {row['carried_out_fen']:,} fen"),
        (
            "packets",
            f"{sum(books.packets):,} fen",
            f"{len(books.packets):,} packets, from {smallest:,} to {largest:,} fen",
        ),
        ("claims", f"{len(books.claims):,}", f"{by['user']:,} by users, {by['system']:,} by the system"),
        ("refunds", f"{books.refunds_fen:,} fen", f"{books.refunds.total():,} payments"),
        (
            "sent",
            f"{books.sent_fen.total():,} fen",
            f"confirmed by the provider; {books.waiting_fen.total():,} fen on their way",
        ),
        ("quarantine", f"{books.quarantined:,}", "signed callbacks that nobody could be credited for"),
    ]
    result = Table(title=f"The books of round {row['day']}, {row['state']}", title_justify="left", show_header=False)
    result.add_column(style="bold")
    result.add_column(justify="right")
    result.add_column(style="dim")
    for figure in figures:
        result.add_row(*figure)
    return result
