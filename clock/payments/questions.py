"""Lost callbacks: the channel is queried about unpaid orders, from two minutes on until their round has ended, and once
more about all of them before settlement.

A payment that a query finds is processed like a callback.
"""

import asyncio
import time
from datetime import date
from typing import Any

import msgspec
import structlog

from clock.books.store import Store
from clock.channels import Channel
from clock.domain.outcomes import Busy, Unavailable
from clock.game.asking import Asking
from clock.payments.incoming import Incoming

log = structlog.get_logger()

FIRST_AFTER_MS = 120_000
AFTER_JOINING_MS = 120_000
"""Every unpaid order is queried once more this long after joining has closed, so that a user who paid at the last
moment and whose callback was lost is a member before check-in opens."""

AT_ONCE = 100
IN_FLIGHT = 20
GATE_SECONDS = 20.0
"""How long settlement queries a round's unpaid orders; those still unknown then are listed for operators."""


class Questions:
    def __init__(self, store: Store, asking: Asking, incoming: Incoming, channel: Channel) -> None:
        self._store = store
        self._asking = asking
        self._incoming = incoming
        self._channel = channel
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)

    async def ask_some(self, day: date, now_ms: int) -> int:
        """Query the unpaid orders of a round that are due; returns their number."""
        due = await self._store.all("unpaid_orders_due", day=day, now_ms=now_ms, first=FIRST_AFTER_MS, limit=AT_ONCE)
        answers = await asyncio.gather(*(self._ask(row["order_no"]) for row in due))
        await self._note(day, due, answers, now_ms)
        return len(due)

    async def ask_all(self, day: date, now_ms: int) -> int:
        """Before settlement: query every unpaid order of the round, with a timeout; returns how many stay unknown."""
        until = time.monotonic() + GATE_SECONDS
        unpaid = await self._store.all("unpaid_orders", day=day)
        unknown = len(unpaid)
        for start in range(0, len(unpaid), AT_ONCE):
            some = unpaid[start : start + AT_ONCE]
            left = max(0.0, until - time.monotonic())
            answers = await _within(left, [asyncio.create_task(self._ask(row["order_no"])) for row in some])
            await self._note(day, some, answers, now_ms)
            unknown -= sum(answer != "unknown" for answer in answers)
        if unknown:
            log.error("orders_unanswered", day=str(day), orders=unknown)
        return unknown

    async def _ask(self, number: str) -> str:
        """The channel's state of the order. An unexpected error is logged and counts as unknown; the others go on."""
        try:
            return await self._answer(number)
        except Exception as error:
            log.error("question_broke", order_no=number, exc_info=error)
            return "unknown"

    async def _answer(self, number: str) -> str:
        async with self._in_flight:
            order = await self._channel.query_order(number)
            if order.state == "paid":
                if order.payment is None:
                    return "unknown"
                raw = msgspec.json.encode(order.payment)
                try:
                    answer = await self._incoming.pay(order.payment, self._channel.name, raw, time.monotonic())
                except (Busy, Unavailable):
                    return "unknown"
                log.info("lost_callback_found", order_no=number, answer=answer.word)
            return order.state

    async def _note(self, day: date, asked: list[Any], answers: list[str], now_ms: int) -> None:
        numbers = [row["order_no"] for row in asked]
        again_ms = (await self._asking.round(day)).at.join_closes_ms + AFTER_JOINING_MS
        await self._store.all(
            "note_questions",
            day=day,
            order_nos=numbers,
            answers=answers,
            now_ms=now_ms,
            again_ms=again_ms if now_ms < again_ms else None,
        )


async def _within(seconds: float, questions: list[asyncio.Task[str]]) -> list[str]:
    """The answers within the timeout; ``unknown`` for the others."""
    _, late = await asyncio.wait(questions, timeout=seconds)
    for question in late:
        question.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return ["unknown" if question in late else question.result() for question in questions]
