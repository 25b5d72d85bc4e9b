"""Persons for operators: finding one by any number that a user can tell, a user's whole story, and what looks alike."""

import re
from datetime import date
from typing import Any

from clock.books.accounts import sums
from clock.books.months import archive_of, has_left
from clock.books.partitions import months_played, only
from clock.books.store import Store
from clock.domain import order_no
from clock.domain.outcomes import Answer
from clock.domain.rounds import Calendar
from clock.domain.shapes import masked
from clock.payments.again import find_failed
from clock.service import Service

MOST_FOUND = 20
ROUNDS_A_PAGE = 30
MOST_A_PAGE = 200
"""Payments, payouts, refunds and callbacks of a page of a story."""

SENT_NO = re.compile(r"P\d{8}(\d{1,16})(?:A\d+)?|W(\d{1,16})N\d+")
"""A payout, or a withdrawal."""

MEMBERS_AT_ONCE = 2_000
MORNINGS, TIMES = 14, 7
"""Like clockwork: within one second of the minute on so many of the last mornings. By chance it happens to one user in
ten million."""
MOST_OTHERS = 5


async def find(service: Service, text: str, whole_mobile: bool) -> Answer:
    """At most :data:`MOST_FOUND` users: by uid, mobile, openId, or the number of an order, a payout, a withdrawal, a
    failed refund or a transaction. ``archived``: the month in whose files an order of that number would be."""
    store, uids = service.store, _named_in(text)
    place = order_no.place_of(text)
    archive = await archive_of(store, place.day) if place else None
    if place is not None:
        found = await store.all("find_order", day=place.day, uid=place.uid)
        uids += [row["uid"] for row in found if row["order_no"] == text]
    failed = await find_failed(store, text)
    if failed is not None:
        uids.append(failed["uid"])
    known = await store.all("find_profiles", uids=uids, text=text, limit=MOST_FOUND)
    paid = await _who_paid(store, text)
    some = sorted({*(row["uid"] for row in known), *paid} - {0})[:MOST_FOUND]
    archived = archive["month"] if archive and archive["left_at"] else None
    return Answer("ok", {"items": await _persons(store, some, whole_mobile), "archived": archived})


async def _who_paid(store: Store, transaction_id: str) -> list[int]:
    """At most :data:`MOST_FOUND` users with a payment of this number, the newest months first: one statement each, so
    that none locks all of them."""
    found: list[int] = []
    for days in await months_played(store):
        of_month = await store.all("find_transaction", text=transaction_id, days=days, limit=MOST_FOUND)
        found += [row["uid"] for row in of_month]
        if len(found) >= MOST_FOUND:
            break
    return found


def _named_in(text: str) -> list[int]:
    """The uid that the text is, or that the number of a payout or a withdrawal has in it."""
    sent = SENT_NO.fullmatch(text)
    number = sent[1] or sent[2] if sent else text
    return [int(number)] if number.isascii() and number.isdigit() and int(number) < 1 << 53 else []


async def _persons(store: Store, uids: list[int], whole_mobile: bool) -> list[dict[str, Any]]:
    found = await store.all("persons", uids=uids)
    return [{**row, "mobile": row["mobile"] if whole_mobile else masked(row["mobile"] or "")} for row in found]


async def story(service: Service, uid: int, page: int, whole_mobile: bool) -> Answer:
    """A user's profile and sums, and everything about :data:`ROUNDS_A_PAGE` rounds, the newest first."""
    store = service.store
    offset = (page - 1) * ROUNDS_A_PAGE
    listed = [row["day"] for row in await store.all("round_days", limit=ROUNDS_A_PAGE + 1, offset=offset)]
    days = only(listed[:ROUNDS_A_PAGE])
    of: dict[str, Any] = {"uid": uid, "days": days}
    [person] = await _persons(store, [uid], whole_mobile)
    rounds = await store.all("rounds_of", **of)
    payments = await store.all("payments_of", limit=MOST_A_PAGE, **of)
    if person["open_id"] is None and not (rounds or payments):
        return Answer("person_not_found")
    numbers = sorted({row["order_no"] for row in (*rounds, *payments)})
    today = Calendar(service.settings.timezone).day_at(service.time.now_ms())
    return Answer(
        "ok",
        {
            "person": person,
            "info": await sums(store, uid, today),
            "rounds": rounds,
            "payments": payments,
            "outgoing": await store.all("outgoing_of", limit=MOST_A_PAGE, **of),
            "quarantine": await store.all("quarantine_of", order_nos=numbers, limit=MOST_A_PAGE),
            "more": len(listed) > ROUNDS_A_PAGE,
            "archived": [row["month"] for row in await store.all("archived_months")],
        },
    )


async def lookalikes(store: Store, day: date, after: int) -> Answer:
    """Of the next :data:`MEMBERS_AT_ONCE` members of a round after a uid: who shares a mobile or an openId with others,
    and who checks in like clockwork. It decides nothing. ``after``: where to go on; None at the end."""
    if await store.one("get_round", day=day) is None:
        return Answer("round_not_found")
    if await has_left(store, day):
        return Answer("archived")
    members = await store.all("members_after", day=day, after=after, limit=MEMBERS_AT_ONCE)
    uids = [row["uid"] for row in members]
    mornings = await store.all("mornings_until", day=day, limit=MORNINGS)
    clockwork = await store.all("clockwork", days=[row["day"] for row in mornings], uids=uids, times=TIMES)
    return Answer(
        "ok",
        {
            "looked": len(uids),
            "mornings": len(mornings),
            "shared": await store.all("shared_profiles", uids=uids, most=MOST_OTHERS),
            "clockwork": clockwork,
            "after": uids[-1] if len(uids) == MEMBERS_AT_ONCE else None,
        },
    )
