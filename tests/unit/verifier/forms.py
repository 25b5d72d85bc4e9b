"""What statements are made of, written from ``docs/fair.md`` and its standards: hashes, trees, keys, notes, JSON."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ORIGIN = "play.example.com/clock"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, as it is defined there."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return sha256(b"\0", leaves[0])
    k = largest_below(len(leaves))
    return sha256(b"\1", root_of(leaves[:k]), root_of(leaves[k:]))


def path_of(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1, as it is defined there."""
    if len(leaves) == 1:
        return []
    k = largest_below(len(leaves))
    if index < k:
        return [*path_of(index, leaves[:k]), root_of(leaves[k:])]
    return [*path_of(index - k, leaves[k:]), root_of(leaves[:k])]


def largest_below(size: int) -> int:
    """The largest power of two below it."""
    return int(1 << ((size - 1).bit_length() - 1))


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key_id(key: Ed25519PrivateKey, name: str) -> bytes:
    return sha256(name.encode(), b"\n\1", key.public_key().public_bytes_raw())[:4]


def verifier_key(key: Ed25519PrivateKey = KEY, name: str = ORIGIN) -> str:
    public = base64.b64encode(b"\1" + key.public_key().public_bytes_raw()).decode()
    return f"{name}+{key_id(key, name).hex()}+{public}"


def signature_line(text: str, key: Ed25519PrivateKey = KEY, name: str = ORIGIN) -> str:
    return f"— {name} {base64.b64encode(key_id(key, name) + key.sign(text.encode())).decode()}\n"


def note_of(text: str, key: Ed25519PrivateKey = KEY, name: str = ORIGIN) -> str:
    return f"{text}\n{signature_line(text, key, name)}"


def envelope(data: dict[str, Any], code: str = "ok") -> dict[str, Any]:
    return {"status": int(code == "ok"), "code": code, "message": "", "data": data}
