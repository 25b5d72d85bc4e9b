"""Checkpoints of a log (https://c2sp.org/tlog-checkpoint), and what witnesses say of them
(https://c2sp.org/tlog-cosignature).

A checkpoint is a signed note with three lines: whose log it is, how many entries it has, and the root above them. A
witness signs it together with the time, and so that it has seen no other log of this name that this one does not
continue.
"""

import base64
import hashlib
import re
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from clock.fair.notes import BadKey, BadNote, parts, parts_of_key

COSIGNATURE = b"\x04"
"""The kind of a witness' key: Ed25519 with a time."""

LATEST_S = 1 << 53
"""No time is this late: what a witness says is kept in ms, in 64 bits."""

_CHECKPOINT = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,17})\n([0-9A-Za-z+/]{43}=)\n")


class Checkpoint(NamedTuple):
    """``origin``: the log's name. ``root``: 32 bytes."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        """The text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def parse(text: str) -> Checkpoint:
    """The checkpoint of a note's text. Raises :class:`BadNote`, also for lines after the third."""
    found = _CHECKPOINT.fullmatch(text)
    if not found:
        raise BadNote("a checkpoint is an origin, a size and a root")
    read = Checkpoint(found[1], int(found[2]), base64.b64decode(found[3]))
    if str(read) != text:
        raise BadNote("the root is not written as it should be")
    return read


class Cosignature(NamedTuple):
    """``line``: as it stands below the checkpoint, with the end of the line. ``time_s``: by the clock of the witness,
    since the epoch."""

    line: str
    time_s: int


class Cosigner(NamedTuple):
    """A witness' public key: 32 bytes."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes, by which a line says whose it is."""
        return hashlib.sha256(self.name.encode() + b"\n" + COSIGNATURE + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(COSIGNATURE + self.public).decode()}"

    def cosigned(self, text: str, lines: str) -> Cosignature:
        """What this witness has signed among some lines below the text of a checkpoint. Raises :class:`BadNote` if
        there is nothing, or if its signature does not fit."""
        above, signatures = parts(f"{text}\n{lines}")
        if above != text:
            raise BadNote("there are not only lines with signatures")
        for signature in signatures:
            if (signature.name, signature.id) == (self.name, self.id):
                if not self._accepts(text, signature.content):
                    raise BadNote(f"the cosignature of {self.name} is not its")
                time_s = int.from_bytes(signature.content[:8], "big")
                content = base64.b64encode(signature.id + signature.content).decode()
                return Cosignature(f"\u2014 {self.name} {content}\n", time_s)
        raise BadNote(f"{self.name} has not signed")

    def _accepts(self, text: str, content: bytes) -> bool:
        time_s = int.from_bytes(content[:8], "big")
        if len(content) != 72 or not 0 < time_s < LATEST_S:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(
                content[8:], f"cosignature/v1\ntime {time_s}\n{text}".encode()
            )
        except InvalidSignature:
            return False
        return True


def cosigner_of(key: str) -> Cosigner:
    """A witness' public key, as it is written. Raises :class:`BadKey`."""
    name, number, public = parts_of_key(key, COSIGNATURE)
    cosigner = Cosigner(name, public)
    if cosigner.id != number:
        raise BadKey("the key is not the one that its id says")
    return cosigner
