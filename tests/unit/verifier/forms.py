"""What statements are made of, written from ``docs/fair.md`` and its standards: hashes, trees, keys, notes, JSON."""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clock.beacon.own import OwnKey

ORIGIN = "play.example.com/clock"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OWN = OwnKey(bytes(range(32)))
CHAIN = OWN.chain("example")

RULES: dict[str, Any] = {
    "timezone": "Asia/Shanghai",
    "stake_fen": 100,
    "split": "random",
    "nobody": "refund",
    "fee_bps": 500,
    "packet_cap_fen": 0,
    "lucky_count": 1,
    "lucky_bps": 1000,
    "shards": 2,
    "join_opens": "00:00",
    "join_closes": "24:00",
    "check_in_opens": "05:00",
    "check_in_closes": "08:00",
    "settle_at": "08:05",
    "claim_closes": "24:00",
    "order_prefix": "TTC",
    "bonus_fen": 50,
    "campaign": {"zh": "感恩节", "en": "Thanksgiving"},
}


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


def tree_of(leaves: Sequence[str]) -> str:
    """Size and root, as statements have them."""
    return f"{len(leaves)} {base64.b64encode(root_of([leaf.encode() for leaf in leaves])).decode()}"


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key_id(key: Ed25519PrivateKey, name: str, kind: int = 1) -> bytes:
    return sha256(name.encode(), bytes([10, kind]), key.public_key().public_bytes_raw())[:4]


def verifier_key(key: Ed25519PrivateKey = KEY, name: str = ORIGIN, kind: int = 1) -> str:
    public = base64.b64encode(bytes([kind]) + key.public_key().public_bytes_raw()).decode()
    return f"{name}+{key_id(key, name, kind).hex()}+{public}"


def signature_line(text: str, key: Ed25519PrivateKey = KEY, name: str = ORIGIN) -> str:
    return f"— {name} {base64.b64encode(key_id(key, name) + key.sign(text.encode())).decode()}\n"


def note_of(text: str, key: Ed25519PrivateKey = KEY, name: str = ORIGIN) -> str:
    return f"{text}\n{signature_line(text, key, name)}"


def envelope(data: dict[str, Any], code: str = "ok") -> dict[str, Any]:
    return {"status": int(code == "ok"), "code": code, "message": "", "data": data}


def kind_and_uid(leaf: str) -> tuple[str, str]:
    head, *values = leaf.split("\n")
    kind = head.removeprefix("clock/leaf/v1 ")
    return kind, values[2 if kind == "stake" else 3]


def asked(leaf: str) -> str:
    """Where the service has the proof of a leaf, for whoever knows its salt."""
    kind, uid = kind_and_uid(leaf)
    lines = leaf.split("\n")
    return f"/api/rounds/{lines[1]}/proof/{kind}?uid={uid}&salt={lines[-2]}"


def cosignature_line(text: str, at_s: int, key: Ed25519PrivateKey, name: str) -> str:
    """https://c2sp.org/tlog-cosignature"""
    signed = at_s.to_bytes(8, "big") + key.sign(f"cosignature/v1\ntime {at_s}\n{text}".encode())
    return f"— {name} {base64.b64encode(key_id(key, name, 4) + signed).decode()}\n"


def out_ms(number: int) -> int:
    return (CHAIN.genesis_s + (number - 1) * CHAIN.period_s) * 1000


def number_of(at: dict[str, int]) -> int:
    """Of the first draw from two minutes before settlement is due."""
    period_ms, since_ms = CHAIN.period_s * 1000, at["settle_ms"] - 120_000 - CHAIN.genesis_s * 1000
    return -(-since_ms // period_ms) + 1


def before(day: str, days: int = 1) -> str:
    return (date.fromisoformat(day) - timedelta(days)).isoformat()


def written(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return str(path)
