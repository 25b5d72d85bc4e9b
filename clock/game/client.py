"""The one place that knows the Redis server: connections, calls of scripts, what a replica must confirm.

A call is NOSCRIPT-proof: a server that does not know a script is given its text.
"""

from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.exceptions import NoScriptError, RedisError

from clock.game import keys
from clock.game.commands import Commands
from clock.game.pipe import Pipe
from clock.game.scripts import Script, Value

REDIS_TIMEOUT_SECONDS = 5.0
REDIS_CONNECTIONS = 64

REPLICA_MS = 500
"""How long a batch waits for a replica to have it, and then for both to have it on disk."""


class NotReplicated(RedisError):
    """No replica has confirmed a write in time; asking again is safe."""


class Client(Redis):
    """A connection pool to the server of the rounds, which knows how safe a write must be. Calls of scripts share one
    connection of their own."""

    def __init__(self, pool: ConnectionPool, seconds: float, *, replicated: bool = False) -> None:
        """``seconds`` is how long a script may take. ``replicated``: a write counts only when a replica has it too
        (``CLOCK_DURABILITY=replica``)."""
        super().__init__(connection_pool=pool)
        self.replicated = replicated
        self._pipe = Pipe(pool, seconds)

    async def open(self) -> None:
        """Connect now, not with the first script, when descriptors may be scarce. Raises a ``RedisError``."""
        await self._pipe.open()

    @property
    def server(self) -> str:
        return self._pipe.server

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] in ("EVALSHA", "EVAL"):
            return await self._pipe.execute(*args)
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._pipe.aclose()
        await super().aclose(close_connection_pool)


def connect(url: str, *, replicated: bool = False) -> Commands:
    """Commands are never sent again by the client: a lost reply does not mean that nothing was done."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=REDIS_CONNECTIONS,
        timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        retry_on_timeout=False,
        retry_on_error=[],
    )
    return cast(Commands, Client(pool, REDIS_TIMEOUT_SECONDS, replicated=replicated))


async def call(redis: Commands, script: Script, names: Sequence[str], args: Sequence[Value]) -> list[Any]:
    """Run a script on its keys. A server that does not know it (restart, failover, SCRIPT FLUSH) is given its text.

    Where ``redis`` is replicated, the answer counts only when this server and a replica have it, and all that it may
    speak of, in their append-only files; :class:`NotReplicated` where they did not say so in time: done here, but
    not safe yet. A script that only reads waits for nobody.
    """
    if redis.replicated and not script.only_reads:
        return await _call_replicated(redis, script, names, args)
    try:
        reply = await redis.execute_command("EVALSHA", script.sha, len(names), *names, *args)
    except NoScriptError:
        reply = await redis.execute_command("EVAL", script.source, len(names), *names, *args)
    return list(reply)


async def _call_replicated(redis: Commands, script: Script, names: Sequence[str], args: Sequence[Value]) -> list[Any]:
    reply, *waited = await _and_wait(redis, names[0], "EVALSHA", script.sha, len(names), *names, *args)
    if isinstance(reply, NoScriptError):
        reply, *waited = await _and_wait(redis, names[0], "EVAL", script.source, len(names), *names, *args)
    if isinstance(reply, Exception):
        raise reply
    _require_replica(waited)
    return list(reply)


async def wait_for_replica(redis: Commands, name: str) -> None:
    """Return when a replica has whatever was written until now beside the key ``name``, where that is asked for.
    Raises :class:`NotReplicated`."""
    if redis.replicated:
        _require_replica(await _and_wait(redis, name))


async def _and_wait(redis: Commands, name: str, *command: Value) -> list[Any]:
    """A command, a mark, WAIT and WAITAOF, in one round trip on one connection.

    Both speak of that connection's last write: the mark is one, where the command wrote nothing and answers what
    another connection wrote. WAIT asks the replica how far it is; WAITAOF alone waits for its report, once a second.
    """
    pipeline = redis.pipeline(transaction=False)
    if command:
        pipeline.execute_command(*command)
    pipeline.set(keys.mark(name), 1, px=keys.MARK_MS)
    pipeline.execute_command("WAIT", 1, REPLICA_MS)
    pipeline.execute_command("WAITAOF", 1, 1, REPLICA_MS)
    return list(await pipeline.execute(raise_on_error=False))


def _require_replica(waited: Sequence[Any]) -> None:
    for answer in waited:
        if isinstance(answer, Exception):
            raise answer
    local, remote = waited[-1]
    if local < 1 or remote < 1:
        raise NotReplicated(f"{local} local and {remote} replica files have it")
