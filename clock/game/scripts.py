"""Loads ``lua/``, checks each script's header against what it says it does, and calls scripts NOSCRIPT-proof.

A header is the comment at the top of a file: its name and one sentence, then ``KEYS``, ``ARGV`` (fixed words, a
bar, words per user), ``RETURNS``, ``WORDS``, optionally ``ROW``, ``ENTRY`` (the event and its fields) and ``FLAGS``.

``ROW`` names what else there is of each user. It comes for all users in one argument, ``rows``: a MessagePack array of
their values one after the other. An argument of its own for each costs Redis 0.5 µs (docs/decisions/0001).
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import NoScriptError, RedisError

from clock.files import folder
from clock.game import events, keys
from clock.game.pipe import Pipe

Value = str | int | bytes

REPLICA_MS = 500
"""How long a batch waits for a replica to have it, and then for both to have it on disk."""


class BadScript(Exception):
    """A script's header and its text, its keys or its event disagree."""


class NotReplicated(RedisError):
    """No replica has confirmed a write in time; asking again is safe."""


class Script(msgspec.Struct, frozen=True):
    verb: str
    nouns: tuple[str, ...]
    """The keys that it takes, by the nouns of :mod:`clock.game.keys`."""
    fixed: tuple[str, ...]
    per_user: tuple[str, ...]
    row: tuple[str, ...]
    words: frozenset[str]
    only_reads: bool
    source: str
    sha: str


@cache
def load(verb: str) -> Script:
    """Read ``lua/<verb>.lua``. Raises :class:`BadScript` where header and text disagree."""
    body = (folder("lua") / f"{verb}.lua").read_text("utf-8")
    prelude = (folder("lua") / "prelude.lua").read_text("utf-8")
    return parse(verb, body, prelude)


def parse(verb: str, body: str, prelude: str) -> Script:
    header = _header(verb, body)
    fixed, _, per_user = header["ARGV"].partition("|")
    flags = header.get("FLAGS", "")
    shebang = f"#!lua flags={flags}\n" if flags else "#!lua\n"
    source = shebang + prelude + body
    script = Script(
        verb=verb,
        nouns=tuple(header["KEYS"].split()),
        fixed=tuple(fixed.split()),
        per_user=tuple(per_user.split()),
        row=tuple(header.get("ROW", "").split()),
        words=frozenset(header["WORDS"].split()),
        only_reads="no-writes" in flags.split(","),
        source=source,
        sha=hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(),
    )
    _check(script, body, header.get("ENTRY", ""))
    return script


def _header(verb: str, body: str) -> dict[str, str]:
    lines = []
    for line in body.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].strip())
    if not lines or not lines[0].startswith(f"{verb}: "):
        raise BadScript(f"lua/{verb}.lua must start with '-- {verb}: ' and a sentence")
    header = {}
    for line in lines[1:]:
        label, _, rest = line.partition(" ")
        header[label] = rest.strip()
    for label in ("KEYS", "ARGV", "RETURNS", "WORDS"):
        if label not in header:
            raise BadScript(f"lua/{verb}.lua: its header has no {label}")
    return header


def _check(script: Script, body: str, entry: str) -> None:
    where = f"lua/{script.verb}.lua"
    for noun in script.nouns:
        if noun not in keys.NOUNS + keys.USER_NOUNS:
            raise BadScript(f"{where}: no such key: {noun}")
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", body)}
    if used and max(used) > len(script.nouns):
        raise BadScript(f"{where}: uses KEYS[{max(used)}], declares {len(script.nouns)}")
    if "#KEYS" not in body and used != set(range(1, len(script.nouns) + 1)):
        raise BadScript(f"{where}: declares keys that it does not use")
    for word in script.words:
        if word.isidentifier() and len(word) > 1 and f"'{word}'" not in body:
            raise BadScript(f"{where}: never answers {word!r}")
    if ("rows" in script.fixed) != bool(script.row) or "rows" in script.fixed[:-1]:
        raise BadScript(f"{where}: rows without ROW, or the other way round")
    if ("append(" in body) != bool(entry):
        raise BadScript(f"{where}: appends without saying so in ENTRY, or the other way round")
    if entry:
        tag, *fields = entry.split()
        kind = events.BY_TAG.get(tag)
        if kind is None or list(kind.__struct_fields__) != fields:
            raise BadScript(f"{where}: ENTRY {entry!r} is not an event of clock.game.events")


def of_users(script: Script, users: Sequence[Sequence[Value]]) -> list[Value]:
    """The arguments of a script that speak of its users: of each the uid, then whatever the header names. What is
    in rows is numbers and texts; Redis' MessagePack knows no bytes."""
    if not script.row:
        return [value for user in users for value in user]
    rows = [value for user in users for value in user[1:]]
    return [msgspec.msgpack.encode(rows), *(user[0] for user in users)]


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

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] in ("EVALSHA", "EVAL"):
            return await self._pipe.execute(*args)
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._pipe.aclose()
        await super().aclose(close_connection_pool)


async def call(redis: Any, script: Script, names: Sequence[str], args: Sequence[Value]) -> list[Any]:
    """Run a script on its keys. A server that does not know it (restart, failover, SCRIPT FLUSH) is given its text.

    Where ``redis`` is replicated, the answer counts only when this server and a replica have it, and all that it may
    speak of, in their append-only files; :class:`NotReplicated` where they did not say so in time: done here, but
    not safe yet. A script that only reads waits for nobody.
    """
    if getattr(redis, "replicated", False) and not script.only_reads:
        return await _call_replicated(redis, script, names, args)
    try:
        reply = await redis.execute_command("EVALSHA", script.sha, len(names), *names, *args)
    except NoScriptError:
        reply = await redis.execute_command("EVAL", script.source, len(names), *names, *args)
    return list(reply)


async def _call_replicated(redis: Any, script: Script, names: Sequence[str], args: Sequence[Value]) -> list[Any]:
    reply, *waited = await _and_wait(redis, names[0], "EVALSHA", script.sha, len(names), *names, *args)
    if isinstance(reply, NoScriptError):
        reply, *waited = await _and_wait(redis, names[0], "EVAL", script.source, len(names), *names, *args)
    if isinstance(reply, Exception):
        raise reply
    _require_replica(waited)
    return list(reply)


async def wait_for_replica(redis: Any, name: str) -> None:
    """Return when a replica has whatever was written until now beside the key ``name``, where that is asked for.
    Raises :class:`NotReplicated`."""
    if getattr(redis, "replicated", False):
        _require_replica(await _and_wait(redis, name))


async def _and_wait(redis: Any, name: str, *command: Value) -> list[Any]:
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
