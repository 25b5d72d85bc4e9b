"""State of users that outlives a round: the reminder switch, and whether a result is unseen.

All users are in one hash, with its own slot and its own outbox. Requests go through the batcher, many users a call,
in parallel with the script of the round.
"""

import asyncio
from typing import Any, Protocol

from clock.domain.outcomes import Answer, Unavailable
from clock.game import keys
from clock.game.batch import Batcher
from clock.game.scripts import Script, Value, load

FLAGS, REMIND, ACK_ALERT = load("flags"), load("remind"), load("ack_alert")


Asked = asyncio.Future[Any]


def _looked_at(asked: Asked) -> None:
    """Mark the exception as retrieved: the caller may already have failed on another query."""
    if not asked.cancelled():
        asked.exception()


class Opens(Protocol):
    async def open_flags(self) -> None:
        """Makes sure that the hash exists. Raises :class:`Unavailable`, also if the hash was in use and is lost."""
        ...


class Flags:
    def __init__(self, batcher: Batcher, opener: Opens) -> None:
        self._batcher = batcher
        self._opener = opener

    def ask(self, uid: int, arrived: float) -> Asked:
        """Start the query whose result :meth:`of` takes; the caller can run others meanwhile."""
        asked = self._batcher.submit(FLAGS, keys.USERS, 0, (uid,), arrived)
        asked.add_done_callback(_looked_at)
        return asked

    async def of(self, uid: int, arrived: float, asked: Asked | None = None) -> tuple[int, int]:
        """``is_remind`` and ``is_alert``, from the query ``asked`` or from a new one."""
        _, word = await (asked or self.ask(uid, arrived))
        digits = bytes(word) if word != b"no_flags" else await self._ask(FLAGS, (uid,), arrived)
        return digits[0] - ord("0"), digits[1] - ord("0")

    async def remind(self, uid: int, on: bool, arrived: float) -> Answer:
        await self._ask(REMIND, (uid, int(on)), arrived)
        return Answer("ok", {"is_remind": int(on)})

    async def ack_alert(self, uid: int, arrived: float) -> Answer:
        await self._ask(ACK_ALERT, (uid,), arrived)
        return Answer("ok", {"is_alert": 0})

    async def _ask(self, script: Script, args: tuple[Value, ...], arrived: float) -> bytes:
        for _ in range(2):
            _, word = await self._batcher.submit(script, keys.USERS, 0, args, arrived)
            if word != b"no_flags":
                return bytes(word)
            await self._opener.open_flags()
        raise Unavailable("the flags of users do not open")
