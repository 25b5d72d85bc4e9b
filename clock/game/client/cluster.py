"""The client of a cluster: a client a node, and the table that says which node has which slot.

The table is read at the start, and again when an answer, a silence or a lost connection says that it may be old. A call
that a node answers with MOVED was not carried out, and is sent to the node that the answer names. Whatever else goes
wrong meanwhile fails, and is asked again by its caller: scripts are safe to repeat. So is a call in a slot that is on
its way (ASK, TRYAGAIN): most scripts have keys on both sides then, and no node carries them out.

Redis Cluster specification: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, TypeVar, cast

import structlog
from redis.commands import AsyncCoreCommands
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as NoReply

from clock.game import keys
from clock.game.client.commands import Commands
from clock.game.client.node import Node
from clock.game.client.pool import Pool
from clock.game.scripts import Value
from clock.redis_url import Address, Nodes

log = structlog.get_logger()

T = TypeVar("T")

ASK_SECONDS = 0.5
"""How long a node may take to tell its table: others are asked at the same time."""

ASKED = 3
"""Nodes that are asked for the table at once."""

PAUSE_SECONDS = 0.2
"""Between two readings of the table."""

DOUBTFUL = ("MOVED ", "CLUSTERDOWN")
"""How answers begin which say that the table may be old. Pools tell of those of a replica, and of lost connections."""

KEYLESS = {"CONFIG GET", "INFO", "WAIT", "WAITAOF"}
"""Commands with words that are no keys."""


def key_of(command: Sequence[Value]) -> bytes:
    """The first key of a command; empty for one without."""
    word = command[0]
    place = 3 if word in ("EVALSHA", "EVAL") else 1
    if word in KEYLESS or place >= len(command):
        return b""
    key = command[place]
    return key if isinstance(key, bytes) else str(key).encode()


def has_moved(answer: object) -> bool:
    """Whether it says that another node has the slot, so that nothing was done."""
    return isinstance(answer, ResponseError) and str(answer).startswith("MOVED ")


class Cluster(AsyncCoreCommands):
    """Takes the commands of a server, and sends each to the node that has its key. A command without a key goes to the
    node that has slot 0."""

    connection_pool: Any = None
    """Each node has its own."""

    def __init__(self, named: Nodes, *, replicated: bool = False) -> None:
        self.replicated = replicated
        self._named = named
        self._known: list[Address] = []
        """Of all nodes, by the table."""
        self._clients: dict[Address, Node] = {}
        self._table: list[Node | None] = []
        """The primary of each slot; empty before it was read."""
        self._reading: asyncio.Task[None] | None = None
        self._read_at = -PAUSE_SECONDS
        self._closing: set[asyncio.Task[None]] = set()

    # -- what callers use

    async def open(self) -> None:
        await asyncio.gather(*(node.open() for node in await self.nodes()))

    async def aclose(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        for client in self._clients.values():
            self._let_go(client)
        self._clients, self._table = {}, []
        await asyncio.gather(*self._closing)

    async def nodes(self) -> Sequence[Commands]:
        if not self._table:
            await self._read()
        return [cast(Commands, node) for node in dict.fromkeys(self._table) if node is not None]

    async def server(self) -> str:
        return await self.at("", lambda node: node.server())

    async def at(self, name: str, ask: Callable[[Commands], Awaitable[T]]) -> T:
        return await self._at(keys.slot_of(name.encode()), ask)

    async def _at(self, slot: int, ask: Callable[[Commands], Awaitable[T]]) -> T:
        if not self._table:
            await self._read()
        try:
            return await ask(self._owner(slot))
        except RedisError as error:
            if str(error).startswith(DOUBTFUL):
                self._read_soon()
            if not has_moved(error):
                raise
            self._move(error)
        return await ask(self._owner(slot))

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return await self._at(keys.slot_of(key_of(args)), lambda node: node.execute_command(*args, **options))

    def pipeline(self, transaction: bool = True) -> "Several":  # a transaction has one slot: no use of it
        return Several(self)

    async def scan_iter(self, *args: Any, **options: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        for node in await self.nodes():
            async for name in node.scan_iter(*args, **options):
                yield name

    def group(self, commands: Sequence[Sequence[Value]]) -> dict[Commands, list[int]]:
        """The places of the commands, by the node that has their key."""
        places: dict[Commands, list[int]] = {}
        for place, command in enumerate(commands):
            places.setdefault(self._owner(keys.slot_of(key_of(command))), []).append(place)
        return places

    # -- the table

    def _move(self, error: RedisError) -> None:
        """Take the answer's word for one slot until the table is read: ``MOVED SLOT HOST:PORT``."""
        _, slot, where = str(error).split()[:3]
        host, _, port = where.rpartition(":")
        asked = self._table[int(slot)]
        if not host and asked is not None:  # the same as that of the node which answers
            host = asked.connection_pool.connection_kwargs["host"]
        self._table[int(slot)] = self._client((host, int(port)))

    def _owner(self, slot: int) -> Commands:
        node = self._table[slot] if self._table else None
        if node is None:
            self._read_soon()
            raise LostConnection(f"no node has slot {slot}")
        return cast(Commands, node)

    def _read_soon(self) -> None:
        """Have the table read, unless that is under way."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_table())
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _read(self) -> None:
        """Read the table; concurrent callers share it. Raises a ``RedisError`` where no node answers."""
        self._read_soon()
        assert self._reading is not None
        await asyncio.shield(self._reading)

    async def _read_table(self) -> None:
        await asyncio.sleep(self._read_at + PAUSE_SECONDS - monotonic())
        self._read_at = monotonic()
        known = random.sample(self._known, min(ASKED, len(self._known)))
        try:
            ranges = await self._first(known)
        except RedisError:
            ranges = await self._first(self._named.hosts[:ASKED] + self._known)
        self._take(ranges)

    async def _first(self, addresses: Sequence[Address]) -> list[Any]:
        """What the first of them says whose cluster is up. Raises what the last one raised."""
        asked = [asyncio.create_task(self._ask(address)) for address in dict.fromkeys(addresses)]
        failure: RedisError = LostConnection("no node of the cluster is known")
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return await answer
                except RedisError as error:
                    failure = error
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        raise failure

    async def _ask(self, address: Address) -> list[Any]:
        """``CLUSTER SLOTS``, with the node's own host where it names none."""
        connection = Pool.of(self._named.server_url(address)).make_connection()
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await connection.connect()
                await connection.send_command("CLUSTER", "INFO")
                if b"cluster_state:ok" not in await connection.read_response():
                    raise LostConnection(f"the cluster is down, says {address[0]}:{address[1]}")
                await connection.send_command("CLUSTER", "SLOTS")
                ranges = await connection.read_response()
        except TimeoutError:
            raise NoReply(f"{address[0]}:{address[1]} does not tell its table in {ASK_SECONDS:g} s") from None
        finally:
            await connection.disconnect(nowait=True)
        return [[start, end, *(_address(node, address[0]) for node in nodes)] for start, end, *nodes in ranges]

    def _take(self, ranges: list[Any]) -> None:
        table: list[Node | None] = [None] * keys.SLOTS
        primaries = {primary for _, _, primary, *_ in ranges}
        for start, end, primary, *_ in ranges:
            table[start : end + 1] = [self._client(primary)] * (end + 1 - start)
        self._known = list(dict.fromkeys(address for _, _, *nodes in ranges for address in nodes))
        self._table = table
        for address in self._clients.keys() - primaries:
            log.info("redis_node_left", host=address[0], port=address[1])
            self._let_go(self._clients.pop(address))

    def _let_go(self, client: Node) -> None:
        """Whoever waits on it is told so; that says nothing about the others."""
        cast(Pool, client.connection_pool).on_doubt = lambda: None
        task = asyncio.create_task(client.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _client(self, address: Address) -> Node:
        client = self._clients.get(address)
        if client is None:
            pool = Pool.of(self._named.server_url(address))
            pool.on_doubt = self._read_soon
            client = self._clients[address] = Node(pool, replicated=self.replicated)
        return client


def _address(node: Sequence[Any], asked: str) -> Address:
    host = node[0].decode() if node[0] else ""
    return (asked if host in ("", "?") else host), int(node[1])


class Several:
    """Commands of several keys, in one round trip to each node that has some of them, in order."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._commands: list[tuple[Value, ...]] = []

    def execute_command(self, *words: Value) -> None:
        self._commands.append(words)

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers, in the order of the commands. Raises the first error, when all nodes have answered."""
        commands, self._commands = self._commands, []
        await self._cluster.nodes()
        answers: list[Any] = [None] * len(commands)
        groups = self._cluster.group(commands)
        await asyncio.gather(*(self._ask(node, places, commands, answers) for node, places in groups.items()))
        for place, command in enumerate(commands):
            if has_moved(answers[place]):
                answers[place] = await self._cluster.execute_command(*command)
            if raise_on_error and isinstance(answers[place], Exception):
                raise answers[place]
        return answers

    async def _ask(
        self, node: Commands, places: list[int], commands: Sequence[tuple[Value, ...]], answers: list[Any]
    ) -> None:
        pipeline = node.pipeline(transaction=False)
        for place in places:
            pipeline.execute_command(*commands[place])
        for place, answer in zip(places, await pipeline.execute(raise_on_error=False), strict=True):
            answers[place] = answer
