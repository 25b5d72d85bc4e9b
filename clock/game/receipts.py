"""Receipts for those who ask: whoever is answered in one turn of the event loop shares a batch, and its signature.

A receipt is made of what Redis has acknowledged. Nothing that goes wrong here changes the answer: what was done is
answered as done, without a receipt.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from math import inf
from time import monotonic
from typing import Any

import msgspec
import structlog

from clock.domain.outcomes import Unavailable
from clock.fair import leaves
from clock.fair.leaves import Salts
from clock.fair.notes import Signer
from clock.fair.receipts import Promised, signed
from clock.game import keys
from clock.game.batch import Waiter
from clock.game.gametime import GameTime

log = structlog.get_logger()

SALTS_REMEMBERED = 64
"""Rounds whose salt key a process keeps. It is nowhere but in Postgres and in this memory."""
WAIT_SECONDS = 1.0
"""How long who has been checked in waits for Postgres to name the salt key."""
MISSED_SECONDS = 1.0
"""How long Postgres is not asked again after it has not answered."""

Receipt = msgspec.Raw
"""JSON, as :func:`clock.fair.receipts.signed` writes it."""

Told = Callable[[Receipt | None], None]
"""Takes a receipt, or that there is none. Raises nothing."""

SaltKeyOf = Callable[[date], Awaitable[bytes | None]]
"""The salt key of a round; None if it was opened before there were statements. Raises :class:`Unavailable`."""


class Promises:
    """What receipts of a round are made of, at hand in this process until ``until`` (of the monotonic clock)."""

    def __init__(self, receipts: "Receipts", day: date, salt_key: bytes | None, until: float = inf) -> None:
        self.until = until
        self.can = salt_key is not None
        self._receipts = receipts
        self._day = day.isoformat()
        self._stakes, self._check_ins = Salts(salt_key or b"", "stake"), Salts(salt_key or b"", "checked_in")

    def checked_in(self, shard: int, rank: int, uid: int, at_ms: int, told: Told) -> None:
        """As the check-in script has said it. ``can`` is true."""
        leaf = leaves.checked_in(self._day, shard, rank, uid, at_ms, self._check_ins.of(uid))
        self._receipts.add("checked_in", self._day, leaf, told)

    def stake(self, shard: int, uid: int, order_no: str, amount_fen: int, told: Told) -> None:
        """Of an accepted payment. ``can`` is true."""
        leaf = leaves.stake(self._day, shard, uid, order_no, amount_fen, self._stakes.of(uid))
        self._receipts.add("stake", self._day, leaf, told)


class Receipts:
    """The receipts of a process. ``signer``: the first of the keys that sign statements; without one there are none."""

    def __init__(self, signer: Signer | None, salt_key_of: SaltKeyOf, time: GameTime) -> None:
        self._signer = signer
        self._salt_key_of = salt_key_of
        self._time = time
        self._rounds: dict[date, Promises] = {}
        self._asking: dict[date, asyncio.Task[None]] = {}
        self._batches: dict[tuple[Promised, str], list[tuple[str, Told]]] = {}

    def known(self, day: date) -> Promises | None:
        """What is at hand, which may be that no receipts can be given for now."""
        found = self._rounds.get(day)
        return found if found is not None and found.until > monotonic() else None

    async def find(self, day: date) -> Promises:
        """As :meth:`known`, asking Postgres. Takes :data:`WAIT_SECONDS` at most, and raises nothing."""
        found = self.known(day)
        if found is None:
            task = self._asking.get(day)
            if task is None:
                task = self._asking[day] = asyncio.create_task(self._ask(day))
            await asyncio.wait({task}, timeout=WAIT_SECONDS)
            found = self.known(day) or self._remember(day, None, monotonic() + MISSED_SECONDS)
        return found

    async def _ask(self, day: date) -> None:
        try:
            self._remember(day, await self._salt_key_of(day) if self._signer else None)
        except Unavailable as error:
            log.error("receipts_impossible", day=str(day), error=str(error))
            self._remember(day, None, monotonic() + MISSED_SECONDS)
        finally:
            del self._asking[day]

    def _remember(self, day: date, salt_key: bytes | None, until: float = inf) -> Promises:
        if len(self._rounds) >= SALTS_REMEMBERED:
            self._rounds.clear()
        found = self._rounds[day] = Promises(self, day, salt_key, until)
        return found

    async def checked_in(self, day: date, shard: int, rank: int, uid: int, at_ms: int) -> Receipt | None:
        """None where there is none. Raises nothing."""
        return await self._waited(day, lambda promises, told: promises.checked_in(shard, rank, uid, at_ms, told))

    async def stake(self, day: date, shard: int, uid: int, order_no: str, amount_fen: int) -> Receipt | None:
        """As :meth:`checked_in`."""
        return await self._waited(day, lambda promises, told: promises.stake(shard, uid, order_no, amount_fen, told))

    async def _waited(self, day: date, ask: Callable[[Promises, Told], None]) -> Receipt | None:
        promises = await self.find(day)
        if not promises.can:
            return None
        future: asyncio.Future[Receipt | None] = asyncio.get_running_loop().create_future()
        ask(promises, lambda receipt: None if future.done() else future.set_result(receipt))
        return await future

    def add(self, kind: Promised, day: str, leaf: str, told: Told) -> None:
        """Into the batch that is signed in the next turn of the event loop."""
        if not self._batches:
            asyncio.get_running_loop().call_soon(self._sign_all)
        batch = self._batches.get((kind, day))
        if batch is None:
            batch = self._batches[kind, day] = []
        batch.append((leaf, told))

    def _sign_all(self) -> None:
        batches, self._batches = self._batches, {}
        for (kind, day), batch in batches.items():
            for receipt, (_, told) in zip(self._signed(kind, day, [leaf for leaf, _ in batch]), batch, strict=True):
                told(receipt)

    def _signed(self, kind: Promised, day: str, texts: list[str]) -> list[Any]:
        assert self._signer is not None
        try:
            return list(map(Receipt, signed(self._signer, kind, day, self._time.now_ms(), texts)))
        except Exception as error:
            log.error("receipts_broke", kind=kind, day=day, count=len(texts), exc_info=error)
            return [None] * len(texts)


class CheckingIn:
    """Waits for the check-in of a user who wants a receipt, and then for that: ``waiter`` is told it in the place of
    the rank."""

    __slots__ = ("_at_ms", "_promises", "_rank", "_shards", "_uid", "_waiter")

    def __init__(self, waiter: Waiter, promises: Promises, shards: int, uid: int) -> None:
        self._waiter = waiter
        self._promises = promises
        self._shards = shards
        self._uid = uid
        self._at_ms = self._rank = 0

    def done(self) -> bool:
        return self._waiter.done()

    def set_result(self, result: Any) -> None:
        at_ms, rank = result
        if not isinstance(rank, int):
            self._waiter.set_result(result)
            return
        self._at_ms, self._rank = at_ms, rank
        uid = self._uid
        self._promises.checked_in(keys.shard_of(uid, self._shards), rank, uid, at_ms, self._told)

    def _told(self, receipt: Receipt | None) -> None:
        self._waiter.set_result((self._at_ms, self._rank if receipt is None else receipt))

    def set_exception(self, error: Exception) -> None:
        self._waiter.set_exception(error)
