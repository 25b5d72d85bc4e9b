"""Withdrawals: a user's whole balance, one at a time, each under a number of its own (docs/rules.md, *The way out of a
balance*).

The next number is given out only when the last one is final, so that no sum can be paid twice: what failed is in the
balance again, what is not final is not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import date
from typing import Any

from redis.exceptions import RedisError

from clock.books import accounts, ledger
from clock.books.partitions import days_of, only
from clock.books.store import Connection, Store, rows
from clock.channels import Channel
from clock.config import Settings
from clock.domain.outcomes import Answer, Unavailable
from clock.payments import outgoing

SEND_SECONDS = 6.0
"""So long its user waits for the provider; the worker goes on after that."""

MOST_HANDLED = 1_000
"""Failed payouts and refunds of a user that one withdrawal settles."""

FINAL = ("done", "failed")


class Withdrawals:
    def __init__(
        self, settings: Settings, store: Store, channels: dict[str, Channel], agreed: Callable[[], Awaitable[int]]
    ) -> None:
        """``agreed`` raises :class:`Unavailable` where clocks differ, and a ``RedisError``: then the worker sends it
        (docs/rules.md, *Clocks*)."""
        self._settings = settings
        self._store = store
        self._channels = channels
        self._agreed = agreed

    async def withdraw(self, uid: int, today: date) -> Answer:
        """``today``: the game's date, in whose books it is. Raises :class:`Unavailable`."""
        name, open_id = await self._way(uid)
        channel = self._channels.get(name)
        if channel is None:
            raise Unavailable(f"no channel {name}")
        async with self._store.transaction() as connection:
            balance_fen = await accounts.balance_fen(connection, uid)  # nobody else changes it until we commit
            last = await rows(connection, "last_withdrawal", uid=uid)
            sent = await rows(connection, "list_outgoing", **_named(last)) if last else []
            if sent and sent[0]["state"] not in FINAL:
                day, no = sent[0]["day"], sent[0]["no"]
            elif balance_fen <= 0:
                return Answer("nothing_to_withdraw")
            elif balance_fen < (least_fen := self.least_fen(channel)):
                return Answer("below_minimum", {"balance": balance_fen, "minimum": least_fen})
            elif not channel.ready:  # on its way for ever, it would hold up the next one
                raise Unavailable(f"nothing can be sent through the channel {name}")
            elif not open_id:
                raise Unavailable(f"nobody knows where to send the balance of user {uid}")
            else:
                amount_fen = min(balance_fen, channel.most_transfer_fen)
                count = last[0]["count"] + 1 if last else 1
                day, no = today, number(uid, count)
                key = {"day": day, "no": no, "uid": uid}
                await rows(connection, "save_withdrawal", count=count, **key)
                await rows(connection, "queue_withdrawal", amount_fen=amount_fen, channel=name, open_id=open_id, **key)
                await ledger.post_outgoing(connection, day, name, "owed", [no])
                if amount_fen == balance_fen:
                    await _settle_failed(connection, uid)
        return await self._sent(uid, day, no)

    def least_fen(self, channel: Channel) -> int:
        return max(channel.least_transfer_fen, self._settings.withdraw_min_fen)

    async def _sent(self, uid: int, day: date, no: str) -> Answer:
        """Sent now, if that is quick and may be; how far it is."""
        with suppress(Unavailable, RedisError, OSError):  # a TimeoutError is one
            async with asyncio.timeout(SEND_SECONDS):
                seen = (await self._way_out(uid))["withdrawal"]
                if seen["no"] == no and seen["state"] == "owed":
                    await self._agreed()
                    await outgoing.send_one(self._store, self._channels, day, no)
        return Answer("withdrawing", {"withdrawal": shown((await self._way_out(uid))["withdrawal"])})

    async def _way_out(self, uid: int) -> dict[str, dict[str, Any]]:
        """The user's last ``withdrawal`` and the last ``failure``, with what became of them; without those whose month
        has left for files. Their days are named, so that no other month is looked into."""
        kept = {(row["day"], row["no"]): row for row in await self._store.all("way_out", uid=uid)}
        sent = await self._store.all("list_outgoing", **_named(kept.values())) if kept else []
        return {row["what"]: row | one for one in sent for row in [kept[one["day"], one["no"]]]}

    async def seen(self, uid: int) -> dict[str, Any]:
        """What ``/api/me`` says of the way out: from when on, how, the open withdrawal, and why the money is here."""
        channel = self._channels[self._settings.channel]
        found = await self._way_out(uid)
        last, failure = found.get("withdrawal"), found.get("failure")
        is_open = last is not None and last["state"] not in FINAL
        if last and last["state"] == "failed":
            failure = last
        reason = failure["reason"] if failure and not is_open else None
        return {
            "minimum_fen": self.least_fen(channel),
            "way": "pull" if channel.pulls else "push",
            "open": shown(last) if last and is_open else None,
            "reason": reason or "",
        }

    async def _way(self, uid: int) -> tuple[str, str]:
        """Through which channel, and to whom: as the user has paid last. Where those books have left for files, as the
        user's profile and the settings say."""
        for first, _ in await accounts.history_months(self._store, uid):
            paid = await self._store.one("last_paid", uid=uid, days=only(days_of(first)))
            if paid:
                return paid["channel"], paid["open_id"]
        profile = await self._store.one("profile_of", uid=uid)
        return self._settings.channel, profile["open_id"] if profile else ""


def number(uid: int, count: int) -> str:
    """``W7N1``: the first withdrawal of user 7. The letter keeps 7 and 11 apart from 71 and 1."""
    return f"W{uid}N{count}"


def _named(found: Collection[dict[str, Any]]) -> dict[str, list[Any]]:
    return {"days": [row["day"] for row in found], "nos": [row["no"] for row in found]}


def shown(row: dict[str, Any]) -> dict[str, Any]:
    confirm = {"confirm": row["confirm"]} if row["confirm"] and row["state"] not in FINAL else {}
    return {"no": row["no"], "amount": row["amount_fen"], "state": row["state"], **confirm}


async def _settle_failed(connection: Connection, uid: int) -> None:
    """What had failed before leaves with the whole balance: nobody has to see to it any more."""
    for failed in await rows(connection, "failed_of_user", uid=uid, limit=MOST_HANDLED):
        await rows(connection, "handle_failed", handled="withdrawn", **failed)
