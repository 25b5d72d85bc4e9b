"""The one place that knows the Redis server: connections, calls of scripts, what a replica must confirm.

A call is NOSCRIPT-proof: a server that does not know a script is given its text.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoReply

from clock.game import keys
from clock.game.commands import Commands
from clock.game.pipe import Pipe, of_a_replica
from clock.game.scripts import Script, Value
from clock.redis_url import Sentinels, sentinels

COMMAND_SECONDS = 1.0
"""How long a command of the pool may take, and connecting: what it asks for is read in milliseconds. A connection that
somebody in between has forgotten is left behind after this."""

SENTINEL_SECONDS = 0.5
"""How long a Sentinel may take: the next one is asked then."""

SCRIPT_SECONDS = 5.0
"""How long a call of a script may take: the server may be slow, and everybody's call waits on the same connection."""

TURN_SECONDS = 5.0
"""How long a command waits for a connection of the pool."""

KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""An idle connection is kept in the memory of firewalls, and a server that has vanished is noticed within 25 s."""

REDIS_CONNECTIONS = 64

REPLICA_MS = 500
"""How long a batch waits for a replica to have it, and then for both to have it on disk."""


class NotReplicated(RedisError):
    """No replica has confirmed a write in time; asking again is safe."""


class Attentive(AbstractConnection):
    """Mixed into a connection of redis-py: tells its pool of answers that cast doubt on every other."""

    pool: "Pool"
    host: str
    port: int
    made_after = 0
    """The pool's doubts when this connection was made."""

    async def connect(self) -> None:
        if not self.is_connected:
            self.made_after = self.pool.doubts
            if self.pool.guards:
                self.host, self.port = await self.pool.guards.primary()
        await super().connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except (LostConnection, NoReply) as error:
            self.pool.doubt(error)
            raise
        except ResponseError as error:
            if of_a_replica(error):
                self.pool.doubt(error)
            raise


class Guards:
    """Sentinels, asked for the primary before each connection is made."""

    def __init__(self, named: Sentinels, **options: Any) -> None:
        options |= {**named.login, "socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
        self._name = named.name
        self._sentinel = Sentinel(named.hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]

    async def primary(self) -> tuple[str, int]:
        """Host and port. Raises a ``RedisError`` where no Sentinel answers, or none knows a primary that is up."""
        host, port = await self._sentinel.discover_master(self._name)
        return str(host), int(port)

    async def aclose(self) -> None:
        for each in self._sentinel.sentinels:
            await each.aclose()


class Pool(BlockingConnectionPool):
    """Connections to whatever the URL means now.

    An answer of a demoted primary, a silence, or a lost connection casts doubt on all connections that were made before
    it: each is made anew before its next command. So an address that has moved to another server is followed, also
    where the old one keeps its connections, and where somebody in between has forgotten them.
    """

    def __init__(self, connection_class: type[AbstractConnection] = Connection, **options: Any) -> None:
        attentive = type(f"Attentive{connection_class.__name__}", (Attentive, connection_class), {})
        super().__init__(connection_class=attentive, **options)
        self.guards: Guards | None = None
        self.doubts = 0
        self.on_demotion: Callable[[RedisError], None] = lambda _: None
        """Called when a server says that it is no primary."""

    @classmethod
    def of(cls, url: str) -> "Pool":
        """The one reader of Redis' URLs. Commands are never sent again by the client: a lost reply does not mean that
        nothing was done."""
        named = sentinels(url)
        pool = cls.from_url(
            named.server_url if named else url,
            max_connections=REDIS_CONNECTIONS,
            timeout=TURN_SECONDS,
            socket_timeout=COMMAND_SECONDS,
            socket_connect_timeout=COMMAND_SECONDS,
            retry_on_timeout=False,
            retry_on_error=[],
            **({} if url.startswith("unix:") else keep_alive()),
        )
        if named:
            tls = {name: value for name, value in pool.connection_kwargs.items() if name.startswith("ssl_")}
            pool.guards = Guards(named, ssl=url.startswith("rediss"), **tls)
        return pool

    def make_connection(self) -> Attentive:
        connection: Attentive = super().make_connection()  # type: ignore[no-untyped-call]
        connection.pool = self
        return connection

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if self.guards:
            await self.guards.aclose()

    async def ensure_connection(self, connection: Any) -> None:
        if connection.made_after != self.doubts:
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)

    def doubt(self, error: RedisError) -> None:
        self.doubts += 1
        if of_a_replica(error):
            self.on_demotion(error)


def keep_alive() -> dict[str, Any]:
    """Options of a TCP connection; not every system has every one of :data:`KEEP_ALIVE`."""
    options = {getattr(socket, name): seconds for name, seconds in KEEP_ALIVE.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": options}


class Client(Redis):
    """A pool of connections to the server of the rounds, which knows how safe a write must be. Calls of scripts share
    one connection of their own."""

    def __init__(self, pool: Pool, seconds: float, *, replicated: bool = False) -> None:
        """``seconds`` is how long a script may take. ``replicated``: a write counts only when a replica has it too
        (``CLOCK_DURABILITY=replica``)."""
        super().__init__(connection_pool=pool)
        self.replicated = replicated
        self._pipe = Pipe(pool, seconds, pool.doubt)
        pool.on_demotion = self._pipe.drop

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
        await self.connection_pool.disconnect()


def connect(url: str, *, replicated: bool = False) -> Commands:
    return cast(Commands, Client(Pool.of(url), SCRIPT_SECONDS, replicated=replicated))


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
