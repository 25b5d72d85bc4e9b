"""What operators do, each act under a name: written down before it is done, then what became of it.

A large sum needs a second name (``CLOCK_SECOND_NAME_FEN``): the first call only says what is wanted, and the same act
by another name within 24 hours carries it out, once. Reasons may differ, and so may a sum that has grown meanwhile.
"""

import getpass
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from redis.exceptions import RedisError

from clock.books.store import one
from clock.domain.outcomes import Answer, Unavailable
from clock.service import Service

log = structlog.get_logger()

AWAY = (Unavailable, RedisError, OSError)
"""What ``work`` raises where a server is away: the act may be asked for again."""

UNFINISHED = ("working", "unavailable")
"""Words of work that goes on: its end is written when it is there (:mod:`clock.operators.work`)."""

COMMAND_LINE = "command line"
"""The address of a command."""


class By(msgspec.Struct, frozen=True):
    """Who acts. ``who``: the ``sub`` of the token. ``address``: the client's, as the edge knows it."""

    who: str
    address: str


class Act(msgspec.Struct, frozen=True):
    """What is to be done. ``about``: the day, number or id; ``detail``: the rest of what decides it, as JSON can have
    it. Two acts are the same if ``act``, ``about`` and ``detail`` are. ``amount_fen``: only of acts that move money."""

    act: str
    about: str
    detail: dict[str, Any] = {}
    reason: str = ""
    amount_fen: int | None = None


def command_line() -> By:
    """The system's user at this host."""
    return By(f"{getpass.getuser()}@{socket.gethostname()}", COMMAND_LINE)


async def perform(service: Service, by: By, act: Act, work: Callable[[int], Awaitable[Answer]]) -> Answer:
    """Write the act down, do it, write its word down; ``work`` takes the act's id. Raises
    :class:`~clock.domain.outcomes.Unavailable` before anything is done if it cannot be written, and whatever ``work``
    raises. The word ``second_name_needed``: nothing is done yet."""
    number, others = await _write(service, by, act)
    if needs_second_name(service, act) and not others:
        answer = Answer("second_name_needed", {"act": number})
    else:
        try:
            answer = await work(number)
        except Exception as error:
            await _end(service, number, "unavailable" if isinstance(error, AWAY) else "internal")
            raise
    if answer.word not in UNFINISHED:
        await _end(service, number, answer.word)
    return answer


def needs_second_name(service: Service, act: Act) -> bool:
    return 0 < service.settings.second_name_fen < (act.amount_fen or 0)


async def _write(service: Service, by: By, act: Act) -> tuple[int, int]:
    """The act's id, and how often another name has asked for the same within a day."""
    given = {**msgspec.structs.asdict(act), "detail": msgspec.json.encode(act.detail, order="sorted").decode()}
    async with service.store.transaction() as connection:
        written = await one(connection, "write_act", who=by.who, address=by.address[:64], **given)
    return written["id"], written["others"]


async def _end(service: Service, number: int, word: str) -> None:
    """It is done, or is not, whether this can be written or not: the caller is told so."""
    try:
        await service.store.all("end_act", act=number, word=word)
    except Unavailable as error:
        log.error("act_end_not_written", act=number, word=word, error=str(error))


async def listed(service: Service, page: int, limit: int, about: str | None = None, who: str | None = None) -> Answer:
    """Acts, newest first, with their words; ``waits``: for a second name."""
    offset = (page - 1) * limit
    return Answer(
        "ok", {"items": await service.store.all("list_acts", about=about, who=who, limit=limit, offset=offset)}
    )
