"""Long work that operators ask for: a worker does it, or a command by itself; the table ``work`` says how far it is."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import msgspec
from redis.exceptions import RedisError

from clock.domain import progress
from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import parse_day
from clock.game import keys
from clock.operators import money, rounds
from clock.operators.acts import By
from clock.operators.work import table
from clock.operators.work.table import Row, Running, Seen, Taken
from clock.payments.again import Kind
from clock.service import Service

WAIT_SECONDS = 10.0
"""How long whoever asks over HTTP waits for the end."""

NO_WORKER_SECONDS = 3.0
"""After so long nobody has begun: if no worker beats, there is none."""

LOOK_SECONDS = 0.1


class Piece(msgspec.Struct, frozen=True):
    """What is to be done: a kind of :data:`DOING`, what it is about (a day, a kind of money, or nothing), and what else
    decides it."""

    kind: str
    about: str
    arguments: dict[str, Any] = {}


Doing = Callable[[Service, str, dict[str, Any]], Awaitable[Answer]]

DOING: dict[str, Doing] = {
    "settle": lambda service, about, _: rounds.settle(service.settling, parse_day(about)),
    "void": lambda service, about, given: rounds.void(service.voiding, parse_day(about), given.get("reason", "")),
    "reconcile": lambda service, about, _: rounds.reconcile_rounds(service, parse_day(about) if about else None),
    "rebuild": lambda service, about, _: rounds.rebuild(service, parse_day(about) if about else None),
    "again": lambda service, about, _: money.all_again(service, msgspec.convert(about, Kind)),
    "acknowledge": lambda service, about, _: money.all_acknowledged(service, msgspec.convert(about, Kind)),
}
"""How work of a kind is done. Each may be killed anywhere, and done again."""

Run = Callable[[Service, By, Piece, int], Awaitable[Answer]]
"""How a verb has its work done, :func:`asked` or :func:`here`; the number is the act's."""


async def done(service: Service, row: Row) -> Answer:
    """Do what the row says, in this process. Raises :class:`Taken` if somebody else has it now."""
    running = Running(service.store, row.kind, row.about, row.holder, row)
    return await running.run(lambda: DOING[row.kind](service, row.about, row.arguments))


async def asked(service: Service, by: By, piece: Piece, act: int) -> Answer:
    """Have a worker do it, and wait a moment for the end. ``working``: it goes on. ``unavailable``: no worker lives, or
    a server was away; it is done as soon as one can."""
    number = await table.ask(service.store, piece.kind, piece.about, piece.arguments, by.who, act)
    began = monotonic()
    seen = Seen("waiting", piece.kind, piece.about)
    while True:
        try:
            seen = await table.seen(service.store, number)
        except Unavailable:  # it is kept all the same
            return Answer("unavailable", _shown(seen))
        if seen.answer is not None:
            return Answer(**seen.answer)
        waited = monotonic() - began
        if seen.tried or (waited > NO_WORKER_SECONDS and not seen.alive and not await _worker_lives(service)):
            return Answer("unavailable", _shown(seen))
        if waited > WAIT_SECONDS:
            return Answer("working", _shown(seen))
        await asyncio.sleep(LOOK_SECONDS)


async def here(service: Service, by: By, piece: Piece, _: int) -> Answer:
    """Do it in this process, whether a worker lives or not. Where somebody does it already, say how far that is, and
    wait for its end."""
    while True:
        row = await table.hold(service.store, piece.kind, piece.about, piece.arguments, by.who)
        try:
            answer = await (done(service, row) if row else _end_of_others(service, piece))
        except Taken:
            continue
        if answer is not None:
            return answer


async def _end_of_others(service: Service, piece: Piece) -> Answer | None:
    """What became of it elsewhere; None if nobody does it any more."""
    number = await table.unfinished(service.store, piece.kind, piece.about)
    while number is not None:
        seen = await table.seen(service.store, number)
        if seen.answer is not None:
            return Answer(**seen.answer)
        if not seen.alive:
            break
        if seen.step:
            progress.at(seen.step, seen.done or 0, seen.total)
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def listed(service: Service, about: str | None = None, limit: int = 20) -> Answer:
    """What waits and runs, then how the last pieces ended."""
    return Answer("ok", {"items": await table.listed(service.store, about, limit)})


async def _worker_lives(service: Service) -> bool:
    try:
        return bool(await service.redis.exists(keys.HEARTBEAT))
    except (RedisError, OSError):
        return False


def _shown(seen: Seen) -> dict[str, Any]:
    return {
        "kind": seen.kind,
        "about": seen.about,
        "state": seen.state,
        "step": seen.step,
        "done": seen.done,
        "total": seen.total,
    }
