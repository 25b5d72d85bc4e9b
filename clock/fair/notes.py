"""Signed notes (https://c2sp.org/signed-note): a text, an empty line, and a line for each signature, by Ed25519.

Keys are written as Go's sumdb tools write them: the public one as ``<name>+<id>+<base64>``, the private one the same
after ``PRIVATE+KEY+``; a private one may also be PEM after its name, as openssl makes it. A key's name is part of what
it signs for, so that it is no other's under another name.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"
"""The kind of a key, before its bytes."""

PRIVATE = "PRIVATE+KEY+"
MARK = "\u2014 "
"""An em dash and a space: how a line with a signature begins."""

MOST_SIGNATURES = 100
"""A note with more is refused unread."""

_NAME = re.compile(r"[^\s+]{1,200}")
_KEY = re.compile(r"(?P<name>[^\s+]{1,200})\+(?P<id>[0-9a-f]{8})\+(?P<key>[0-9A-Za-z+/]+={0,2})")
_PEM = r"(?P<name>[^\s+]{1,200})\s+(?P<pem>-----BEGIN PRIVATE KEY-----[^-]*-----END PRIVATE KEY-----)"
_WITH_NAME = re.compile(_PEM)
_EACH = re.compile(rf"(?P<word>{re.escape(PRIVATE)}\S+)|{_PEM}")


class BadKey(ValueError):
    """A key that cannot be read; the message does not hold it."""


class BadNote(ValueError):
    """A note that is not well formed, or that a key has not signed as it says."""


class Verifier(NamedTuple):
    """A public key: 32 bytes."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes, by which a line says whose it is."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    def accepts(self, text: str, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class Signer:
    """A private key: the 32 bytes of RFC 8032."""

    def __init__(self, name: str, private: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.name = name
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def line(self, text: str) -> str:
        """The line of its signature, with the end of the line."""
        signed = self.verifier.id + self._key.sign(text.encode())
        return f"{MARK}{self.name} {base64.b64encode(signed).decode()}\n"


def new_key(name: str) -> str:
    """A new private key, as one word. Raises :class:`BadKey` for a name that no key can have."""
    if not _NAME.fullmatch(name):
        raise BadKey("the name of a key is a text without spaces and plus signs, like play.example.com/clock")
    key = Ed25519PrivateKey.generate()
    private = base64.b64encode(ED25519 + key.private_bytes_raw()).decode()
    return f"{PRIVATE}{name}+{Verifier(name, key.public_key().public_bytes_raw()).id.hex()}+{private}"


def signers_of(keys: str) -> list[Signer]:
    """Private keys, separated by spaces or lines: each as one word, or as PEM (PKCS #8) after its name. Raises
    :class:`BadKey`."""
    rest = _WITH_NAME.sub(" ", keys)
    if any(not word.startswith(PRIVATE) for word in rest.split()):
        raise BadKey(f"a private key begins with {PRIVATE}, or is PEM after its name")
    found = _EACH.finditer(keys)
    return [_signer(one["word"]) if one["word"] else _from_pem(one["name"], one["pem"]) for one in found]


def _from_pem(name: str, pem: str) -> Signer:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKey(f"the PEM of {name} is no private key without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"the key of {name} is not of Ed25519")
    return Signer(name, key.private_bytes_raw())


def _signer(key: str) -> Signer:
    name, number, private = parts_of_key(key.removeprefix(PRIVATE))
    signer = Signer(name, private)
    if signer.verifier.id != number:
        raise BadKey("the key is not the one that its id says")
    return signer


def verifier_of(key: str) -> Verifier:
    """A public key. Raises :class:`BadKey`."""
    name, number, public = parts_of_key(key)
    verifier = Verifier(name, public)
    if verifier.id != number:
        raise BadKey("the key is not the one that its id says")
    return verifier


def parts_of_key(key: str, kind: bytes = ED25519) -> tuple[str, bytes, bytes]:
    """Name, id and the 32 bytes of a key of this kind. Raises :class:`BadKey`."""
    found = _KEY.fullmatch(key)
    try:
        content = base64.b64decode(found["key"], validate=True) if found else b""
    except ValueError:
        content = b""
    if not found or len(content) != 33 or content[:1] != kind:
        raise BadKey(f"a key is <name>+<8 hexadecimal digits>+<base64 of 33 bytes, the first of them {kind[0]}>")
    return found["name"], bytes.fromhex(found["id"]), content[1:]


def sign(text: str, signers: Sequence[Signer]) -> str:
    """The note of a text that ends with a line feed."""
    assert text.endswith("\n") and signers
    return text + "\n" + "".join(signer.line(text) for signer in signers)


class Signature(NamedTuple):
    """Whose it says that it is, and its bytes."""

    name: str
    id: bytes
    content: bytes


def parts(note: str) -> tuple[str, list[Signature]]:
    """The text of a note and its signatures, unverified. Raises :class:`BadNote`."""
    end = note.rfind("\n\n")
    text, lines = note[: end + 1], note[end + 2 :].split("\n")
    if end < 0 or lines.pop() or not 0 < len(lines) <= MOST_SIGNATURES:
        raise BadNote("a note is a text, an empty line, and lines with signatures")
    if any(character < " " and character != "\n" for character in note):
        raise BadNote("a note has no control characters")
    return text, [_signature(line) for line in lines]


def _signature(line: str) -> Signature:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    try:
        content = base64.b64decode(encoded, validate=True)
    except ValueError:
        content = b""
    if mark + " " != MARK or not _NAME.fullmatch(name) or len(content) < 5:
        raise BadNote("a line of a signature is not readable")
    return Signature(name, content[:4], content[4:])


def verify(note: str, verifiers: Sequence[Verifier]) -> tuple[str, list[Verifier]]:
    """The text of a note, and which of these keys have signed it: one at least. Signatures of other keys are passed
    over. Raises :class:`BadNote`."""
    text, signatures = parts(note)
    known = {(verifier.name, verifier.id): verifier for verifier in verifiers}
    found = []
    for signature in signatures:
        verifier = known.pop((signature.name, signature.id), None)
        if verifier is not None:
            if not verifier.accepts(text, signature.content):
                raise BadNote(f"the signature of {verifier.name} is not its")
            found.append(verifier)
    if not found:
        raise BadNote("none of the known keys has signed")
    return text, found
