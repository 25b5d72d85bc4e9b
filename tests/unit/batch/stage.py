"""A stand-in for Redis, and callers of the batcher."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date
from time import monotonic
from typing import Any

import msgspec
import pytest

from clock.domain.outcomes import Unavailable
from clock.game.batch import Batcher
from clock.game.keys import Day
from clock.game.scripts import Script, Value, load
from tests.conftest import DAY

SOON = 5.0

CHECK_IN, CLAIM, STATUS, PAY = (load(verb) for verb in ("check_in", "claim", "status", "pay"))


class Redis:
    """Stands in for the call of a script, so that a test decides when it comes back and with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Day, int, list[Value]]] = []
        self.answers: list[asyncio.Future[list[Any]]] = []
        self.at_once: Callable[[Script, Sequence[Value]], list[Any]] | None = None

    async def __call__(self, script: Script, day: Day, shard: int, args: Sequence[Value]) -> list[Any]:
        self.calls.append((script.verb, day, shard, list(args)))
        if self.at_once:
            return self.at_once(script, args)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        return await answer

    def uids(self) -> list[list[Value]]:
        """The users of each call so far."""
        return [uids_of(load(verb), args) for verb, _, _, args in self.calls]

    def answer(self, call: int) -> None:
        """Every user of the call gets ``word <uid>`` at time 7."""
        self.answers[call].set_result([7, *(f"word {int(uid)}" for uid in self.uids()[call])])


def uids_of(script: Script, args: Sequence[Value]) -> list[Value]:
    return list(args[1:] if script.row else args[:: len(script.per_user)])


def rows_of(args: Sequence[Value]) -> list[Any]:
    """What is in the argument ``rows``."""
    assert isinstance(args[0], bytes)
    return msgspec.msgpack.decode(args[0], type=list[Any])


def echo(script: Script, args: Sequence[Value]) -> list[Any]:
    return [7, *(f"word {int(uid)}" for uid in uids_of(script, args))]


def all_paid(script: Script, args: Sequence[Value]) -> list[Any]:
    return [7, *[b"paid"] * len(uids_of(script, args))]


def submit(
    batcher: Batcher, *uids: int, script: Script = CHECK_IN, day: date = DAY, shard: int = 0
) -> list[asyncio.Future[Any]]:
    return [batcher.submit(script, day, shard, (uid,), monotonic()) for uid in uids]


async def all_of(futures: Iterable[Awaitable[Any]]) -> list[Any]:
    """Their results, soon: a batcher that forgets somebody must fail the test, not hang it."""
    return await asyncio.wait_for(asyncio.gather(*futures), SOON)


async def turns(count: int = 10) -> None:
    """Let the loop turn until nothing more happens by itself."""
    for _ in range(count):
        await asyncio.sleep(0)


async def unavailable(future: asyncio.Future[Any]) -> str:
    with pytest.raises(Unavailable) as raised:
        await asyncio.wait_for(future, SOON)
    return str(raised.value)
