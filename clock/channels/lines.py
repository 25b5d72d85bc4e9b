"""The lines of a bill, ``{"lines": [{…}, {…}, …]}``, decoded while it is read: memory is bounded by a piece.

A piece is cut behind an object that a comma follows. It is not told from its brackets whether this is the end of a line
or of something within one: cut at a line's end, and nowhere else, what is before it is an array once it is closed.
"""

import re
from collections import deque
from collections.abc import AsyncIterator
from itertools import islice

import msgspec

from clock.channels import BillLine
from clock.domain.shapes import signed_decoder

PIECE = 1 << 18
"""Bytes that are collected before lines are decoded."""

MOST_PIECE = 1 << 22
"""No end of a line within so many bytes: unreadable."""

CUTS = 32
"""Places at which a piece is tried to be cut, from its end."""

CUT = re.compile(rb"\}\s*,")
HEAD = re.compile(rb'"lines"\s*:\s*\[')

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoders raise."""


class UnreadableLines(Exception):
    """Not what it should be, or too large."""


class _Bill(msgspec.Struct, frozen=True):
    lines: list[BillLine]


_bill, _lines = signed_decoder(_Bill), signed_decoder(list[BillLine])


async def pages_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[list[BillLine]]:
    """The lines of the bill whose bytes come in ``pieces``, in lists. Raises
    :class:`UnreadableLines`, maybe after some."""
    held, in_lines = bytearray(), False
    async for piece in pieces:
        held += piece
        in_lines = in_lines or _without_head(held)
        page = _cut(held) if in_lines and len(held) >= PIECE else []
        if page:
            yield page
        elif len(held) > MOST_PIECE:
            raise UnreadableLines("a line without end")
    try:
        last = _bill(b'{"lines":[' + held if in_lines else bytes(held)).lines
    except FAULTS as error:
        raise UnreadableLines(str(error)) from None
    if last:
        yield last


def _without_head(held: bytearray) -> bool:
    """Whether the lines have begun; what stands before them is taken away."""
    text = bytes(held)
    for found in islice(HEAD.finditer(text), CUTS):
        try:
            _bill(text[: found.end()] + b"]}")
        except FAULTS:  # within something else
            continue
        del held[: found.end()]
        return True
    return False


def _cut(held: bytearray) -> list[BillLine]:
    """As many lines as end within ``held``, which are taken away; none where none is seen to end."""
    text = bytes(held)
    for found in reversed(deque(CUT.finditer(text), CUTS)):
        try:
            lines = _lines(b"[" + text[: found.start() + 1] + b"]")
        except FAULTS:  # within a line
            continue
        del held[: found.end()]
        return lines
    return []
