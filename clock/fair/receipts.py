"""Receipts: a batch of leaves under one tree, whose root is signed once. docs/fair.md has the formats.

The leaves are those that C's trees will have, so a receipt can be held against them.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Literal

from clock.fair.notes import Signer, sign

HEAD = "clock.receipts.v1/"

Promised = Literal["stake", "checked_in"]
"""The kinds of leaves that receipts are given for."""

_sha256 = hashlib.sha256
_BETWEEN = "\1"
"""Is in no leaf: many are treated as one text, which is cheaper."""


def text_of(kind: Promised, origin: str, day: str, signed_ms: int, size: int, root: bytes) -> str:
    """What is signed of a batch."""
    tree = f"{size} {base64.b64encode(root).decode()}"
    return f"{HEAD}{kind}\norigin: {origin}\nround: {day}\nsigned_ms: {signed_ms}\nleaves: {tree}\n"


def signed(signer: Signer, kind: Promised, day: str, signed_ms: int, leaves: Sequence[str]) -> Iterator[bytes]:
    """A receipt of each leaf, as JSON: ``{"leaf", "index", "size", "path", "note"}``. Leaves are ASCII, and at least
    one.

    Written as text, since it is the larger part of an answer: the rest of a path is spelt once for all leaves below it
    (docs/decisions/0078).
    """
    size, levels = len(leaves), _levels(leaves)
    [root] = levels[-1]
    note = sign(text_of(kind, signer.name, day, signed_ms, size, root), [signer])
    middle, end = f',"size":{size},"path":["', f'],"note":{json.dumps(note)}}}'
    spelt, hashes = _BETWEEN.join(leaves).replace("\n", "\\n").split(_BETWEEN), [one.hex() for one in levels[0]]
    left = 0
    for above in _paths(levels[1:-1]):  # of two leaves
        if left + 1 == size:
            yield f'{{"leaf":"{spelt[left]}","index":{left}{middle[:-1]}{above[2:]}{end}'.encode()
            return
        right = left + 1
        yield f'{{"leaf":"{spelt[left]}","index":{left}{middle}{hashes[right]}{above}{end}'.encode()
        yield f'{{"leaf":"{spelt[right]}","index":{right}{middle}{hashes[left]}{above}{end}'.encode()
        left += 2


def _levels(leaves: Sequence[str]) -> list[list[bytes]]:
    """Hashes from those of the leaves up to the root."""
    level = [_sha256(leaf).digest() for leaf in ("\0" + f"{_BETWEEN}\0".join(leaves)).encode().split(_BETWEEN.encode())]
    levels = [level]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [_sha256(b"\x01" + left + right).digest() for left, right in pairs] + level[len(level) & ~1 :]
        levels.append(level)
    return levels


def _paths(levels: Sequence[Sequence[bytes]]) -> list[str]:
    """Of each hash of the first level, from the quote on that ends the step before. ``levels``: up to the root, without
    it."""
    paths = ['"']
    for level in reversed(levels):
        steps = [f'","{level[place ^ 1].hex()}{paths[place >> 1]}' for place in range(len(level) & ~1)]
        paths = steps + paths[len(level) >> 1 :]
    return paths
