"""Loads ``lua/``, checks each script's header against what it says it does, and calls scripts NOSCRIPT-proof.

A header is the comment at the top of a file: its name and one sentence, then ``KEYS``, ``ARGV`` (fixed words, a
bar, words per user), ``RETURNS``, ``WORDS``, optionally ``ENTRY`` (the event and its fields) and ``FLAGS``.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import NoScriptError, RedisError

from clock import events, keys

Value = str | int | bytes

REPLICA_MS = 1_000
"""How long a batch waits for a replica."""


class BadScript(Exception):
    """A script's header and its text, its keys or its event disagree."""


class NotReplicated(RedisError):
    """No replica has confirmed a write in time; asking again is safe."""


class Script(msgspec.Struct, frozen=True):
    verb: str
    nouns: tuple[str, ...]
    """The keys that it takes, by the nouns of :mod:`clock.keys`."""
    fixed: tuple[str, ...]
    per_user: tuple[str, ...]
    words: frozenset[str]
    source: str
    sha: str


def folder(name: str) -> Path:
    """``lua`` or ``sql``: inside the installed package, or beside it in a checkout."""
    inside = Path(str(files("clock"))) / name
    return inside if inside.is_dir() else Path(str(files("clock"))).parent / name


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
        words=frozenset(header["WORDS"].split()),
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
        if noun not in keys.NOUNS:
            raise BadScript(f"{where}: no such key: {noun}")
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", body)}
    if used and max(used) > len(script.nouns):
        raise BadScript(f"{where}: uses KEYS[{max(used)}], declares {len(script.nouns)}")
    if "#KEYS" not in body and used != set(range(1, len(script.nouns) + 1)):
        raise BadScript(f"{where}: declares keys that it does not use")
    for word in script.words:
        if word.isidentifier() and len(word) > 1 and f"'{word}'" not in body:
            raise BadScript(f"{where}: never answers {word!r}")
    if ("append(" in body) != bool(entry):
        raise BadScript(f"{where}: appends without saying so in ENTRY, or the other way round")
    if entry:
        tag, *fields = entry.split()
        kind = events.BY_TAG.get(tag)
        if kind is None or list(kind.__struct_fields__) != fields:
            raise BadScript(f"{where}: ENTRY {entry!r} is not an event of clock.events")


async def call(redis: Any, script: Script, names: Sequence[str], args: Sequence[Value]) -> list[Any]:
    """Run a script on its keys. A server that does not know it (restart, failover, SCRIPT FLUSH) is given its text."""
    try:
        reply = await redis.execute_command("EVALSHA", script.sha, len(names), *names, *args)
    except NoScriptError:
        reply = await redis.execute_command("EVAL", script.source, len(names), *names, *args)
    return list(reply)


async def call_replicated(redis: Any, script: Script, names: Sequence[str], args: Sequence[Value]) -> list[Any]:
    """As :func:`call`, and acknowledged only when this server and a replica have it in their append-only files.

    Raises :class:`NotReplicated` where they did not say so in time: done here, but not safe yet.
    """
    reply, kept = await _with_wait(redis, "EVALSHA", script.sha, names, args)
    if isinstance(reply, NoScriptError):
        reply, kept = await _with_wait(redis, "EVAL", script.source, names, args)
    for answer in (reply, kept):
        if isinstance(answer, Exception):
            raise answer
    if kept[0] < 1 or kept[1] < 1:
        raise NotReplicated(f"{kept[0]} local and {kept[1]} replica files have it")
    return list(reply)


async def _with_wait(redis: Any, command: str, what: str, names: Sequence[str], args: Sequence[Value]) -> Any:
    """On one connection, since WAITAOF speaks of that connection's writes."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.execute_command(command, what, len(names), *names, *args)
    pipeline.execute_command("WAITAOF", 1, 1, REPLICA_MS)
    return await pipeline.execute(raise_on_error=False)
