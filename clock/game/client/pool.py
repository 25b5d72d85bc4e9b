"""Connections to one server, or to the one that Sentinels call the primary."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoReply

from clock.game.client.pipe import of_a_replica
from clock.redis_url import Address, Sentinels, sentinels

COMMAND_SECONDS = 1.0
"""How long a command of the pool may take, and connecting: what it asks for is read in milliseconds. A connection that
somebody in between has forgotten is left behind after this."""

SENTINEL_SECONDS = 0.5
"""How long a Sentinel may take: the next one is asked then."""

TURN_SECONDS = 5.0
"""How long a command waits for a connection of the pool."""

KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""An idle connection is kept in the memory of firewalls, and a server that has vanished is noticed within 25 s."""

REDIS_CONNECTIONS = 64


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
                self.host, self.port = self.pool.named = await self.pool.guards.primary()
        try:
            await super().connect()  # type: ignore[no-untyped-call]
        except (LostConnection, NoReply):
            self.pool.on_doubt()
            raise

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
        self.named: Address | None = None
        """What Sentinels named when the newest connection was made."""
        self.doubts = 0
        self.on_demotion: Callable[[RedisError], None] = lambda _: None
        """Called when a server says that it is no primary."""
        self.on_doubt: Callable[[], None] = lambda: None
        """Called when a connection fails, or a script waits for long."""

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

    async def look_for_another(self) -> None:
        """A primary that is cut off from its replicas and from the Sentinels has not heard that it is none any more,
        and would take writes for ever that nobody confirms."""
        if self.guards:
            with suppress(RedisError, OSError):
                if await self.guards.primary() != self.named:
                    self.doubt(ReadOnlyError("Sentinels name another primary"))

    def doubt(self, error: RedisError) -> None:
        self.doubts += 1
        self.on_doubt()
        if of_a_replica(error):
            self.on_demotion(error)


class Tidy(Pipeline):
    """A pipeline that gives its connection back in every case. redis-py's keeps it where the server does not answer
    UNWATCH, or a second cancellation comes meanwhile: it is lost to the pool, and the log has an error."""

    async def reset(self) -> None:
        try:
            await super().reset()  # type: ignore[no-untyped-call]
        finally:
            if self.connection is not None:
                connection, self.connection, self.watching = self.connection, None, False
                await connection.disconnect(nowait=True)
                with suppress(KeyError):  # it had been given back when the cancellation came
                    await self.connection_pool.release(connection)


def keep_alive() -> dict[str, Any]:
    """Options of a TCP connection; not every system has every one of :data:`KEEP_ALIVE`."""
    options = {getattr(socket, name): seconds for name, seconds in KEEP_ALIVE.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": options}
