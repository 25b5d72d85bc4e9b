"""The verdict on a round that has ended: the journal against the books, against Valkey, against the provider.

It shares nothing with ``clock reconcile`` and the verifier, which are asked as well.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import psycopg

from clock.channels import PULLING
from clock.domain.rounds import Rules, extended, windows
from tests.faults.books import Books, Provider, read_books, read_provider, read_states
from tests.faults.crowd import STAKE_FEN
from tests.faults.journal import Journal, Told
from tests.faults.stack import Stack

ENDED_S = 150.0
"""How long a round may take to end, with everything healed."""

HURRY = """
UPDATE outgoing SET next_at = now() WHERE (day, no) IN
    (SELECT day, no FROM outgoing WHERE ended_at IS NULL AND next_at > now() FOR UPDATE SKIP LOCKED)
"""
"""What waits for its next try, or for the lease of a killed worker, is due now."""

HURRY_S = 8.0

LATE_MS = 5_000
"""What a closing makes up for, at most."""


async def compare(stack: Stack, journal: Journal, day: date) -> str:
    """Wait until the round has ended, compare it, write what is wrong into the journal; a line about it."""
    if problem := await _until_ended(stack, day):
        journal.broken.append(problem)
        return problem
    code, said = await stack.command("reconcile", day.isoformat())
    mended = sum(len(report["mended"]) for report in json.loads(said or "{}").get("reports", []))
    if code:
        journal.broken.append(f"clock reconcile {day} ended with {code}: {said[:2000]}")
    if mended and (problem := await _until_ended(stack, day)):
        journal.broken.append(problem)
    code, said = await stack.command("verify", day.isoformat(), "--from", stack.page, "--days", "1")
    if code:
        journal.broken.append(f"clock verify {day} ended with {code}: {said[-2000:]}")
    books = await read_books(stack.direct.database_url, day)
    provider = await read_provider(stack, day)
    states = await read_states(stack, day, msgspec.convert(books.round["rules"], Rules).shards)
    told = journal.told[day]
    journal.lost += [f"round {day} {problem}" for problem in _lost(told, books)]
    pulls = stack.direct.channel in PULLING
    for kind, problem in _money(told, books, provider, pulls):
        {"lost": journal.lost, "twice": journal.paid_twice, "fen": journal.differing}[kind].append(
            f"round {day} {problem}"
        )
    journal.differing += [f"round {day} {problem}" for problem in _sums(books, provider, stack.direct.channel)]
    journal.broken += [f"round {day} {problem}" for problem in (*_unlike(books, states), *_windows(books))]
    return (
        f"round {day}: {len(books.members)} members, {len(books.check_ins)} winners, {len(books.claims)} claims, "
        f"{len(books.refunds)} refunds, {mended} mended from the bill: compared"
    )


async def _is_drained(redis: Any, stream: bytes) -> bool:
    last = await redis.xrevrange(stream, count=1)
    position = await redis.get(stream.replace(b"outbox", b"position")) or b""
    return not last or last[0][0] == position.split(b" ")[0]


async def _until_ended(stack: Stack, day: date) -> str:
    """Wait until the round is finished, every outbox empty, everything outgoing ended; else what is not."""
    until = time.monotonic() + ENDED_S
    redis: Any = stack.redis()
    problem = ""
    hurry_at = time.monotonic() + HURRY_S
    try:
        while time.monotonic() < until:
            async with await psycopg.AsyncConnection.connect(stack.direct.database_url) as connection:
                if time.monotonic() > hurry_at:
                    hurry_at += HURRY_S
                    await connection.execute(HURRY)
                cursor = await connection.execute(
                    "SELECT (SELECT state FROM rounds WHERE day = %(day)s),"
                    " (SELECT count(*) FROM outgoing WHERE day = %(day)s AND state NOT IN ('done', 'failed'))",
                    {"day": day},
                )
                state, waiting = (await cursor.fetchone()) or ("", 0)
            streams = [name async for name in redis.scan_iter("clock:{*}:*:outbox", count=1000)]
            undrained = sum([not await _is_drained(redis, name) for name in streams])
            if state == "finished" and not waiting and not undrained:
                return ""
            problem = f"round {day} has not ended: {state}, {undrained} outboxes undrained, {waiting} outgoing"
            await asyncio.sleep(0.25)
        return problem
    finally:
        await redis.aclose()


# -- nothing acknowledged is lost


def _lost(told: dict[int, Told], books: Books) -> Iterator[str]:
    for uid, one in told.items():
        if one.order_no and books.orders.get(uid, {}).get("order_no") != one.order_no:
            yield f"the order {one.order_no} of user {uid} is not in the books"
        if one.is_member and uid not in books.members:
            yield f"user {uid} was told that they are a member, the books have none"
        for transaction in one.staked:
            if books.payments.get(transaction, {}).get("outcome") not in ("paid", "paid_late"):
                yield f"payment {transaction} was answered paid, the books have {books.payments.get(transaction)}"
        for transaction in one.refused:
            if transaction not in books.refunds:
                yield f"payment {transaction} was answered refund_due, the books owe none"
        if one.is_winner and uid not in books.check_ins:
            yield f"user {uid} was told checked_in, the books have no check-in"
        if one.packet_fen is not None and uid not in books.claims:
            yield f"user {uid} was told claimed, the books have no claim"
        for leaf in one.promised:
            _, _, rank, whose, at_ms, _ = leaf.split("\n")[1:-1]
            row = books.check_ins.get(uid, {})
            if (int(rank), int(whose), int(at_ms)) != (row.get("rank"), uid, row.get("at_ms")):
                yield f"user {uid} has a receipt of rank {rank} at {at_ms}, the books have {row}"


# -- every fen went to one place, once


def _money(told: dict[int, Told], books: Books, provider: Provider, pulls: bool) -> Iterator[tuple[str, str]]:
    """``pulls``: winners' stakes go back as refunds, and their packets stay in balances."""
    for uid, one in told.items():
        yield from _payout(uid, one, books, provider, pulls)
    keeps = {
        transaction
        for transaction, payment in books.payments.items()
        if payment["outcome"] in ("paid", "paid_late")
        and transaction not in books.refunds
        and not (pulls and payment["uid"] in books.claims)
    }
    for transaction, payment in provider.payments.items():
        times = len(payment.refunds_fen)
        if transaction not in books.payments:
            yield "lost", f"payment {transaction} is in the provider's books only"
        elif transaction in keeps and times:
            yield "twice", f"payment {transaction} is a stake and was refunded {times} times"
        elif transaction not in keeps and times != 1:
            yield ("twice" if times else "lost"), f"payment {transaction} was refunded {times} times"
        elif transaction not in keeps and payment.refunds_fen != [payment.amount_fen]:
            yield "fen", f"payment {transaction} of {payment.amount_fen} fen was refunded with {payment.refunds_fen}"
    for transaction in books.payments.keys() - provider.payments.keys():
        yield "lost", f"payment {transaction} is in the books, the provider never had it"
    for uid in books.members:
        stakes = [t for t, p in books.payments.items() if p["uid"] == uid and p["outcome"] in ("paid", "paid_late")]
        if len(stakes) != 1:
            yield "twice", f"member {uid} has {len(stakes)} stakes"


def _payout(uid: int, one: Told, books: Books, provider: Provider, pulls: bool) -> Iterator[tuple[str, str]]:
    claim = books.claims.get(uid)
    paid, lapsed = provider.transfers.get(one.open_id, []), provider.lapsed.get(one.open_id, [])
    owed = [claim["packet_fen"] + claim["stake_fen"]] if claim and not pulls else []
    if (uid in books.check_ins) != (claim is not None):
        yield "lost", f"user {uid}: check-in {uid in books.check_ins}, claim {claim is not None}"
    if len(paid) + len(lapsed) > len(owed):
        yield "twice", f"user {uid} was sent {paid} and {lapsed}, owed {owed}"
    elif len(paid) + len(lapsed) < len(owed):
        yield "lost", f"user {uid} was sent nothing of {owed}"
    elif paid + lapsed != owed:
        yield "fen", f"user {uid} was sent {paid + lapsed}, owed {owed}"
    if claim and one.packet_fen is not None and one.packet_fen != claim["packet_fen"]:
        yield "fen", f"user {uid} was told a packet of {one.packet_fen} fen, the books have {claim['packet_fen']}"
    if claim and one.stake_fen is not None and (one.stake_fen, claim["stake_fen"]) != (STAKE_FEN, STAKE_FEN):
        yield "fen", f"user {uid} was told a stake of {one.stake_fen} fen, the books have {claim['stake_fen']}"


# -- the sums


def _sums(books: Books, provider: Provider, channel: str) -> Iterator[str]:
    day, accounts, row = books.round["day"], books.accounts, books.round
    came = sum(payment.amount_fen for payment in provider.payments.values())
    went = sum(sum(payment.refunds_fen) for payment in provider.payments.values())
    went += sum(sum(fens) for fens in provider.transfers.values())
    lapsed = sum(sum(fens) for fens in provider.lapsed.values())
    users = sum(fen for account, fen in accounts.items() if account.startswith("user:"))
    packets = sum(claim["packet_fen"] for claim in books.claims.values())
    lapsed += packets if channel in PULLING else 0
    equal = {
        "the ledger's sum is zero": (sum(accounts.values()), 0),
        "the pool is empty": (accounts.get(f"pool:{day}", 0), 0),
        "nothing is owed": (accounts.get("owed:refund", 0) or accounts.get("owed:payout", 0), 0),
        "the provider holds what the ledger says": (-accounts.get(f"channel:{channel}", 0), came - went),
        "what lapsed, or was not sent, is the users'": (users, lapsed),
        "in = out + fee + carried + bonus that nobody won": (
            came + row["carried_in_fen"] + row["bonus_fen"],
            went + lapsed + row["fee_fen"] + row["carried_out_fen"] + row["bonus_back_fen"],
        ),
        "packets = pot": (sum(books.packets_fen) + row["carried_out_fen"], row["pot_fen"]),
        "claims = packets": (packets, sum(books.packets_fen)),
        "one packet a winner": (len(books.packets_fen), len(books.check_ins)),
        "members": (row["members"], len(books.members)),
        "winners": (row["winners"], len(books.check_ins)),
        "pool": (row["pool_fen"], STAKE_FEN * len(books.members)),
    }
    for name, (one, other) in equal.items():
        if one != other:
            yield f"{name}: {one} is not {other}"
    late = {uid for uid, member in books.members.items() if member["late"]}
    forfeits = len(books.members.keys() - books.check_ins.keys() - late) if books.check_ins else 0
    if row["forfeited_fen"] != STAKE_FEN * forfeits:
        yield f"forfeited: {row['forfeited_fen']} fen by {forfeits} members"


def _unlike(books: Books, states: dict[int, str]) -> Iterator[str]:
    for uid in books.orders.keys() | states.keys():
        expected = "-"
        if uid in books.orders:
            expected = "O"
        if uid in books.members:
            expected = "L" if books.members[uid]["late"] else "M"
        if uid in books.check_ins:
            expected = "C"
        if uid in books.claims:
            expected = "P"
        if states.get(uid, "-") != expected:
            yield f"user {uid} is {states.get(uid, '-')} in Valkey, {expected} in the books"


def _windows(books: Books) -> Iterator[str]:
    """Nobody came through a closed door."""
    rules = msgspec.convert(books.round["rules"], Rules)
    at = extended(windows(books.round["day"], rules), books.round["extended_ms"])
    for uid, row in books.check_ins.items():
        if not at.check_in_opens_ms <= row["at_ms"] < at.check_in_closes_ms + LATE_MS:
            yield f"user {uid} checked in at {row['at_ms']}"
        if uid not in books.members:
            yield f"user {uid} checked in and is no member"
    for transaction, row in books.payments.items():
        if row["outcome"] in ("paid", "paid_late") and row["paid_at_ms"] >= at.join_closes_ms:
            yield f"payment {transaction} of {row['paid_at_ms']} was taken"
        if row["outcome"] == "refund_late" and row["paid_at_ms"] < at.join_closes_ms:
            yield f"payment {transaction} of {row['paid_at_ms']} was not taken"
        if row["outcome"] == "paid" and row["at_ms"] >= at.check_in_opens_ms + LATE_MS:
            yield f"payment {transaction} of {row['at_ms']} made no late member"
