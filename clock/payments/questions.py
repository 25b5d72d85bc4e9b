"""Lost callbacks: the channel is queried about unpaid orders, from two minutes on until their round has ended, and once
more about all of them before settlement.

A payment that a query finds is processed like a callback. What is unpaid, and when it is asked about, stands in the
table ``unpaid``. The next time is noted before a question is asked: whoever dies meanwhile, or waits for a slow
provider, does not ask about the same orders for ever.
"""

import asyncio
import time
from collections.abc import Awaitable
from datetime import date
from typing import Any

import structlog

from clock.books.store import Connection, Store, by_key, one, rows
from clock.channels import Channel
from clock.domain import order_no, progress
from clock.domain.outcomes import Busy, Unavailable
from clock.game.asking import Asking
from clock.payments.incoming import Incoming

log = structlog.get_logger()

AFTER_JOINING_MS = 120_000
"""Every unpaid order is queried once more this long after joining has closed, so that a user who paid at the last
moment and whose callback was lost is a member before check-in opens."""

AT_ONCE = 100
IN_FLIGHT = 20
GATE_PAGE = 500
"""Orders that settlement takes up at once."""

ASK_SECONDS = 10.0
"""How long the questions about a round's due orders take; those without an answer then are asked about another time."""

GATE_SECONDS = 20.0
"""How long settlement queries a round's unpaid orders; those still unknown then are listed for operators."""

PAGE = 20_000
"""Orders that are marked as unanswered in one transaction."""


class Questions:
    def __init__(self, store: Store, asking: Asking, incoming: Incoming, channels: dict[str, Channel]) -> None:
        self._store = store
        self._asking = asking
        self._incoming = incoming
        self._channels = channels
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)

    async def ask_some(self, day: date, now_ms: int) -> int:
        """Query the unpaid orders of a round that are due; returns their number."""
        again_ms = await self._again_ms(day, now_ms)
        async with self._store.transaction() as connection:
            await by_key(connection)
            due = await rows(connection, "lock_unpaid_due", day=day, now_ms=now_ms, limit=AT_ONCE)
            await _note_asked(connection, day, due, now_ms, again_ms)
        if due:
            answers = await self._answers(due, ASK_SECONDS)
            async with self._store.transaction() as connection:
                await _note_answers(connection, day, due, answers)
        return len(due)

    async def ask_all(self, day: date, now_ms: int) -> None:
        """Before settlement: query the round's unpaid orders, as many as the time allows, and mark the others as
        unanswered. The time is counted from the first attempt on, and what that has asked is not asked again."""
        async with self._store.transaction() as connection:
            await rows(connection, "join_by_hash")
            await rows(connection, "complete_unpaid", day=day)
            begun = await one(connection, "begin_sweep", day=day)
        until = time.monotonic() + min(GATE_SECONDS, GATE_SECONDS - begun["since_s"])
        after, asked = begun["swept_uid"], 0
        again_ms = await self._again_ms(day, now_ms)
        while time.monotonic() < until:
            async with self._store.transaction() as connection:
                await by_key(connection)
                page = await rows(connection, "lock_unpaid_page", day=day, after=after, limit=GATE_PAGE)
                await _note_asked(connection, day, page, now_ms, again_ms)
            if not page:
                break
            answers = await self._answers(page, max(0.0, until - time.monotonic()))
            after = page[-1]["uid"]
            async with self._store.transaction() as connection:
                await _note_answers(connection, day, page, answers)
                await rows(connection, "save_swept", day=day, last=after)
            asked += len(page)
            progress.at("unpaid orders", asked)
        await self._end_sweep(day, after)

    async def _end_sweep(self, day: date, after: int) -> None:
        """The channel has not said whether the orders after this user are paid."""
        while last := (await self._store.page("unpaid_last", day=day, after=after, limit=PAGE))[0]["last"]:
            async with self._store.transaction() as connection:
                await by_key(connection)
                await rows(connection, "mark_unanswered", day=day, after=after, last=last)
                await rows(connection, "save_swept", day=day, last=last)
            after = last
        unknown = (await self._store.all("mark_swept", day=day))[0]["unanswered_orders"]
        if unknown:
            log.error("orders_unanswered", day=str(day), orders=unknown)

    async def _again_ms(self, day: date, now_ms: int) -> int | None:
        """When every unpaid order is asked about once more, unless that is over."""
        again_ms = (await self._asking.round(day)).at.join_closes_ms + AFTER_JOINING_MS
        return again_ms if now_ms < again_ms else None

    async def _answers(self, asked: list[dict[str, Any]], seconds: float) -> list[str]:
        return await _within(seconds, [self._ask(row["order_no"]) for row in asked])

    async def _ask(self, number: str) -> str:
        """The channel's state of the order. An unexpected error is logged and counts as unknown; the others go on."""
        try:
            return await self._answer(number)
        except Exception as error:
            log.error("question_broke", order_no=number, exc_info=error)
            return "unknown"

    async def _answer(self, number: str) -> str:
        channel = self._channels.get(order_no.channel_of(number))
        if channel is None:
            return "unknown"
        async with self._in_flight:
            order = await channel.query_order(number)
            if order.state == "paid":
                if order.payment is None:
                    return "unknown"
                try:
                    answer = await self._incoming.pay(order.payment, channel.name, time.monotonic())
                except (Busy, Unavailable):
                    return "unknown"
                log.info("lost_callback_found", order_no=number, answer=answer.word)
            return order.state


async def _note_asked(
    connection: Connection, day: date, asked: list[dict[str, Any]], now_ms: int, again_ms: int | None
) -> None:
    uids = [row["uid"] for row in asked]
    await rows(connection, "note_asked", day=day, uids=uids, now_ms=now_ms, again_ms=again_ms)


async def _note_answers(connection: Connection, day: date, asked: list[dict[str, Any]], answers: list[str]) -> None:
    """Of orders that are still unpaid."""
    uids = [row["uid"] for row in asked]
    unpaid = {row["uid"] for row in await rows(connection, "lock_unpaid", day=day, uids=uids)}
    left = [pair for pair in zip(asked, answers, strict=True) if pair[0]["uid"] in unpaid]
    await rows(
        connection,
        "note_answers",
        day=day,
        uids=[row["uid"] for row, _ in left],
        order_nos=[row["order_no"] for row, _ in left],
        answers=[answer for _, answer in left],
    )


async def _within(seconds: float, questions: list[Awaitable[str]]) -> list[str]:
    """The answers within the timeout; ``unknown`` for the others."""
    tasks = [asyncio.ensure_future(question) for question in questions]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return ["unknown" if task in late else task.result() for task in tasks]
