"""The client of one server."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from clock.game.client.commands import Commands
from clock.game.client.pipe import Pipe
from clock.game.client.pool import NotReplicated, Pool

SCRIPT_SECONDS = 5.0
"""How long a call of a script may take: the server may be slow, and everybody's call waits on the same connection."""

T = TypeVar("T")


class Node(Redis):
    """A pool of connections to a server, which knows how safe a write must be. Calls of scripts share one connection
    of their own."""

    def __init__(self, pool: Pool, seconds: float = SCRIPT_SECONDS, *, replicated: bool = False) -> None:
        """``seconds`` is how long a script may take. ``replicated``: a write counts only when a replica has it too
        (``CLOCK_DURABILITY=replica``)."""
        super().__init__(connection_pool=pool)
        self.replicated = replicated
        self._pipe = Pipe(pool, seconds, pool.doubt, lambda: pool.on_doubt())
        pool.on_demotion = self._pipe.drop

    async def open(self) -> None:
        await self._pipe.open()

    async def server(self) -> str:
        await self._pipe.open()
        return self._pipe.server

    async def nodes(self) -> Sequence[Commands]:
        return [cast(Commands, self)]

    async def at(self, _name: str, ask: Callable[[Commands], Awaitable[T]]) -> T:
        try:
            return await ask(cast(Commands, self))
        except NotReplicated:
            await self.connection_pool.look_for_another()  # type: ignore[attr-defined]
            raise

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] in ("EVALSHA", "EVAL"):
            return await self._pipe.execute(*args)
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._pipe.aclose()
        await super().aclose(close_connection_pool)
        await self.connection_pool.disconnect()
