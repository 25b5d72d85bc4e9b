"""Connecting, calling scripts, and what a replica must confirm.

A call is NOSCRIPT-proof: a server that does not know a script is given its text.
"""

from collections.abc import Sequence
from typing import Any, cast

from redis.exceptions import NoScriptError

from clock import redis_url
from clock.game import keys
from clock.game.client.cluster import Cluster, has_moved
from clock.game.client.commands import Commands
from clock.game.client.node import Node
from clock.game.client.pool import NotReplicated, Pool
from clock.game.scripts import Script, Value

REPLICA_MS = 500
"""How long a batch waits for a replica to have it, and then for both to have it on disk."""


def connect(url: str, *, replicated: bool = False) -> Commands:
    """The client of what the URL names, without connecting."""
    cluster = redis_url.cluster(url)
    if cluster is not None:
        return cast(Commands, Cluster(cluster, replicated=replicated))
    return cast(Commands, Node(Pool.of(url), replicated=replicated))


async def call(
    redis: Commands, script: Script, names: Sequence[str], args: Sequence[Value], *, may_be_lost: bool = False
) -> list[Any]:
    """Run a script on its keys. A server that does not know it (restart, failover, SCRIPT FLUSH) is given its text.

    Where ``redis`` is replicated, the answer counts only when this server and a replica have it, and all that it may
    speak of, in their append-only files; :class:`NotReplicated` where they did not say so in time: done here, but
    not safe yet. A script that only reads waits for nobody, nor does one whose writes ``may_be_lost``.
    """
    if redis.replicated and not script.only_reads and not may_be_lost:
        return await _call_replicated(redis, script, names, args)
    try:
        reply = await redis.execute_command("EVALSHA", script.sha, len(names), *names, *args)
    except NoScriptError:
        reply = await redis.execute_command("EVAL", script.source, len(names), *names, *args)
    return list(reply)


async def _call_replicated(redis: Commands, script: Script, names: Sequence[str], args: Sequence[Value]) -> list[Any]:
    reply = await _and_wait(redis, names[0], "EVALSHA", script.sha, len(names), *names, *args)
    if isinstance(reply, NoScriptError):
        reply = await _and_wait(redis, names[0], "EVAL", script.source, len(names), *names, *args)
    if isinstance(reply, Exception):
        raise reply
    return list(reply)


async def wait_for_replica(redis: Commands, name: str) -> None:
    """Return when a replica has whatever was written until now beside the key ``name``, where that is asked for.
    Raises :class:`NotReplicated`."""
    if redis.replicated:
        reply = await _and_wait(redis, name)
        if isinstance(reply, Exception):
            raise reply


async def _and_wait(redis: Commands, name: str, *command: Value) -> Any:
    """A command, a mark, WAIT and WAITAOF, in one round trip on one connection to the server that has ``name``; what
    the first of them answers, also where that is an error. Raises :class:`NotReplicated`.

    Both waits speak of that connection's last write: the mark is one, where the command wrote nothing and answers what
    another connection wrote. WAIT asks the replica how far it is; WAITAOF alone waits for its report, once a second.
    """

    async def ask(node: Commands) -> Any:
        pipeline = node.pipeline(transaction=False)
        if command:
            pipeline.execute_command(*command)
        pipeline.execute_command("SET", keys.mark(name), 1, "PX", keys.MARK_MS)
        pipeline.execute_command("WAIT", 1, REPLICA_MS)
        pipeline.execute_command("WAITAOF", 1, 1, REPLICA_MS)
        reply, *others = await pipeline.execute(raise_on_error=False)
        if has_moved(reply):
            raise reply
        if not isinstance(reply, Exception):
            _require_replica(others)
        return reply

    return await redis.at(name, ask)


def _require_replica(waited: Sequence[Any]) -> None:
    for answer in waited:
        if isinstance(answer, Exception):
            raise answer
    local, remote = waited[-1]
    if local < 1 or remote < 1:
        raise NotReplicated(f"{local} local and {remote} replica files have it")
