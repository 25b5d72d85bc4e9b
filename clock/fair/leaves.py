"""The leaves of a round's trees: texts, so that whoever has one can read it. docs/fair.md has the formats.

Who is in a tree cannot be guessed from its hashes: the leaf of a user has a salt, which the user alone is told.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Literal

Kind = Literal["stake", "checked_in", "packet"]

Row = tuple[int, int, int | str, int]
"""What a leaf has between its day and its salt."""

SALT_BYTES = 16
_BLOCK = hashlib.sha256().block_size


def salt_of(salt_key: bytes, kind: Kind, uid: int) -> str:
    """In hexadecimal; follows from the round's salt key, which is never published."""
    return hmac.digest(salt_key, f"{kind}\n{uid}\n".encode(), "sha256")[:SALT_BYTES].hex()


class Salts:
    """The salts of one kind of leaves of a round: :func:`salt_of` in half of its time. HMAC (RFC 2104) is two hashes,
    and each begins the same for every user."""

    def __init__(self, salt_key: bytes, kind: Kind) -> None:
        """``salt_key``: no longer than a block of SHA-256."""
        block = salt_key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + f"{kind}\n".encode())
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def of_all(self, uids: Iterable[int]) -> list[str]:
        begin, end, salts = self._inner.copy, self._outer.copy, []
        for uid in uids:
            inner, outer = begin(), end()
            inner.update(b"%d\n" % uid)
            outer.update(inner.digest())
            salts.append(outer.hexdigest()[: 2 * SALT_BYTES])
        return salts


def stake(day: str, shard: int, uid: int, order_no: str, amount_fen: int, salt: str) -> str:
    return salted("stake", day, f"{shard}\n{uid}\n{order_no}\n{amount_fen}", salt)


def checked_in(day: str, shard: int, rank: int, uid: int, at_ms: int, salt: str) -> str:
    """``rank``: from 1, within the shard."""
    return salted("checked_in", day, f"{shard}\n{rank}\n{uid}\n{at_ms}", salt)


def of_all(kind: Kind, day: str, rows: Iterable[Row], salts: Iterable[str]) -> list[str]:
    """Many leaves that have four values, as :func:`stake` and :func:`checked_in` name them."""
    head = f"clock/leaf/v1 {kind}\n{day}\n"
    return [f"{head}{a}\n{b}\n{c}\n{d}\n{salt}\n" for (a, b, c, d), salt in zip(rows, salts, strict=True)]


def salted(kind: Kind, day: str, values: str, salt: str) -> str:
    """``values``: what comes between day and salt, a line each."""
    return f"clock/leaf/v1 {kind}\n{day}\n{values}\n{salt}\n"


def packet(day: str, shard: int, rank: int, fen: int) -> str:
    """Public as the packets are: no salt."""
    return f"clock/leaf/v1 packet\n{day}\n{shard}\n{rank}\n{fen}\n"
