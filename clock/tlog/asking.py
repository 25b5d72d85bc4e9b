"""One question to a witness over HTTP (https://c2sp.org/tlog-witness). It is trusted with nothing: what it says counts
if its key has signed it, and it may take :data:`SECONDS`.
"""

import base64
import re
from collections.abc import Sequence

import aiohttp

from clock import strangers
from clock.fair.checkpoints import Cosignature, parse
from clock.fair.notes import BadNote
from clock.names import Names
from clock.tlog.settings import Witness

SECONDS = 8.0
"""How long one answer may take, from the look-up of the name to the last byte."""

MOST_REPLY = 16_384
"""Bytes of an answer; a signature has some 200."""

NAMES = Names(8)

_SIZE = re.compile(rb"(0|[1-9][0-9]{0,17})\n")


class NotSigned(Exception):
    """Why a witness has not signed. ``contradicts``: it says that the log is not the one that it has seen."""

    def __init__(self, why: str, *, contradicts: bool = False) -> None:
        super().__init__(why)
        self.contradicts = contradicts


class KnowsOther(Exception):
    """The witness knows the log with another size than the proof begins with."""

    def __init__(self, size: int) -> None:
        super().__init__(f"it knows the size {size}")
        self.size = size


def session() -> aiohttp.ClientSession:
    return strangers.session(NAMES, SECONDS)


async def add_checkpoint(
    session: aiohttp.ClientSession, witness: Witness, old: int, proof: Sequence[bytes], text: str, note: str
) -> Cosignature:
    """What the witness signs of a checkpoint, of which ``text`` is the text and ``note`` the note, where it knows the
    log with the size ``old``. Raises :class:`NotSigned`, :class:`KnowsOther`."""
    lines = [f"old {old}", *(base64.b64encode(node).decode() for node in proof), "", note]
    try:
        async with session.post(
            f"{witness.url}/add-checkpoint", data="\n".join(lines).encode(), allow_redirects=False
        ) as reply:
            return _read(witness, text, old, reply.status, await strangers.body_of(reply, MOST_REPLY))
    except (NotSigned, KnowsOther):
        raise
    except strangers.TooLarge:
        raise NotSigned("too large") from None
    except Exception as error:  # noqa: BLE001 - whatever one witness does, the others are heard
        raise NotSigned(type(error).__name__) from None


def _read(witness: Witness, text: str, old: int, status: int, body: bytes) -> Cosignature:
    if status == 409:
        found = _SIZE.fullmatch(body)
        if parse(text).size == old and (not found or int(found[1]) == old):
            raise NotSigned("status 409: it has seen another log of this size", contradicts=True)
        if not found:
            raise NotSigned("status 409 without a size")
        raise KnowsOther(int(found[1]))
    if status == 422:
        raise NotSigned("status 422: it has seen another log", contradicts=True)
    if status != 200:
        raise NotSigned(f"status {status}")
    try:
        return witness.key.cosigned(text, body.decode())
    except (BadNote, UnicodeDecodeError) as error:
        raise NotSigned(f"no signature: {error}") from None
