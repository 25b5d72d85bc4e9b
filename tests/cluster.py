"""A cluster of real Valkeys on this machine: made, grown, moved about and broken as its operators and its hosts do.

``async with cluster(data_dir) as six: …`` has three primaries with one replica each, all of them in step. Every
process is ended by its id.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import RedisError

from clock.runtime import directory, embedded, processes
from clock.runtime.ports import free_port
from clock.runtime.processes import Process
from tests.raw import Redis, plain

SLOTS = 16_384
NODE_TIMEOUT_MS = 1_500
"""After which a node is taken for dead; the default is ten times as long."""

MOST_S = 60.0
"""How long the cluster may take to become what it was told to be, on a busy machine."""

LINES = (
    # Where one primary is away, the others go on.
    "cluster-require-full-coverage no",
    # Whoever comes back as a replica begins to copy at once.
    "repl-diskless-sync-delay 0",
)


class Node(embedded.Valkey, frozen=True):
    """A Valkey with ``cluster-enabled yes``. By itself it knows nobody and has no slots."""

    timeout_ms: int = NODE_TIMEOUT_MS
    lines: tuple[str, ...] = ()
    """More lines of configuration."""

    @property
    def bus_port(self) -> int:
        """Where the other nodes find it: the default, its port + 10,000, may be taken."""
        return int(directory.keep(self.data_dir.absolute() / "valkey.bus", lambda: str(free_port())))

    def prepare(self, *, same_port: bool = False) -> None:
        super().prepare(same_port=same_port)
        cluster = ("cluster-enabled yes", f"cluster-port {self.bus_port}", f"cluster-node-timeout {self.timeout_ms}")
        with (self.data_dir.absolute() / "valkey.conf").open("a") as configuration:
            lines = (*cluster, *LINES, f"masterauth {self.password}", *self.lines)
            configuration.write("\n".join((*lines, "")))


class Seen(msgspec.Struct, frozen=True):
    """A node, as a node sees it."""

    id: str
    flags: frozenset[str]
    primary: str
    """The id of the node that it follows; empty for a primary."""
    slots: tuple[tuple[int, int], ...]
    """Ranges, both ends included."""

    @property
    def is_well(self) -> bool:
        return not self.flags & {"fail", "fail?", "handshake", "noaddr"}

    def has(self, slot: int) -> bool:
        return any(first <= slot <= last for first, last in self.slots)


def read_nodes(text: str) -> dict[str, Seen]:
    """``CLUSTER NODES``: by id. What is being moved is still its owner's."""
    found = {}
    for line in text.splitlines():
        node, _, flags, primary, _, _, _, _, *slots = line.split()
        ranges = [part.split("-") for part in slots if not part.startswith("[")]
        found[node] = Seen(
            node,
            frozenset(flags.split(",")) - {"myself"},
            primary.strip("-"),
            tuple((int(ends[0]), int(ends[-1])) for ends in ranges),
        )
    return found


async def until(holds: Callable[[], Awaitable[Any]], what: str, seconds: float = MOST_S) -> float:
    """Ask until the answer is a yes; seconds that it took. A node that does not answer says no."""
    began = time.monotonic()
    while True:
        with suppress(RedisError, OSError):
            if await holds():
                return time.monotonic() - began
        if time.monotonic() > began + seconds:
            raise TimeoutError(f"after {seconds:g} s still not: {what}")
        await asyncio.sleep(0.02)


class Cluster:
    """Nodes are added by :meth:`add`, and form a cluster by :meth:`create`; :func:`cluster` does both."""

    def __init__(self, data_dir: Path, timeout_ms: int = NODE_TIMEOUT_MS) -> None:
        self.nodes: list[Node] = []
        """Every node that was not taken out, whether it runs or not."""
        self.processes: dict[Node, Process] = {}
        self.ids: dict[Node, str] = {}
        self.password = directory.new_password()
        self._data_dir = data_dir
        self._timeout_ms = timeout_ms
        self._clients: dict[Node, Redis] = {}
        self._frozen: set[Node] = set()
        self._made = 0

    # -- addresses

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://:{self.password}@{hosts}"

    def client(self, node: Node) -> Redis:
        """A connection to this node alone; it follows no redirection."""
        if node not in self._clients:
            self._clients[node] = plain(node.url, socket_timeout=2.0, socket_connect_timeout=2.0)
        return self._clients[node]

    async def tell(self, node: Node, *words: Any) -> Any:
        return await self.client(node).execute_command(*words)

    def node(self, name: str) -> Node:
        """By its id."""
        (found,) = (node for node, own in self.ids.items() if own == name)
        return found

    # -- what it is now

    @property
    def running(self) -> list[Node]:
        return [node for node in self.nodes if node in self.processes and node not in self._frozen]

    async def seen(self, by: Node | None = None) -> dict[str, Seen]:
        """By id, as one node sees them all: this one, or the first that answers."""
        for node in [by] if by else self.running:
            with suppress(RedisError, OSError):
                return read_nodes((await self.tell(node, "CLUSTER", "NODES")).decode())
        raise RedisError("no node answers")

    async def primaries(self) -> list[Node]:
        """Those that have slots, in the order of the slots."""
        found = [one for one in (await self.seen()).values() if one.slots]
        return [self.node(one.id) for one in sorted(found, key=lambda one: one.slots)]

    async def owner(self, slot: int) -> Node:
        (found,) = (one for one in (await self.seen()).values() if one.has(slot))
        return self.node(found.id)

    async def replicas_of(self, node: Node) -> list[Node]:
        return [self.node(one.id) for one in (await self.seen()).values() if one.primary == self.ids[node]]

    async def is_well(self) -> bool:
        """Every node runs and knows every other, each slot has an owner of whom all know, each replica is in step,
        its file included."""
        if len(self.running) < len(self.nodes) or not await self._all_know_all():
            return False
        views = [await self.seen(by=node) for node in self.nodes]
        of_slots = {tuple(sorted((one.id, one.slots) for one in view.values() if one.slots)) for view in views}
        covered = sum(last - first + 1 for one in views[0].values() for first, last in one.slots)
        if len(of_slots) != 1 or covered != SLOTS:
            return False
        return all([await self._is_in_step(node) for node in self.nodes])

    async def _all_know_all(self) -> bool:
        views = [await self.seen(by=node) for node in self.running]
        names = set(self.ids.values())
        return all(view.keys() == names and all(one.is_well for one in view.values()) for view in views)

    async def _is_up(self, node: Node) -> bool:
        return b"cluster_state:ok" in await self.tell(node, "CLUSTER", "INFO")

    async def _all_are_up(self) -> bool:
        return all([await self._is_up(node) for node in self.running])

    async def _is_in_step(self, node: Node) -> bool:
        if not await self._is_up(node):
            return False
        copied = await self.client(node).info("replication")
        kept = await self.client(node).info("persistence")
        up = copied["role"] == "master" or copied["master_link_status"] == "up"
        return up and not (kept["loading"] or kept["aof_rewrite_in_progress"] or kept["aof_rewrite_scheduled"])

    async def become_well(self) -> float:
        return await until(self.is_well, "the cluster is whole and every replica in step")

    # -- making it

    async def add(self, count: int = 1, *, lines: Sequence[str] = ()) -> list[Node]:
        """Start so many nodes, which are introduced to all others, and are empty. Where there is a cluster already, a
        node refuses what it is asked in its first two seconds: it is waited for."""
        added = [await self._start(lines) for _ in range(count)]
        for number, node in enumerate(added):
            # Each by itself: word of mouth would take a second.
            for other in (*self.running, *added[:number]):
                await self.tell(other, "CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        self.nodes += added

        await until(self._all_know_all, "every node knows every other")
        if await self.primaries():
            await until(self._all_are_up, "the new nodes take the cluster for whole")
        return added

    async def _start(self, lines: Sequence[str]) -> Node:
        node = Node(self._data_dir / f"node{self._made}", timeout_ms=self._timeout_ms, lines=tuple(lines))
        self._made += 1
        directory.create(node.data_dir)
        directory.write_private(node.data_dir / "valkey.password", self.password)
        self.processes[node] = await embedded.start(node)
        self.ids[node] = (await self.tell(node, "CLUSTER", "MYID")).decode()
        await self.tell(node, "CLUSTER", "SET-CONFIG-EPOCH", self._made)
        return node

    async def create(self, primaries: int, replicas: Sequence[int]) -> None:
        """Slots in equal parts, one after the other. ``replicas`` is how many each primary gets, of the nodes after
        the primaries."""
        others = iter(self.nodes[primaries:])
        for number, node in enumerate(self.nodes[:primaries]):
            first, last = number * SLOTS // primaries, (number + 1) * SLOTS // primaries - 1
            await self.tell(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
            for _ in range(replicas[number]):
                await self.follow(next(others), node)
        await self.become_well()

    async def follow(self, node: Node, primary: Node) -> None:
        """An empty node becomes the replica of this one."""
        await self.tell(node, "CLUSTER", "REPLICATE", self.ids[primary])

    # -- breaking it

    async def kill(self, node: Node) -> None:
        """SIGKILL, by its process id; returns when it has ended."""
        process = self.processes.pop(node)
        process.send_signal(signal.SIGKILL)
        await processes.exited(process)

    async def restart(self, node: Node) -> None:
        """At the same port, with the same files. Where another has its slots by then, it becomes that one's replica."""
        self.processes[node] = await embedded.launch(node, same_port=True)
        await embedded.wait_ready(node, MOST_S)

    def freeze(self, node: Node) -> None:
        """Its host hangs: connections stay, nobody answers."""
        self.processes[node].send_signal(signal.SIGSTOP)
        self._frozen.add(node)

    def thaw(self, node: Node) -> None:
        self.processes[node].send_signal(signal.SIGCONT)
        self._frozen.discard(node)

    async def promoted(self, instead_of: Node) -> Node:
        """Wait until another node has taken the slots of one that is away, and say which."""
        (before,) = (one for one in (await self.seen()).values() if one.id == self.ids[instead_of])
        (slot, _), *_ = before.slots

        async def taken() -> bool:
            return await self.owner(slot) != instead_of

        await until(taken, "a replica has been promoted")
        return await self.owner(slot)

    # -- moving slots

    async def move(self, slot: int, to: Node, *, between: Callable[[], Awaitable[object]] | None = None) -> None:
        """The classic way, key by key, while clients go on. ``between`` is awaited when half of the keys are there."""
        source = await self.owner(slot)
        await self.tell(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.ids[source])
        await self.tell(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.ids[to])
        keys = await self.tell(source, "CLUSTER", "GETKEYSINSLOT", slot, 1_000)
        if between is not None:
            await self._migrate(source, to, keys[: len(keys) // 2])
            await between()
        while keys := await self.tell(source, "CLUSTER", "GETKEYSINSLOT", slot, 1_000):
            await self._migrate(source, to, keys)
        # The new owner first: if it ended between the two, nobody would have the slot.
        primaries = await self.primaries()
        for node in (to, source, *(one for one in primaries if one not in (to, source))):
            await self.tell(node, "CLUSTER", "SETSLOT", slot, "NODE", self.ids[to])
        await self._known(slot, to)

    async def _migrate(self, source: Node, to: Node, names: Sequence[bytes]) -> None:
        if names:
            target = ("127.0.0.1", to.port, "", 0, 5_000, "AUTH", self.password)
            await self.tell(source, "MIGRATE", *target, "KEYS", *names)

    async def move_range(self, first: int, last: int, to: Node) -> None:
        """All at once, as Valkey 9 does it by itself. The range must have one owner."""
        source = await self.owner(first)
        await self.tell(source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", self.ids[to])
        await self._known(first, to)
        await self._known(last, to)

    async def _known(self, slot: int, to: Node) -> None:
        """Every node knows who has the slot now."""

        async def known() -> bool:
            views = [await self.seen(by=node) for node in self.running]
            return all(view[self.ids[to]].has(slot) for view in views)

        await until(known, f"slot {slot} has moved")

    # -- growing and shrinking

    async def take_out(self, node: Node, to: Node) -> None:
        """Its slots go to another, everybody forgets it, it ends."""
        name = self.ids[node]
        for first, last in (await self.seen())[name].slots:
            await self.move_range(first, last, to)
        self.nodes.remove(node)
        for other in self.running:
            await self.tell(other, "CLUSTER", "FORGET", name)
        await self.client(node).aclose()
        await processes.stop(self.processes.pop(node), signal.SIGKILL)
        del self.ids[node], self._clients[node]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        for process in self.processes.values():
            # A stopped process would not hear anything else.
            await processes.stop(process, signal.SIGKILL)


@asynccontextmanager
async def cluster(
    data_dir: Path,
    replicas: Sequence[int] = (1, 1, 1),
    *,
    timeout_ms: int = NODE_TIMEOUT_MS,
    lines: Sequence[str] = (),
) -> AsyncIterator[Cluster]:
    """A whole cluster with so many replicas of each primary, all of them in step; killed at the end. ``lines`` are
    for every node."""
    made = Cluster(data_dir, timeout_ms)
    try:
        await made.add(len(replicas) + sum(replicas), lines=lines)
        await made.create(len(replicas), replicas)
        yield made
    finally:
        await made.close()
