"""Receipts: a batch of leaves under one tree, whose root is signed once. docs/fair.md has the formats.

The leaves are those that C's trees will have, so a receipt can be held against them.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Literal

from clock.fair.notes import Signer, sign
from clock.fair.trees import EMPTY

HEAD = "clock.receipts.v1/"

Promised = Literal["stake", "checked_in"]
"""The kinds of leaves that receipts are given for."""

_sha256 = hashlib.sha256


def text_of(kind: Promised, origin: str, day: str, signed_ms: int, size: int, root: bytes) -> str:
    """What is signed of a batch."""
    tree = f"{size} {base64.b64encode(root).decode()}"
    return f"{HEAD}{kind}\norigin: {origin}\nround: {day}\nsigned_ms: {signed_ms}\nleaves: {tree}\n"


def signed(signer: Signer, kind: Promised, day: str, signed_ms: int, leaves: Sequence[str]) -> list[bytes]:
    """A receipt of each leaf, as JSON: ``{"leaf", "index", "size", "path", "note"}``. Leaves are ASCII.

    Written as text, since it is the larger part of an answer: each hash is spelt once, and so is the rest of a path
    for all leaves below it (docs/decisions/0078).
    """
    size, level = len(leaves), [_sha256(b"\x00" + leaf.encode()).digest() for leaf in leaves]
    levels = []
    while len(level) > 1:
        levels.append(level)
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [_sha256(b"\x01" + left + right).digest() for left, right in pairs] + level[len(level) & ~1 :]
    text = text_of(kind, signer.name, day, signed_ms, size, level[0] if level else EMPTY)
    end = f'],"note":{json.dumps(sign(text, [signer]))}}}'
    return [
        f'{{"leaf":"{leaf}","index":{index},"size":{size},"path":[{path[1:]}{end}'.replace("\n", "\\n").encode()
        for index, (leaf, path) in enumerate(zip(leaves, _paths(levels), strict=True))
    ]


def _paths(levels: Sequence[Sequence[bytes]]) -> list[str]:
    """Of each leaf, a comma before each hash. ``levels``: the leaves' hashes first, without the root."""
    paths = [""]
    for level in reversed(levels):
        spelt = [f',"{node.hex()}"' for node in level]
        beside = [spelt[place ^ 1] for place in range(len(spelt) & ~1)]
        above = [paths[place >> 1] for place in range(len(spelt))]
        paths = [one + rest for one, rest in zip(beside, above, strict=False)] + above[len(beside) :]
    return paths
