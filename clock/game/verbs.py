"""The verbs of a round: the script of each, and the meaning of its words.

Every verb takes ``arrived``, the ``time.monotonic()`` instant at which the request reached the process, and
returns an :class:`~clock.domain.outcomes.Answer`. Errors: :class:`~clock.domain.outcomes.Busy` and
:class:`~clock.domain.outcomes.Unavailable`; a retry is safe.
"""

from collections.abc import Callable, Coroutine
from datetime import date
from functools import partial
from typing import Any

from clock.domain import order_no
from clock.domain.outcomes import Answer, Spelt, Unavailable
from clock.domain.records import CHECKED_IN_STATES, MEMBER_STATES, clock_status, red_status
from clock.domain.rounds import previous
from clock.domain.shapes import Extra
from clock.game import keys
from clock.game.asking import ASK_AGAIN, ASK_ANOTHER, Asking
from clock.game.batch import Waiter
from clock.game.profiles import Profiles
from clock.game.receipts import RECEIPT, Batch, Receipts
from clock.game.scripts import load
from clock.game.totals import Totals

JOIN, CHECK_IN, CLAIM, STATUS = (load(verb) for verb in ("join", "check_in", "claim", "status"))

Finished = Answer | Coroutine[Any, Any, Answer] | None
"""A verb's answer; or what makes it, where the verb has to ask again; or nothing, where the waiter is told another
result later."""

Finish = Callable[[int, Any], Finished]
"""Time and result of a verb's script to what it is answered with. A function in a function names no other types than
these: Python 3.13 makes the types of its annotations anew for each (docs/decisions/0078)."""

UNSETTLED_MS = 60_000
"""How long after a settlement is due its members are still checked: the process' clock is an estimate."""


class Verbs:
    def __init__(self, asking: Asking, profiles: Profiles, receipts: Receipts) -> None:
        self._asking = asking
        self._profiles = profiles
        self._receipts = receipts

    async def join(self, uid: int, extra: Extra, arrived: float, channel: str = "platform") -> Answer:
        if not (extra.mobile and extra.nickname and extra.openId):
            return Answer("profile_required")
        asking = self._asking
        day = asking.calendar.day_at(asking.time.at_ms(arrived))
        for _ in range(ASK_AGAIN):
            if await self._is_unsettled_member(uid, previous(day), arrived):
                return Answer("settle_first")
            round_ = await asking.round(day)
            shard = keys.shard_of(uid, round_.rules.shards)
            tail = order_no.new_tail(channel)
            prefix = round_.rules.order_prefix
            number = order_no.make(prefix, order_no.Place(day, shard, uid, tail))
            args = (uid, number, tail, extra.openId, extra.mobile, extra.nickname)
            now_ms, result = await asking.ask(JOIN, round_, shard, args, arrived)
            if isinstance(result, list):
                word, order_id, its_tail = result
                self._profiles.forget(uid)
                if word == b"order_pending":
                    number = order_no.make(prefix, order_no.Place(day, shard, uid, its_tail.decode()))
                order = {"order_id": order_id, "order_no": number, "amount": round_.rules.stake_fen}
                return Answer(word.decode(), order)
            if result != b"wrong_round":
                return Answer(result.decode())
            day = await asking.fitting(day, now_ms - asking.waited_ms(arrived), morning=False)
        raise Unavailable("no round fits the clock")

    async def _is_unsettled_member(self, uid: int, day: date, arrived: float) -> bool:
        """Whether the user is a member of the round of ``day`` and its settlement is not due yet."""
        round_ = await self._asking.round(day)
        settle_ms = self._asking.settle_ms(round_)
        if self._asking.time.now_ms() > settle_ms + UNSETTLED_MS:
            return False
        now_ms, state, _ = await self._asking.ask_user(STATUS, day, uid, arrived)
        unsettled = now_ms < settle_ms and state[0] in MEMBER_STATES
        if unsettled and not self._asking.time.agrees(now_ms):
            raise Unavailable("Redis' clock has jumped: nobody is refused by it")
        return unsettled

    async def check_in(self, uid: int, arrived: float, receipt: bool = False) -> Answer:
        """``receipt``: who checks in now wants one."""
        asking = self._asking
        at_ms, result, round_ = await asking.ask_today(CHECK_IN, uid, arrived)
        if isinstance(result, bytes) and result != b"already_checked_in":
            return Answer(result.decode())
        totals = asking.totals.known(round_.day) or await asking.totals_of(round_)
        if receipt and isinstance(result, int):
            shard = keys.shard_of(uid, round_.rules.shards)
            return _with_receipt(await self._receipts.checked_in(round_.day, shard, result, uid, at_ms), totals)
        return _checked_in(result, totals)

    async def check_in_status(self, uid: int, arrived: float) -> Answer:
        day = await self._asking.morning(arrived)
        _, state, _ = await self._asking.ask_user(STATUS, day, uid, arrived)
        return Answer("ok", {"is_check_in": int(state[0] in CHECKED_IN_STATES)})

    async def yesterday(self, uid: int, arrived: float) -> Answer:
        """The user's state in the round whose check-in day is today."""
        day = await self._asking.morning(arrived)
        _, state, _ = await self._asking.ask_user(STATUS, day, uid, arrived)
        said = {"clock_status": clock_status(state[0]), "red_status": red_status(state[0])}
        return Answer("ok", {"yesterday": said})

    async def claim(self, uid: int, arrived: float) -> Answer:
        _, result, _ = await self._asking.ask_today(CLAIM, uid, arrived)
        return _claimed(result)

    def check_in_at_once(self, waiter: Waiter, uid: int, arrived: float, receipt: bool = False) -> Finish | None:
        """Ask what :meth:`check_in` asks first; the result goes to ``waiter``, and what this returns makes the answer
        of it. ``None``, and nothing is asked, where this process does not have round, figures and the salt key of a
        receipt at hand."""
        asking = self._asking
        round_ = asking.known_morning(arrived)
        totals = asking.totals.known(round_.day) if round_ else None
        if round_ is None or totals is None:
            return None
        promises = self._receipts.at_hand(round_.day) if receipt else None
        if receipt and promises is None and not self._receipts.is_at_hand(round_.day):
            return None
        shard = asking.tell(waiter, CHECK_IN, round_, uid, arrived)
        if promises is None:
            return lambda _, said: self.check_in(uid, arrived) if said in ASK_ANOTHER else _checked_in(said, totals)
        return partial(self._finish_with_receipt, promises.check_ins, waiter, shard, uid, arrived, totals)

    def _finish_with_receipt(
        self, batch: Batch, waiter: Waiter, shard: int, uid: int, arrived: float, totals: Totals, at_ms: int, said: Any
    ) -> Finished:
        """A :data:`Finish`, bound to a request: as a function in a function it would be a dozen objects while it waits
        (docs/decisions/0078)."""
        if at_ms == RECEIPT:
            return _with_receipt(said, totals)
        if isinstance(said, int):
            batch.add(waiter, uid, (shard, said, uid, at_ms))
            return None
        return self.check_in(uid, arrived, receipt=True) if said in ASK_ANOTHER else _checked_in(said, totals)

    def claim_at_once(self, waiter: Waiter, uid: int, arrived: float) -> Finish | None:
        """As :meth:`check_in_at_once`, for :meth:`claim`."""
        round_ = self._asking.known_morning(arrived)
        if round_ is None:
            return None
        self._asking.tell(waiter, CLAIM, round_, uid, arrived)
        return lambda _, result: self.claim(uid, arrived) if result in ASK_ANOTHER else _claimed(result)


def _checked_in(said: bytes | int, totals: Totals) -> Answer:
    """Of a word of the script, or of a rank, which is told to who has checked in now."""
    if isinstance(said, int):
        return Answer("checked_in", {"money": totals.pool_fen})
    return Answer(said.decode(), {"money": totals.pool_fen} if said == b"already_checked_in" else {})


def _with_receipt(receipt: bytes | None, totals: Totals) -> Answer:
    """Of who has checked in now; without a receipt where none could be made."""
    if receipt is None:
        return Answer("checked_in", {"money": totals.pool_fen})
    return Spelt("checked_in", json=(b'{"money":%d,"receipt":' % totals.pool_fen, receipt, b"}"))


def _claimed(result: Any) -> Answer:
    if isinstance(result, list):
        word, packet, stake = result
        return Answer(word.decode(), {"assign": {"money": packet, "stake": stake, "total": packet + stake}})
    return Answer(result.decode())
