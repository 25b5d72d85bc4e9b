"""Receipts for those who ask: whoever is answered in one turn of the event loop shares a batch, and its signature.

A receipt is made of what Redis has acknowledged. Nothing that goes wrong here changes the answer: what was done is
answered as done, without a receipt.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from time import monotonic

import structlog

from clock.fair import leaves
from clock.fair.leaves import Row, Salts
from clock.fair.notes import Signer
from clock.fair.receipts import Promised, signed
from clock.game.batch import Asked, Waiter
from clock.game.gametime import GameTime

log = structlog.get_logger()

SALTS_REMEMBERED = 64
"""Rounds whose salt key a process keeps. It is nowhere but in Postgres and in this memory."""
WAIT_SECONDS = 1.0
"""How long who has been checked in waits for Postgres to name the salt key."""
MISSED_SECONDS = 1.0
"""How long it is not asked again after it has not answered."""

RECEIPT = -1
"""Stands in the place of an instant where a waiter is told a receipt."""

SaltKeyOf = Callable[[date], Awaitable[bytes | None]]
"""The salt key of a round; None if it was opened before there were statements. Raises :class:`Unavailable`."""


class Batch:
    """Leaves of one kind and round that wait to be signed together, in the next turn of the event loop. A waiter is
    told ``(RECEIPT, receipt)``, or None for that where it breaks."""

    def __init__(self, kind: Promised, day: date, salt_key: bytes, signer: Signer, time: GameTime) -> None:
        self._kind: Promised = kind
        self._day = day.isoformat()
        self._salts = Salts(salt_key, kind)
        self._signer = signer
        self._time = time
        self._waiters: list[Waiter] = []
        self._uids: list[int] = []
        self._rows: list[Row] = []

    def add(self, waiter: Waiter, uid: int, row: Row) -> None:
        if not self._rows:
            asyncio.get_running_loop().call_soon(self._sign)
        self._waiters.append(waiter)
        self._uids.append(uid)
        self._rows.append(row)

    def _sign(self) -> None:
        waiters, uids, rows = iter(self._waiters), self._uids, self._rows
        self._waiters, self._uids, self._rows = [], [], []
        try:
            texts = leaves.of_all(self._kind, self._day, rows, self._salts.of_all(uids))
            receipts = signed(self._signer, self._kind, self._day, self._signed_ms(rows), texts)
            for receipt, waiter in zip(receipts, waiters, strict=False):  # where one breaks, its waiter is left
                if not waiter.done():
                    waiter.set_result((RECEIPT, receipt))
        except Exception as error:
            left = list(waiters)
            log.error("receipts_broke", kind=self._kind, day=self._day, users=len(left), exc_info=error)
            for waiter in left:
                if not waiter.done():
                    waiter.set_result((RECEIPT, None))

    def _signed_ms(self, rows: list[Row]) -> int:
        """By this process' estimate of the clock, and never before what is signed: a shard's clock may be ahead of it,
        by any time after a jump."""
        now_ms = self._time.now_ms()
        return max(now_ms, max([row[3] for row in rows])) if self._kind == "checked_in" else now_ms


class Promises:
    """What a process makes receipts of a round with."""

    def __init__(self, day: date, salt_key: bytes, signer: Signer, time: GameTime) -> None:
        self.stakes = Batch("stake", day, salt_key, signer, time)
        self.check_ins = Batch("checked_in", day, salt_key, signer, time)


class Receipts:
    """The receipts of a process. ``signer``: the first of the keys that sign statements; without one there are none."""

    def __init__(self, signer: Signer | None, salt_key_of: SaltKeyOf, time: GameTime) -> None:
        self._signer = signer
        self._salt_key_of = salt_key_of
        self._time = time
        self._rounds: dict[date, Promises | None] = {}
        """None: the round was opened before there were statements."""
        self._missed: dict[date, float] = {}
        """Until when, of the monotonic clock, Postgres is not asked again; there until it has answered."""
        self._asking: dict[date, asyncio.Task[None]] = {}

    def is_at_hand(self, day: date) -> bool:
        """Whether this process knows how receipts of a round are made, or that none can be for now."""
        return day in self._rounds or self._signer is None or monotonic() < self._missed.get(day, 0.0)

    def at_hand(self, day: date) -> Promises | None:
        """None also where none can be given."""
        return self._rounds.get(day)

    async def find(self, day: date) -> Promises | None:
        """As :meth:`at_hand`, asking Postgres. Takes :data:`WAIT_SECONDS` at most, and raises nothing. After a failure
        Postgres is asked, and not waited for, until it has answered."""
        if not self.is_at_hand(day):
            task = self._asking.get(day)
            if task is None:
                task = self._asking[day] = asyncio.create_task(self._ask(day))
            if day not in self._missed:
                done, _ = await asyncio.wait({task}, timeout=WAIT_SECONDS)
                if not done:
                    self._miss(day)
        return self.at_hand(day)

    async def _ask(self, day: date) -> None:
        signer = self._signer
        assert signer is not None
        try:
            salt_key = await self._salt_key_of(day)
            if len(self._rounds) >= SALTS_REMEMBERED:
                self._rounds.clear()
            self._rounds[day] = Promises(day, salt_key, signer, self._time) if salt_key else None
            self._missed.pop(day, None)
        except Exception as error:  # noqa: BLE001 - what was done is answered as done
            log.error("receipts_impossible", day=str(day), error=f"{type(error).__name__}: {error}")
            self._miss(day)
        finally:
            del self._asking[day]

    def _miss(self, day: date) -> None:
        if len(self._missed) >= SALTS_REMEMBERED:
            self._missed.clear()
        self._missed[day] = monotonic() + MISSED_SECONDS

    async def checked_in(self, day: date, shard: int, rank: int, uid: int, at_ms: int) -> bytes | None:
        """Of a check-in as its script has said it, or the books; as JSON. None where there is none; raises nothing."""
        promises = await self.find(day)
        return await _asked(promises.check_ins, uid, (shard, rank, uid, at_ms)) if promises else None

    async def stake(self, day: date, shard: int, uid: int, order_no: str, amount_fen: int) -> bytes | None:
        """Of an accepted payment; as :meth:`checked_in`."""
        promises = await self.find(day)
        return await _asked(promises.stakes, uid, (shard, uid, order_no, amount_fen)) if promises else None


async def _asked(batch: Batch, uid: int, row: Row) -> bytes | None:
    waiter: Asked = asyncio.get_running_loop().create_future()
    batch.add(waiter, uid, row)
    _, receipt = await waiter
    return receipt  # type: ignore[no-any-return]
