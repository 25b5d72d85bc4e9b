"""Loads ``lua/`` and checks each script's header against what the script does.

A header is the comment at the top of a file: its name and one sentence, then ``KEYS``, ``ARGV`` (fixed words, a
bar, words per user), ``RETURNS``, ``WORDS``, optionally ``ROW``, ``ENTRY`` (the event and its fields) and ``FLAGS``.

``ROW`` names further values of each user. They come for all users in one argument, ``rows``: a MessagePack array of
the values one after the other, which is cheaper in Redis than an argument each (docs/decisions/0001).
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cache

import msgspec

from clock.files import folder
from clock.game import events, keys

Value = str | int | bytes


class BadScript(Exception):
    """A script's header does not match its text, its keys or its event."""


class Script(msgspec.Struct, frozen=True):
    verb: str
    nouns: tuple[str, ...]
    """The keys that it takes, as nouns of :mod:`clock.game.keys`."""
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
    """A script's arguments about its users: of each the uid, then the words that the header names. Values in ``rows``
    are numbers and texts; Redis' MessagePack has no bytes."""
    if not script.row:
        return [value for user in users for value in user]
    rows = [value for user in users for value in user[1:]]
    return [msgspec.msgpack.encode(rows), *(user[0] for user in users)]
