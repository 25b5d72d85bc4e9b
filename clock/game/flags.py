"""State of users that outlives a round: the reminder switch, and whether a result is unseen.

Users are divided into shards that no round changes, each with a hash and an outbox. Requests go through the batcher,
many users a call, in parallel with the script of the round.
"""

from datetime import date
from typing import Protocol

from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import day_of_number
from clock.game import keys
from clock.game.batch import Asked, Batcher, Waiter
from clock.game.scripts import Script, Value, load

FLAGS, REMIND, ACK_ALERT = load("flags"), load("remind"), load("ack_alert")


class Opens(Protocol):
    async def open_flags(self) -> None:
        """Makes sure that the hashes exist. Raises :class:`Unavailable`, also if one was in use and is lost."""
        ...


class Flags:
    def __init__(self, batcher: Batcher, opener: Opens) -> None:
        self._batcher = batcher
        self._opener = opener

    def ask(self, uid: int, arrived: float) -> Asked:
        """Start the query whose result :meth:`of` takes; the caller can run others meanwhile."""
        return self._batcher.submit(FLAGS, keys.USERS, keys.user_shard(uid), (uid,), arrived)

    def tell(self, waiter: Waiter, uid: int, arrived: float) -> None:
        """Start the query of :meth:`ask`, for ``waiter``."""
        self._batcher.tell(waiter, FLAGS, keys.USERS, keys.user_shard(uid), (uid,), arrived)

    async def of(self, uid: int, arrived: float, asked: Asked | None = None) -> tuple[int, date | None]:
        """``is_remind``, and the round whose result the user has not seen; from the query ``asked`` or a new one."""
        _, word = await (asked or self.ask(uid, arrived))
        said = bytes(word) if word != b"no_flags" else await self._ask(FLAGS, uid, (), arrived)
        return said[0] - ord("0"), day_of_number(int(said[2:])) if said[1] == ord("1") else None

    async def remind(self, uid: int, on: bool, arrived: float) -> Answer:
        await self._ask(REMIND, uid, (int(on),), arrived)
        return Answer("ok", {"is_remind": int(on)})

    async def ack_alert(self, uid: int, arrived: float) -> Answer:
        await self._ask(ACK_ALERT, uid, (), arrived)
        return Answer("ok", {"is_alert": 0})

    async def _ask(self, script: Script, uid: int, args: tuple[Value, ...], arrived: float) -> bytes:
        shard = keys.user_shard(uid)
        for _ in range(2):
            _, word = await self._batcher.submit(script, keys.USERS, shard, (uid, *args), arrived)
            if word != b"no_flags":
                return bytes(word)
            await self._opener.open_flags()
        raise Unavailable("the flags of users do not open")
