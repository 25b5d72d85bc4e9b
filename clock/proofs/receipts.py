"""Receipts of what is in the books already, and the salt keys that receipts are made with."""

from datetime import date
from typing import Any

import msgspec

from clock.books.months import has_left
from clock.books.store import Store
from clock.domain.outcomes import Answer, Unavailable
from clock.domain.records import CHECKED_IN_STATES, MEMBER_STATES
from clock.domain.rounds import UNSEALED_STATES, VOID_STATES
from clock.fair.receipts import Promised
from clock.game.asking import Asking
from clock.game.keys import shard_of
from clock.game.receipts import Receipts
from clock.game.verbs import STATUS
from clock.rounds import recorded

ASKED = {"stake": "stakes_among", "checked_in": "checked_in_among"}
STATES = {"stake": MEMBER_STATES, "checked_in": CHECKED_IN_STATES}


async def salt_key_of(store: Store, day: date) -> bytes | None:
    """Raises :class:`Unavailable`, also for a round that the books do not have yet."""
    round_ = await recorded.find(store, day)
    if round_ is None:
        raise Unavailable(f"round {day} is not in the books")
    return round_.salt_key


async def receipt(
    store: Store, asking: Asking, receipts: Receipts, day: date, kind: Promised, uid: int, arrived: float
) -> Answer:
    """The user's receipt from the books. Raises :class:`Unavailable`, also where Redis has what the books do not have
    yet: asked again a moment later it is there."""
    round_ = await recorded.find(store, day)
    if round_ is None or round_.salt_key is None:
        return Answer("not_found")
    if round_.state in VOID_STATES:
        return Answer("voided")
    if await has_left(store, day):
        return Answer("archived")
    found: dict[str, Any] | None = await store.one(ASKED[kind], day=day, uids=[uid])
    if found is None:
        if round_.state in UNSEALED_STATES and await _state(asking, day, uid, arrived) in STATES[kind]:
            raise Unavailable(f"user {uid} is on the way into the books")
        is_member = kind == "checked_in" and await store.one("stakes_among", day=day, uids=[uid])
        return Answer("not_checked_in" if is_member else "not_joined")
    shard = shard_of(uid, round_.rules.shards)
    if kind == "stake":
        given = await receipts.stake(day, shard, uid, found["order_no"], found["stake_fen"])
    else:
        given = await receipts.checked_in(day, shard, found["rank"], uid, found["at_ms"])
    if given is None:
        raise Unavailable("receipts cannot be signed")
    return Answer("ok", msgspec.json.decode(given))


async def _state(asking: Asking, day: date, uid: int, arrived: float) -> int | None:
    """The user in Redis; None where the round's keys have expired."""
    if await asking.existing(day) is None:
        return None
    _, state, _ = await asking.ask_user(STATUS, day, uid, arrived)
    return int(state[0])
