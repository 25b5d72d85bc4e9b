"""Everything that is kept about one user, as one JSON document: for them, or for whoever asks in their name.

It comes in pieces of a month, so that years of playing take no more memory than a busy month.
"""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import msgspec

from clock.books import accounts
from clock.books.months import Month
from clock.books.store import Store, rows
from clock.domain import progress
from clock.domain.outcomes import Answer
from clock.fair.leaves import Kind, salt_of
from clock.operators.acts import Act, By, perform
from clock.service import Service


async def export_user(service: Service, by: By, uid: int) -> tuple[Answer, AsyncIterator[bytes] | None]:
    """The document in pieces. Amounts in fen, instants in ms since the epoch. Raises
    :class:`~clock.domain.outcomes.Unavailable`."""
    heads: list[dict[str, Any]] = []

    async def work(_: int) -> Answer:
        head = await _head(service, uid)
        if head["profile"] is None and head["standing"] is None and not head["sums"]["join_num"]:
            return Answer("person_not_found")
        heads.append(head)
        return Answer("ok")

    answer = await perform(service, by, Act("export_user", str(uid)), work)
    return answer, _document(service.store, uid, heads[0]) if heads else None


async def _head(service: Service, uid: int) -> dict[str, Any]:
    store, today = service.store, service.asking.calendar.day_at(service.time.now_ms())
    return {
        "uid": uid,
        "made_at_ms": service.time.now_ms(),
        "profile": await store.one("profile_of", uid=uid),
        "switches": await store.one("own_switches", uid=uid),
        "standing": await store.one("own_standing", uid=uid),
        "sums": await accounts.sums(store, uid, today),
        "acts": await store.all("own_acts", about=[str(uid)]),
        "archived_months": [row["month"] for row in await store.all("archived_months")],
    }


async def _document(store: Store, uid: int, head: dict[str, Any]) -> AsyncIterator[bytes]:
    yield msgspec.json.encode(head)[:-1] + b',"rounds":['
    kept = await store.all("kept_months")
    between = b""
    for number, row in enumerate(kept):
        progress.at("export", number, len(kept))
        if found := await _rounds(store, uid, Month.of(row["month"])):
            yield between + b",".join(msgspec.json.encode(one) for one in found)
            between = b","
    yield b"]}\n"


async def _rounds(store: Store, uid: int, month: Month) -> list[dict[str, Any]]:
    """What a user did in a month's rounds, and what was done about it."""
    of: dict[str, Any] = {"uid": uid, "days": month.days}
    async with store.transaction() as connection:
        played = await rows(connection, "rounds_of", **of)
        transfers = await rows(connection, "own_transfers", **of)
        payments = await rows(connection, "own_payments", **of)
        numbers = sorted({(row["day"], row["order_no"]) for row in (*played, *payments)})
        order_nos = [number for _, number in numbers]
        outgoing = await rows(connection, "own_outgoing", **of)
        promises = await rows(connection, "own_promises", **of)
        refunds = await rows(
            connection, "own_refunds", days=month.days, days_of=[day for day, _ in numbers], order_nos=order_nos
        )
        callbacks = await rows(connection, "own_callbacks", order_nos=order_nos)
        about = [*order_nos, *(row["no"] for row in outgoing), *(row["id"] for row in callbacks)]
        acts = await rows(connection, "own_acts", about=about)
        salt_keys = {row["day"]: row["salt_key"] for row in await rows(connection, "salt_keys", days=month.days)}
    lists = {
        "payments": payments,
        "refunds": refunds,
        "outgoing": outgoing,
        "transfers": transfers,
        "promises": promises,
    }
    days: dict[date, dict[str, Any]] = {row["day"]: {**row, **_salts(row, uid, salt_keys)} for row in played}
    for name, found in lists.items():
        for row in found:
            days.setdefault(row["day"], {"day": row["day"]}).setdefault(name, []).append(row)
    day_of = {number: day for day, number in numbers}
    for row in callbacks:
        day_of[row["id"]] = day_of[row["order_no"]]
        shown = {**row, "raw": row["raw"].decode("utf-8", "replace")}
        days[day_of[row["id"]]].setdefault("callbacks", []).append(shown)
    day_of |= {row["no"]: row["day"] for row in outgoing}
    for row in acts:
        days[day_of[row["about"]]].setdefault("acts", []).append(row)
    return [days[day] for day in sorted(days)]


def _salts(row: dict[str, Any], uid: int, salt_keys: dict[date, bytes]) -> dict[str, dict[str, str]]:
    """Of the leaves that a user has in a round, by kind: with them anybody can verify the leaves, without a token."""
    has: dict[Kind, bool] = {"stake": row["stake_fen"] is not None, "checked_in": row["rank"] is not None}
    key = salt_keys.get(row["day"])
    return {"salts": {kind: salt_of(key, kind, uid) for kind, is_there in has.items() if is_there}} if key else {}
