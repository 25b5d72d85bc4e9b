#!/usr/bin/env python3
"""Verifies a round from what anybody can fetch: ``python verifier.py DAY --from URL|FILE``.

One file, the standard library alone, nothing of the service: who does not trust the operator can read all of it. The
specification is ``docs/fair.md``; how a pot is split is ``docs/split.md``. This program can be written again from both.

Each check ends in sentences: *yes*, *no* or *not proved*. Exit status: 0 nothing is wrong; 1 a check says no; 2 a check
could not be made (no answer, no statements, a round that has not ended).
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # this file's folder, where the service has a package http of its own

import argparse
import base64
import functools
import hashlib
import http.client
import json
import os
import re
import threading
import time
import urllib.request
import zoneinfo
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

MOST_BYTES = 4 << 20
"""Of one answer."""
MOST_FILE_BYTES = 512 << 20
"""Of one file, and of all answers together."""
MOST_LEAF_BYTES = 1000
MOST_SECONDS = 30
"""For one answer."""
ATTEMPTS = 3
MOST_WINNERS = 10_000_000
"""Their packets are computed in memory."""
MOST_DAYS = 400
MOST_SIGNATURES = 100
MOST_REMEMBERED = 1000
"""Signatures: statements share checkpoints."""
PAGE = 10_000
BUNDLE = "clock.bundle.v1"

MINUTE_MS = 60_000
MOST_LONGER_MS = 60 * MINUTE_MS
"""Check-in is made longer by whole minutes, an hour at most."""
WAITED_MS = 5_000
"""A check-in counts by when it reached the service, so much before it was recorded at most."""
LEAD_MS = 2 * MINUTE_MS
"""A round's draw is the first one from so long before its settlement is due."""
PATIENCE_MS = 30 * MINUTE_MS
"""So long a draw is waited for."""


class Malformed(ValueError):
    """What was read is not in its form; the text says what."""


class Unanswered(Exception):
    """There is nothing to verify."""


class TooSlow(Unanswered):
    """An answer did not come in time."""


# --- Ed25519 (RFC 8032, 5.1.7, without the cofactor): canonical encodings alone, and no key of small order

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)

Point = tuple[int, int, int, int]
"""X, Y, Z, T: x = X/Z, y = Y/Z, xy = T/Z."""

NEUTRAL: Point = (0, 1, 1, 0)


def added(p: Point, q: Point) -> Point:
    """RFC 8032, 5.1.4. The formula is complete: it doubles as well."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def point(encoded: bytes) -> Point | None:
    """RFC 8032, 5.1.3. ``None`` for what is no point, or not encoded as an encoder would."""
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_1 % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little")) or NEUTRAL


@functools.lru_cache(MOST_REMEMBERED)
def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether S·B − k·A is encoded as R, with S below the order of the group."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, s = point(public), int.from_bytes(signature[32:], "little")
    if a is None or s >= L:
        return False
    eight = added(a, a)
    eight = added(eight, eight)
    if added(eight, eight)[0] == 0:  # of small order: one signature would fit many texts
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    minus: Point = (P - a[0], a[1], 1, P - a[3])
    table, sum_ = (NEUTRAL, BASE, minus, added(BASE, minus)), NEUTRAL
    for bit in range(252, -1, -1):
        sum_ = added(sum_, sum_)
        if choice := (s >> bit & 1) | (k >> bit & 1) << 1:
            sum_ = added(sum_, table[choice])
    x, y = (part * pow(sum_[2], -1, P) % P for part in sum_[:2])
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


# --- the beacon: a chain of drand, whose draws are BLS signatures in G1 of their numbers

SCHEME = "bls-unchained-g1-rfc9380"
TAG = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
LIBRARY = "py_arkworks_bls12381"

QUICKNET = {
    "public_key": "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c"
    "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb"
    "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
    "period": 3,
    "genesis_time": 1_692_803_367,
    "hash": "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971",
    "groupHash": "f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e",
    "schemeID": SCHEME,
    "metadata": {"beaconID": "quicknet"},
}
"""As relays answer it at ``/<hash>/info``. Source: ``QUICKNET_CHAIN_INFO`` in ``lib/defaults.ts`` of
``drand/drand-client``, and drand's announcement of 2023-10-16."""


@dataclass(frozen=True)
class Chain:
    name: str
    hash: str
    public: bytes
    period_ms: int
    genesis_ms: int

    def first(self, from_ms: int) -> int:
        """The number of the first draw that is out at this instant or after it; draw 1 is out at the genesis."""
        return max(0, -(-(from_ms - self.genesis_ms) // self.period_ms)) + 1

    def out_ms(self, number: int) -> int:
        return self.genesis_ms + (number - 1) * self.period_ms


def chain_of(info: Any) -> Chain:
    """Of a description. Its hash is that of all the rest: ``Info.Hash`` in ``common/chain/info.go`` of drand."""
    try:
        name, key = info["metadata"]["beaconID"], bytes.fromhex(info["public_key"])
        period, genesis = info["period"], info["genesis_time"]
        said = period.to_bytes(4, "big") + genesis.to_bytes(8, "big") + key + bytes.fromhex(info["groupHash"])
        proper = hashlib.sha256(said + (b"" if name == "default" else name.encode())).hexdigest()
        if proper == info["hash"] and info["schemeID"] == SCHEME and period:
            return Chain(name, proper, key, period * 1000, genesis * 1000)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        pass
    raise Malformed(f"it is not the description of a chain of {SCHEME} that has its hash")


def is_draw(chain: Chain, number: int, signature: bytes) -> bool | None:
    """Whether e(signature, G2) is e(H(number), key). ``None``: Python has not the library, which takes neither a point
    outside the groups of order r nor a second encoding: with one, somebody could choose between seeds."""
    try:
        from py_arkworks_bls12381 import GT, G1Point, G2Point
    except ImportError:
        return None
    try:
        point, key = G1Point.from_compressed_bytes(signature), G2Point.from_compressed_bytes(chain.public)
    except ValueError:
        return False
    message = G1Point.hash_to_curve(hashlib.sha256(number.to_bytes(8, "big")).digest(), TAG)
    return key != G2Point.identity() and GT.pairing_check([point, -message], [G2Point(), key])


# --- how values are read: text in, value out, or Malformed


def shaped(pattern: str, what: str, read: Callable[[str], Any] = str) -> Callable[[str], Any]:
    def value(text: str) -> Any:
        try:
            if re.fullmatch(pattern, text):
                return read(text)
        except ValueError:
            pass
        raise Malformed(f"{text[:100]!r} is not {what}")

    return value


def canonical(text: str) -> Any:
    """JSON in the one form that statements have: no floats, keys in order, no spaces, no escapes but the needed."""
    try:
        value = json.loads(text, parse_float=int, parse_constant=int)  # int() refuses both
        if json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == text:
            return value
    except (ValueError, RecursionError):
        pass
    raise Malformed(f"{text[:100]!r} is not JSON in its canonical form")


def json_of(what: str, fits: Callable[[Any], bool]) -> Callable[[str], Any]:
    def value(text: str) -> Any:
        if not fits(found := canonical(text)):
            raise Malformed(f"{text[:100]!r} is not {what}")
        return found

    return value


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 10**18


def is_hash(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value))


def are_counts(value: Any, size: int | None = None) -> bool:
    return isinstance(value, list) and all(map(is_count, value)) and size in (None, len(value))


def base64_of(text: str) -> bytes:
    """Base64 with padding, in its canonical form."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise Malformed(f"{text[:100]!r} is not base64 in its canonical form")
    return raw


def tree_of(text: str) -> tuple[int, bytes]:
    size, _, root = text.partition(" ")
    if len(base64_of(root)) != 32:
        raise Malformed(f"{text[:100]!r} is not a size and a root")
    return READ["count"](size), base64_of(root)


def hash_or_none(text: str) -> bytes | None:
    return None if text == "none" else bytes.fromhex(text)


def draw_or_none(text: str) -> tuple[str, str, int] | None:
    """The chain's name and hash, the number of the draw."""
    name, hash_, number = [*text.split(" "), "", ""][:3]
    return None if text == "none" else (name, hash_, int(number))


WINDOWS: dict[str, tuple[int, str]] = {
    "join_opens_ms": (0, "join_opens"),
    "join_closes_ms": (0, "join_closes"),
    "check_in_opens_ms": (1, "check_in_opens"),
    "check_in_closes_ms": (1, "check_in_closes"),
    "settle_ms": (1, "settle_at"),
    "claim_closes_ms": (1, "claim_closes"),
}
"""Each instant of O: so many days after the round's date, at the time of that rule."""


def are_rules(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(is_count(value.get(name)) for name in ("stake_fen", "packet_cap_fen", "lucky_count", "bonus_fen"))
        and all(is_count(value.get(name)) and value[name] <= 10_000 for name in ("fee_bps", "lucky_bps", "shards"))
        and all(
            re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]|24:00", str(value.get(name))) for _, name in WINDOWS.values()
        )
        and value.get("split") in ("random", "equal")
        and value.get("nobody") in ("refund", "carry")
        and isinstance(value.get("timezone"), str)
    )


def are_windows(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= WINDOWS.keys() and all(map(is_count, value.values()))


READ: dict[str, Callable[[str], Any]] = {
    "origin": shaped(r"[^\s+]{1,200}", "the name of a key"),
    "day": shaped(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", "a day", lambda text: date.fromisoformat(text).isoformat()),
    "count": shaped("0|[1-9][0-9]{0,17}", "a whole number", int),
    "hash": shaped("[0-9a-f]{64}", "32 bytes in hex", bytes.fromhex),
    "hash?": shaped("none|[0-9a-f]{64}", "32 bytes in hex, or none", hash_or_none),
    "beacon": shaped(
        "none|[a-z0-9][a-z0-9_-]{0,31} [0-9a-f]{64} [1-9][0-9]{0,17}",
        "none, or a chain's name, its hash and a number",
        draw_or_none,
    ),
    "draw": shaped("none|missing|late|[0-9a-f]{96}", "a signature of 48 bytes in hex, none, missing or late"),
    "mode": shaped("random|equal", "random or equal"),
    "salt": shaped("[0-9a-f]{32}", "a salt"),
    "order": shaped("[0-9A-Za-z]{1,32}", "the number of an order"),
    "tree": tree_of,
    "counts": json_of("a list of whole numbers", are_counts),
    "pairs": json_of("pairs", lambda value: isinstance(value, list) and all(are_counts(one, 2) for one in value)),
    "text": json_of("a text", lambda value: isinstance(value, str)),
    "rules": json_of("a round's rules", are_rules),
    "windows": json_of("a round's instants", are_windows),
}

MONEY = ("pool", "refunded", "forfeited", "fee", "carried_in", "bonus", "pot")
COUNTED = ("members", "winners", "late")
SUMS = {**{name: name for name in COUNTED}, **{name: f"{name}_fen" for name in MONEY}}
"""Figures that C has: their names in the public answer and in C."""

FORMS = {
    "opened": "origin:origin round:day seed_hash:hash rules:rules windows:windows beacon:beacon",
    "closed": "origin:origin round:day opened:hash previous:hash? closed_ms:count closes_ms:counts shards:pairs "
    + " ".join(f"{name}:count" for name in SUMS.values())
    + " stakes:tree checked_in:tree",
    "published": "origin:origin round:day closed:hash seed:hash beacon:draw drawn:hash split:mode packets:tree"
    " carried_out_fen:count bonus_back_fen:count",
    "void": "origin:origin round:day opened:hash closed:hash? previous:hash? voided_ms:count reason:text",
    "batch": "origin:origin round:day signed_ms:count leaves:tree",
    "stake": "round:day shard:count uid:count order_no:order amount_fen:count salt:salt",
    "checked_in": "round:day shard:count rank:count uid:count at_ms:count salt:salt",
    "packet": "round:day shard:count rank:count fen:count",
}
"""The lines of each kind of statement and of leaf, in order, and how each is read."""

KINDS = {"opened": "O", "closed": "C", "published": "P", "void": "V"}

STATEMENTS = {f"clock.statement.v1/{kind}": kind for kind in KINDS}
BATCHES = {f"clock.receipts.v1/{kind}": "batch" for kind in ("stake", "checked_in")}
"""What is signed, by its first line: its form."""


def values_of(kind: str, lines: list[str], named: bool) -> dict[str, Any]:
    form = [tuple(one.split(":")) for one in FORMS[kind].split()]
    if len(lines) != len(form):
        raise Malformed(f"there are {len(lines)} lines after the first, not {len(form)}")
    values = {}
    for line, (name, how) in zip(lines, form, strict=True):
        before = f"{name}: " if named else ""
        if not line.startswith(before):
            raise Malformed(f"{line[:100]!r} stands where {name} must")
        try:
            values[name] = READ[how](line.removeprefix(before))
        except Malformed as error:
            raise Malformed(f"{name}: {error}") from None
    return values


# --- signed notes (C2SP), their keys, statements, checkpoints of the log


@dataclass(frozen=True)
class Key:
    name: str
    id: bytes
    public: bytes

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}"


ED25519, COSIGNATURE = 1, 4
TIMED_BYTES = 8 + 64  # of a cosignature: a time and a signature


def key_of(text: str, kind: int = ED25519) -> Key:
    """``name+id+base64(kind ‖ public key)``."""
    name, key_id, coded = [*text.split("+", 2), "", ""][:3]
    raw = base64_of(coded)
    proper = hashlib.sha256(READ["origin"](name).encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 33 or raw[0] != kind or proper.hex() != key_id:
        raise Malformed(f"{text[:200]!r} is not a key of Ed25519 (type {kind}) with its id: name+id+base64")
    return Key(name, proper, raw[1:])


def divided(note: str) -> tuple[bytes, list[tuple[str, bytes, bytes]]]:
    """The signed text; of each signature, the name and the id of its key, and itself."""
    text, gap, rest = note.partition("\n\n")
    *lines, last = rest.split("\n")
    if not gap or last or not 1 <= len(lines) <= MOST_SIGNATURES or re.search("[\0-\x09\x0b-\x1f]", note):
        raise Malformed("it is not a text, an empty line and lines of signatures")
    signatures = []
    for line in lines:
        name, _, coded = line.removeprefix("— ").partition(" ")
        if not line.startswith("— ") or not re.fullmatch(r"[^\s+]{1,200}", name) or len(raw := base64_of(coded)) < 5:
            raise Malformed(f"{line[:200]!r} is not a signature")
        signatures.append((name, raw[:4], raw[4:]))
    try:
        return f"{text}\n".encode(), signatures
    except UnicodeEncodeError:
        raise Malformed("it is not Unicode") from None


@dataclass(frozen=True)
class Statement:
    kind: str
    text: bytes
    values: dict[str, Any]

    def __str__(self) -> str:
        return f"{KINDS[self.kind]} of {self['round']}"

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.text).digest()


def statement_of(note: str, heads: dict[str, str] = STATEMENTS) -> Statement:
    text, _ = divided(note)
    first, *lines = text.decode()[:-1].split("\n")
    if first not in heads:
        raise Malformed(f"{first[:100]!r} is not a kind of statement that this program knows")
    return Statement(first.partition("/")[2], text, values_of(heads[first], lines, named=True))


def signers(note: str, origin: str, keys: Iterable[Key]) -> list[str]:
    """Keys of the origin that have signed. Signatures by other keys say nothing. Raises :class:`Malformed` where one
    that is said to be by such a key is not."""
    text, signatures = divided(note)
    found = []
    for key in keys:
        for signature in [one[2] for one in signatures if one[:2] == (key.name, key.id) and key.name == origin]:
            if not is_signed(key.public, text, signature):
                raise Malformed(f"the signature by {key} does not fit the text")
            found.append(str(key))
    return found


def checkpoint_of(note: str) -> tuple[str, int, bytes]:
    """The log's origin, its size and its root."""
    lines = divided(note)[0].decode()[:-1].split("\n")
    if len(lines) != 3:
        raise Malformed(f"a checkpoint has 3 lines, not {len(lines)}")
    return READ["origin"](lines[0]), *tree_of(f"{lines[1]} {lines[2]}")


def cosigned(note: str, witnesses: Iterable[Key]) -> dict[str, int]:
    """When witnesses saw it, in s, by their names (https://c2sp.org/tlog-cosignature)."""
    text, signatures = divided(note)
    times: dict[str, int] = {}
    for key in witnesses:
        for signature in [one[2] for one in signatures if one[:2] == (key.name, key.id)]:
            at_s = int.from_bytes(signature[:8], "big")
            if not is_signed(key.public, f"cosignature/v1\ntime {at_s}\n".encode() + text, signature[8:]):
                raise Malformed(f"the cosignature by {key} does not fit it")
            times[str(key)] = min(at_s, times.get(str(key), at_s))
    return times


# --- trees (RFC 6962, 2.1)


def root_of(leaves: Iterable[bytes]) -> bytes:
    """In one pass: of complete subtrees, those are kept whose right sides are not there yet."""
    waiting: list[tuple[int, bytes]] = []
    for leaf in leaves:
        size, node = 1, hashlib.sha256(b"\0" + leaf).digest()
        while waiting and waiting[-1][0] == size:
            size, node = 2 * size, hashlib.sha256(b"\1" + waiting.pop()[1] + node).digest()
        waiting.append((size, node))
    node = waiting.pop()[1] if waiting else hashlib.sha256(b"").digest()
    while waiting:
        node = hashlib.sha256(b"\1" + waiting.pop()[1] + node).digest()
    return node


def led_to(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root to which a path leads (RFC 9162, 2.1.3.2). ``None``: a tree of this size has no such path."""
    node, last = hashlib.sha256(b"\0" + leaf).digest(), size - 1
    for other in path:
        if last <= 0 or index > last:
            return None
        if index & 1 or index == last:
            node = hashlib.sha256(b"\1" + other + node).digest()
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + other).digest()
        index, last = index >> 1, last >> 1
    return node if last == index == 0 else None


# --- the split (docs/split.md)


def split(seed: bytes, pot: int, winners: int, rules: dict[str, Any]) -> tuple[list[int], int]:
    """The list of packets in fen, and what fits nowhere."""
    output = hashlib.shake_256(b"clock/split/v1" + seed).digest(16 * winners)
    numbers = (int.from_bytes(output[at : at + 8], "little") for at in range(0, len(output), 8))
    lucky = min(rules["lucky_count"], winners)
    part = pot * rules["lucky_bps"] // 10_000 // lucky if lucky else 0
    rest = pot - lucky * part
    packets = [(rest + place) // winners for place in range(winners)]
    if rules["split"] == "random" and rest >= winners > 0:
        extra = rest - winners
        for place in range(winners - 1):
            drawn = next(numbers) * (2 * extra // (winners - place) + 1) >> 64
            packets[place] = 1 + drawn
            extra -= drawn
        packets[-1] = 1 + extra
    for place in range(lucky):
        packets[place] += part
    if cap := rules["packet_cap_fen"]:
        packets.sort(reverse=True)
        excess = sum(packet - cap for packet in packets if packet > cap)
        for place, packet in enumerate(packets):
            more = min(excess // (winners - place), cap - min(packet, cap))
            packets[place] = min(packet, cap) + more
            excess -= more
    for place in range(winners - 1, 0, -1):
        other = next(numbers) * (place + 1) >> 64
        packets[place], packets[other] = packets[other], packets[place]
    return packets, pot - sum(packets)


# --- answers: of a service, or of a file that has them


def parsed(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed(f"{what} is not JSON") from None


def body(stream: Any, url: str) -> bytes:
    chunks, size = [], 0
    while chunk := stream.read1(1 << 16):
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            raise Malformed(f"{url} is longer than {MOST_BYTES} bytes")
    if size < int(stream.headers.get("Content-Length") or 0):
        raise Unanswered(f"{url} is answered with {size} bytes and broken off")
    return b"".join(chunks)


class Unfollowed(urllib.request.HTTPErrorProcessor):
    """Takes every answer as it is: no redirect is followed."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


def answered(url: str) -> tuple[int, str, bytes]:
    """Status, when or where to ask again, and the body, if it may be an answer. ``url`` is http or https."""
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "clock-verifier"})  # noqa: S310
    try:
        with urllib.request.build_opener(Unfollowed).open(request, timeout=MOST_SECONDS) as answer:
            more = answer.headers.get("Location" if 300 <= answer.status < 400 else "Retry-After", "")
            return answer.status, more, body(answer, url) if answer.status in (200, 404) else b""
    except Malformed:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unanswered(f"{url} is not answered: {error}") from None


def in_time(url: str) -> tuple[int, str, bytes]:
    """The same, or :class:`TooSlow`. In a thread that ends with the process: headers that drip, or interim answers
    without end, keep http.client reading for ever, and no time-out of a socket sees that."""
    found: list[tuple[int, str, bytes] | Exception] = []

    def work() -> None:
        try:
            found.append(answered(url))
        except Exception as error:  # noqa: BLE001 - is raised where it is waited for
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(MOST_SECONDS)
    if not found:
        raise TooSlow(f"{url} takes longer than {MOST_SECONDS} s")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def fetched(url: str) -> bytes:
    """The body of an answer, refusals included."""
    for attempt in range(ATTEMPTS):
        status, after, raw = in_time(url)
        if status == 200 or raw.lstrip().startswith(b"{"):  # another 404 says that there is no service here
            return raw
        if status not in (429, 503) or attempt == ATTEMPTS - 1:
            break
        time.sleep(min(int(after), 10) if re.fullmatch("[0-9]{1,4}", after) else 1)
    where = f", which is not followed: {after[:200]}" if 300 <= status < 400 else ""
    raise Unanswered(f"{url} is answered with {status}{where}")


def contents(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise Unanswered(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > MOST_FILE_BYTES:
        raise Unanswered(f"{path} is longer than {MOST_FILE_BYTES} bytes")
    is_utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Windows redirects output
    return (raw.decode("utf-16", "replace").encode() if is_utf16 else raw).removeprefix(b"\xef\xbb\xbf")


def kept_in(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("bundle") != BUNDLE or not isinstance(value.get("answers"), dict):
        raise Malformed(f"{what} is not a bundle")
    return dict(value["answers"])


class Answers:
    """Answers by path. What is fetched is kept to be saved, and as it came: it may be read as far more."""

    def __init__(self, where: str) -> None:
        self.url = where.rstrip("/") if re.match("(?i)https?://", where) else ""
        self.kept = {} if self.url else kept_in(parsed(contents(where), where), where)
        self.fetched: dict[str, bytes] = {}
        self.is_slow = False

    def ask(self, path: str) -> tuple[str, Any]:
        """``ok`` or the word of the refusal, and the data."""
        if not self.url and path not in self.kept:
            raise Unanswered(f"the file has no answer to {path}")
        return envelope(self._fetched(path) if self.url else self.kept[path], path)

    def _fetched(self, path: str) -> Any:
        if path in self.fetched:
            return json.loads(self.fetched[path])
        if self.is_slow or sum(map(len, self.fetched.values())) > MOST_FILE_BYTES:
            raise Unanswered(f"{path} is not asked for: the answers before it were too slow or too large")
        try:
            raw = fetched(self.url + path)
        except TooSlow:
            self.is_slow = True
            raise
        value = parsed(raw, self.url + path)
        self.fetched[path] = raw
        return value

    def bundle(self) -> str:
        answers = self.kept or {path: json.loads(raw) for path, raw in self.fetched.items()}
        lines = ",\n".join(f"{json.dumps(path)}: {json.dumps(answer)}" for path, answer in answers.items())
        return f'{{"bundle": "{BUNDLE}", "from": {json.dumps(self.url)}, "answers": {{\n{lines}\n}}}}\n'


def envelope(answer: Any, what: str) -> tuple[str, Any]:
    fits = isinstance(answer, dict) and is_count(answer.get("status")) and isinstance(answer.get("code"), str)
    if not fits or (answer["status"] == 1) != (answer["code"] == "ok") or not isinstance(answer.get("data"), dict):
        raise Malformed(f"{what} is not an envelope of status, code and data")
    return answer["code"][:100], answer["data"]


SETTLED, BEFORE = ("settled", "finished"), ("planned", "joining", "waiting", "checking_in", "closed", "settling")


@dataclass
class Round:
    """What is served about one round."""

    day: str
    figures: dict[str, Any] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    statements: dict[str, Statement] = field(default_factory=dict)
    logged: dict[str, Any] | None = None
    """By kind of statement: its index, size, path and checkpoint in the log. ``None``: the service has no log."""
    witnesses: list[str] = field(default_factory=list)
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    """By kind of statement: when witnesses that count saw it, in s."""
    cosigned: set[str] = field(default_factory=set)
    """Kinds of statements that somebody says to have seen."""
    is_older: bool = False
    """It has no statements, and says so."""

    def take_figures(self, data: Any) -> None:
        final = [*MONEY[1:], "carried_out", "bonus_back", "packets"]
        ended = data.get("state") in SETTLED or (data.get("state") == "void" and data.get("seed") is not None)
        fits = (
            data.get("day") == self.day
            and data.get("state") in (*BEFORE, *SETTLED, "void")
            and all(is_count(data.get(name)) for name in (*COUNTED, "pool"))
            and all(is_count(data.get(name)) or (data.get(name, 0) is None and not ended) for name in final)
            and all(data.get(name, "") is None or is_count(data.get(name)) for name in ("smallest", "largest"))
            and are_rules(data.get("rules"))
            and is_hash(data.get("seed_hash"))
            and (is_hash(data.get("seed")) or (data.get("seed", 0) is None and not ended))
            and isinstance(data.get("extensions"), list)
            and all(isinstance(one, dict) for one in data["extensions"])
            and all(is_count(one.get(name)) for one in data["extensions"] for name in ("by_ms", "shards"))
        )
        if not fits:
            raise Malformed(f"the figures of {self.day} are not those of a round")
        self.figures = data

    def take_proof(self, data: Any) -> None:
        notes = data.get("statements")
        texts = data.get("keys"), data.get("missing"), data.get("witnesses", [])
        fits = data.get("round") == self.day and isinstance(notes, dict) and notes.keys() >= KINDS.keys()
        fits = fits and all(isinstance(notes[kind], str | None) for kind in KINDS)
        if not fits or not all(isinstance(some, list) and all(isinstance(one, str) for one in some) for some in texts):
            raise Malformed(f"the proof of {self.day} is not that of a round")
        if any(len({*some}) < len(some) for some in texts):
            raise Malformed(f"the proof of {self.day} says something twice")
        logged = data.get("logged", dict.fromkeys(KINDS))
        if not isinstance(logged, dict) or not logged.keys() >= KINDS.keys():
            raise Malformed(f"the proof of {self.day} does not say of each statement where it is in the log")
        self.logged, self.witnesses = data.get("logged"), data.get("witnesses", [])
        self.keys, self.missing = data["keys"], data["missing"]
        self.notes = {kind: notes[kind] for kind in KINDS if notes[kind] is not None}
        self.is_older = not self.notes


# --- what is found


@dataclass(frozen=True)
class Finding:
    check: str
    result: str
    says: str
    limit: bool = False
    """Not proved by any answer of this service: it decides no exit status."""


class Report:
    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def no(self, check: str, says: str) -> None:
        self.findings.append(Finding(check, "no", says))

    def unproved(self, check: str, says: str, limit: bool = False) -> None:
        self.findings.append(Finding(check, "not proved", says, limit))

    def decide(self, check: str, wrong: list[str], says: str) -> None:
        """*No* for each thing that is wrong; *yes* where none is."""
        for sentence in wrong:
            self.no(check, sentence)
        if not wrong:
            self.findings.append(Finding(check, "yes", says))

    def hold(self, check: str, fits: bool, says: str, otherwise: str) -> None:
        self.decide(check, [] if fits else [otherwise], says)

    @property
    def status(self) -> int:
        results = {finding.result for finding in self.findings if not finding.limit}
        return 1 if "no" in results else 2 if "not proved" in results else 0


class Verification:
    """The checks of one round, each named by the word that its sentences begin with."""

    def __init__(
        self,
        answers: Answers,
        day: str,
        days: int,
        trusted: list[Key],
        witnesses: Iterable[Key] = (),
        chains: Iterable[Chain] = (),
    ) -> None:
        self.found, self.answers, self.trusted, self.witnesses = Report(), answers, trusted, list(witnesses)
        self.chains = {chain.hash: chain for chain in [chain_of(QUICKNET), *chains]}
        self.log: dict[tuple[str, str, int], bytes] = {}
        """What the log of an origin says: the ``root`` of each size, the ``entry`` of each index."""
        self.proofs: dict[str, Any] = {}
        """Proofs of leaves that were brought, by the path at which the service has them."""
        self.rounds = [self._gathered(day, n) for n in range(days)]
        self.round = self.rounds[0]
        self.figures, self.state = self.round.figures, self.round.figures.get("state", "unknown")
        self.opened, self.closed, self.published, self.void = map(self.round.statements.get, KINDS)
        self.rules: dict[str, Any] = self.opened["rules"] if self.opened else self.figures.get("rules", {})
        self.draw = self.published["beacon"] if self.published else "none"
        self.out_ms: int | None = None
        """When the round's draw is out."""
        self.packets: list[int] | None = None

    def _gathered(self, last: str, before: int) -> Round:
        """The round so many days before, its statements read and their signatures verified."""
        round_ = Round((date.fromisoformat(last) - timedelta(before)).isoformat())
        own = f"/api/rounds/{round_.day}"
        for path, take in ((own, round_.take_figures), (f"{own}/proof", round_.take_proof)):
            try:
                code, data = self.answers.ask(path)
                if code == "ok":
                    take(data)
                elif path != own and code == "not_found":
                    round_.is_older = True  # than this path
                else:
                    self.found.unproved("answers", f"{path} is answered with {code}", limit=before > 0)
            except Malformed as error:
                self.found.no("answers", f"An answer is refused: {error}")
            except Unanswered as error:
                self.found.unproved("answers", f"An answer is missing: {error}", limit=before > 0)
        keys = self.known(round_)
        for kind, note in round_.notes.items():
            what = f"{KINDS[kind]} of {round_.day}"
            try:
                statement = statement_of(note)
                if (statement.kind, statement["round"]) != (kind, round_.day):
                    raise Malformed(f"it is {statement}")
                round_.statements[kind] = statement
                by = signers(note, statement["origin"], keys)
            except Malformed as error:
                self.found.no("signed", f"{what} is refused: {error}")
            else:
                no = f"{what} is not signed by a known key of its origin"
                self.found.hold("signed", bool(by), f"{what} is signed by {' and '.join(by)}", no)
        return round_

    def known(self, round_: Round, kind: int = ED25519) -> list[Key]:
        """The keys that count: those that were given or, without any, those that the service names."""
        given, named = (self.trusted, round_.keys) if kind == ED25519 else (self.witnesses, round_.witnesses)
        try:
            return given or [key_of(text, kind) for text in named]
        except Malformed as error:
            self.found.no("keys", f"A key is refused: {error}")
            return []

    def verify(self, seen: list[str], receipts: list[str], bundles: Iterable[str] = ()) -> Report:
        for round_ in self.rounds:
            self._stage(round_)
            if round_.logged is not None and round_.statements:
                self._logged(round_, round_.logged)
        self._links()
        self._chain()
        if self.opened:
            self._windows(self.opened)
        if self.opened and self.closed:
            self._closing(self.opened, self.closed)
            self._members(self.closed)
            self._carried(self.closed)
        sums: dict[str, Any] = (
            self.closed.values if self.closed else {SUMS[name]: self.figures.get(name) for name in SUMS}
        )
        if self.opened:
            self._beacon(self.opened)
        drawn = self._drawn()
        if self.rules and (self.closed or (self.round.is_older and self.state in SETTLED)):
            self._money(sums)
            if drawn:
                self._packets(sums["pot_fen"], sums["winners"], drawn)
        if self.figures and self.round.statements:
            self._figures()
        if self.packets is not None and self.state in SETTLED:
            self._list(self.packets)
        for check, take, paths in (
            ("seen", self._seen, seen),
            ("receipt", self._receipt, sorted(receipts, key=is_promise)),
            ("leaves", self._leaves, bundles),
        ):
            for path in paths:
                try:
                    take(path)
                except (Malformed, Unanswered) as error:
                    self.found.unproved(check, f"{path} proves nothing: {error}")
        self._witnessed(self.opened)
        self._limits()
        return self.found

    def _stage(self, round_: Round) -> None:
        """The statements are those that the round's state requires."""
        have, due, state = round_.notes.keys(), {"opened"}, round_.figures.get("state", "unknown")
        due |= {"closed", "published"} if state in SETTLED else {"void"} if state == "void" else set()
        early = {"closed": BEFORE[:-2], "published": (*BEFORE[:-1], "void"), "void": (*BEFORE, *SETTLED)}
        wrong = [f"{KINDS[kind]} of {round_.day} is withheld: the round is {state}" for kind in due - have]
        for kind, states in early.items():
            if kind in have and state in states:
                wrong.append(f"{KINDS[kind]} of {round_.day} is there, and the round is {state}")
        if have >= {"published", "void"}:
            wrong.append(f"The round of {round_.day} is both published and void")
        limit = round_ is not self.round
        if have:
            says = f"The statements of {round_.day} are those of a round that is {state}"
            self.found.decide("statements", sorted(wrong), says)
        elif round_.figures:
            says = f"That {round_.day} is a round without statements: they are withheld, or it is older than they are"
            self.found.unproved("statements", says, limit)
        if have and not wrong and not have & {"published", "void"}:
            self.found.unproved("statements", f"What follows from the end of {round_.day}: it is {state}", limit)

    def _links(self) -> None:
        for kind, to in (("closed", "opened"), ("published", "closed"), ("void", "opened"), ("void", "closed")):
            for round_ in self.rounds:
                if statement := round_.statements.get(kind):
                    other = round_.statements.get(to)
                    fits = statement[to] == (other.hash if other else None)
                    no = f"{statement} was made for another {KINDS[to]} than the one that is served"
                    self.found.hold("linked", fits, f"{statement} has the hash of {other or f'no {KINDS[to]}'}", no)

    def _chain(self) -> None:
        """C and V of the days that are given are one line: each has the hash of the one that was made before it."""
        both = [map(one.statements.get, ("closed", "void")) for one in self.rounds]
        line = [statement for some in both for statement in some if statement]
        line.sort(key=lambda one: one["closed_ms" if one.kind == "closed" else "voided_ms"])
        known, before = {one.hash: one for one in line}, [one["previous"] for one in line]
        ends = [one for one in line if one["previous"] not in known]
        loose = [one for one in ends if one is not line[0]]
        forks = [one for one in line if before.count(one["previous"]) > 1]
        wrong = [f"Two statements have the same one before them: {one}" for one in forks]
        wrong += [f"{one} begins the chain again" for one in loose if one["previous"] is None]
        if loose and not wrong:
            self.found.unproved("chain", f"{loose[0]} follows a statement that is none of those given: give more days")
        elif len(line) == 1 and ends[0]["previous"] is not None:
            given = any(one.notes or one.figures for one in self.rounds[1:])
            self.found.unproved("chain", f"What {line[0]} follows is not among what is given", limit=not given)
        elif line:
            says = f"C and V are one chain of {len(line)}: each has the hash of the one before it"
            self.found.decide("chain", wrong, says)

    def _logged(self, round_: Round, logged: dict[str, Any]) -> None:
        """Each statement is in the first checkpoint of the log that has it, and witnesses saw that one."""
        wrong, at, logs = list[str](), list[int](), dict[str, None]()
        keys, witnesses = self.known(round_), self.known(round_, COSIGNATURE)
        for kind in ("opened", "closed", "void", "published"):
            statement, entry = round_.statements.get(kind), logged[kind]
            if statement and entry is None:
                says = f"That {statement} is in the log: no checkpoint is served that has it"
                self.found.unproved("logged", says, limit=round_ is not self.round)
            if entry is not None and kind not in {*round_.notes, "published"}:
                wrong.append(f"{KINDS[kind]} of {round_.day} is in the log, and is not served")
            if not statement or entry is None:
                continue
            try:
                index, path = path_in(entry)
                note = str(entry.get("checkpoint"))
                origin, size, root = checkpoint_of(note)
                if not signers(note, origin, keys):
                    raise Malformed("it is not signed by a known key of its origin")
                round_.seen[kind] = cosigned(note, witnesses)
                round_.cosigned |= {kind for *_, one in divided(note)[1] if len(one) == TIMED_BYTES}
            except Malformed as error:
                wrong.append(f"The checkpoint of {statement} is refused: {error}")
                continue
            at.append(index)
            logs[f"the log {origin}"] = None
            if entry["size"] != size or led_to(statement.text, index, size, path) != root:
                wrong.append(f"{statement} is not entry {index} of the log of its checkpoint")
            elif self.log.setdefault((origin, "root", size), root) != root:
                wrong.append(f"Two checkpoints of {size} entries were signed: there are two logs")
            elif self.log.setdefault((origin, "entry", index), statement.hash) != statement.hash:
                wrong.append(f"Two statements are entry {index}: there are two logs")
        if at != sorted(at):
            wrong.append(f"The statements of {round_.day} are not in the log in the order in which they were made")
        if at or wrong:
            says = f"Statements of {round_.day} are entries of {' and '.join(logs)}: {', '.join(map(str, at))}"
            self.found.decide("logged", wrong, says)

    def _witnessed(self, opened: Statement | None) -> None:
        """When witnesses saw the statements of this round: nobody can date one back to before."""
        if not (self.witnesses or self.round.witnesses or self.round.cosigned):
            says = "That all see the same statements, and when they were made: no witness is asked"
            return self.found.unproved("witnesses", says, limit=True)
        untils = {"opened": (opened["windows"]["join_opens_ms"], "joining opened")} if opened else {}
        if self.out_ms is not None and self.draw != "late":
            untils |= dict.fromkeys(("closed", "void"), (self.out_ms, "its draw was out"))
        for kind, statement in self.round.statements.items():
            seen = self.round.seen.get(kind)
            if not seen:
                self.found.unproved("witnesses", f"When {statement} was made: no witness that counts has seen it")
                continue
            first_ms, by = 1000 * min(seen.values()), " and ".join(sorted(seen))
            until_ms, what = untils.get(kind, (first_ms + 1, ""))
            before = f" {(until_ms - first_ms) // 1000} s before {what}" if what else ""
            if first_ms >= until_ms:
                late_s = (first_ms - until_ms) // 1000
                says = f"That {statement} was there before {what}: {by} saw it first {late_s} s later"
                self.found.unproved("witnesses", says)
            else:
                self.found.decide("witnesses", [], f"{statement} was seen by {by}{before}")
        return None

    def _beacon(self, opened: Statement) -> None:
        """Whether there is a draw, and of which chain."""
        if opened["beacon"] is None:
            wrong = [] if self.draw == "none" else [f"O has no beacon, and P says {self.draw}"]
            if self.closed and self.void:
                wrong.append("V was made after C, when the operator knew the packets")
            for sentence in wrong:
                self.found.no("beacon", sentence)
            says = "That the operator, who knew the seed, did not play along: no beacon is mixed in"
            return self.found.unproved("beacon", says, limit=True)
        name, hash_, number = opened["beacon"]
        chain = self.chains.get(hash_)
        if chain is None and name != "quicknet":
            says = f"What draw {number} of {name} is: this program does not know the chain {hash_}"
            self.found.unproved("beacon", f"{says}; give it with --chain")
        elif chain is None or chain.name != name:
            self.found.no("beacon", f"O names {name}, and the hash of another chain: {hash_}")
        else:
            self._draw(opened, chain, number)
        if self.published and self.draw == "none":
            self.found.no("beacon", f"O has the beacon {name}, and P none")
        return None

    def _draw(self, opened: Statement, chain: Chain, number: int) -> None:
        """The draw is the one that the rules say, and C or V was there before it was out."""
        draw, due = f"draw {number} of {chain.name}", chain.first(opened["windows"]["settle_ms"] - LEAD_MS)
        self.out_ms = out_ms = chain.out_ms(number)
        wrong = [] if number == due else [f"O names {draw}, and by the rules it is draw {due}"]
        if self.void and self.void["voided_ms"] >= out_ms:
            wrong.append(f"V was made when {draw} was out")
        if self.published and self.closed:
            is_late = self.closed["closed_ms"] >= out_ms
            if is_late and self.draw != "late":
                wrong.append(f"C was made when {draw} was out, and P does not say late")
            if self.draw == "late" and not is_late:
                wrong.append(f"P says late, and C was made before {draw} was out")
        says = f"O names {draw}, the first one from 2 minutes before settlement is due"
        if self.draw == "missing":
            seen_ms = 1000 * max(self.round.seen.get("published", {}).values(), default=1 << 62)
            if seen_ms < out_ms + PATIENCE_MS - MINUTE_MS:
                wrong.append(f"P says missing, and was seen {(seen_ms - out_ms) // 1000} s after {draw} was out")
            self.found.unproved(
                "beacon", f"That {draw} could not be had within 30 minutes: it is public now", limit=True
            )
        fits = self.draw in NO_DRAW or is_draw(chain, number, bytes.fromhex(self.draw))
        if fits is None:
            where = f"install {LIBRARY}, or compare it with what a relay has at /{chain.hash}/public/{number}"
            self.found.unproved("beacon", f"That {self.draw} is {draw}: nothing here verifies BLS; {where}")
        elif not fits:
            wrong.append(f"What P has is not {draw}")
        elif self.draw not in NO_DRAW:
            says += "; P has it, and C was made before it was out"
        self.found.decide("beacon", wrong, says)

    def _windows(self, opened: Statement) -> None:
        at, day = opened["windows"], date.fromisoformat(opened["round"])
        order = [name for name in WINDOWS if name != "join_closes_ms"], ["join_opens_ms", "join_closes_ms"]
        wrong = [f"O has {b} not after {a}" for names in order for a, b in pairwise(names) if at[a] >= at[b]]
        try:
            zone = zoneinfo.ZoneInfo(self.rules["timezone"])
        except (KeyError, ValueError, OSError):
            zone_name = self.rules["timezone"][:100]
            self.found.unproved("windows", f"The times of day: this computer has no time zone {zone_name}", True)
        else:
            for name, (days, rule) in WINDOWS.items():
                if not is_first_at(at[name], day + timedelta(days), self.rules[rule], zone):
                    wrong.append(f"O has {name} at another instant than {rule}, {self.rules[rule]}, of its rules")
        self.found.decide("windows", wrong, "The instants of O are the times of its rules")

    def _closing(self, opened: Statement, closed: Statement) -> None:
        longer = [at - opened["windows"]["check_in_closes_ms"] for at in closed["closes_ms"]]
        told = [(one["by_ms"], one["shards"]) for one in self.figures.get("extensions", ())]
        wrong = [f"Check-in closed {-ms} ms earlier than O says, in shard {n}" for n, ms in enumerate(longer) if ms < 0]
        if any(ms > MOST_LONGER_MS or ms % MINUTE_MS for ms in longer):
            wrong.append("Check-in was not longer by whole minutes, 60 at most")
        if len(longer) != self.rules["shards"]:
            wrong.append("C does not say for each shard when check-in closed")
        if closed["closed_ms"] < max(closed["closes_ms"], default=0):
            wrong.append("C was made before check-in had closed")
        if self.figures and longer:
            all_of_it, most = sum(by_ms for by_ms, _ in told), sum(by_ms * shards for by_ms, shards in told)
            least = all_of_it if len(longer) == 1 else max((by_ms for by_ms, _ in told), default=0)
            if not least <= max(longer) <= all_of_it <= sum(longer) <= most:
                wrong.append("Check-in was longer by something else than the extensions that are public")
        self.found.decide("closing", wrong, "Check-in closed when O says, and later only by extensions that are public")

    def _members(self, closed: Statement) -> None:
        """Members and winners are as many as their shards say, and as there are leaves."""
        shards, wrong = closed["shards"], []
        if len(shards) != self.rules["shards"] or any(winners > members for members, winners in shards):
            wrong.append("The shards of C are not as many as the rules have, or one has more winners than members")
        for place, name, tree in ((0, "members", "stakes"), (1, "winners", "checked_in")):
            (size, root), count = closed[tree], closed[name]
            if sum(shard[place] for shard in shards) != count or size != count:
                wrong.append(f"C has {count} {name}, and not as many in its shards or leaves in its tree {tree}")
            if size == 0 and root != root_of([]):
                wrong.append(f"The tree {tree} of C has no leaves, and a root")
        self.found.decide("members", wrong, f"{closed['members']} members, {closed['winners']} winners, as many leaves")

    def _carried(self, closed: Statement) -> None:
        """From the round before; what a void round had carried in goes to the next."""
        carried = closed["carried_in_fen"]
        for round_ in self.rounds[1:]:
            published = round_.statements.get("published")
            if "void" in round_.statements or round_.figures.get("state") == "void":
                continue
            out = published["carried_out_fen"] if published else round_.figures.get("carried_out")
            if out is not None:
                no = f"{carried} fen were carried in, and {round_.day} carried out {out}"
                says = f"{carried} fen were carried in, as {round_.day} carried out"
                return self.found.hold("carried", carried == out, says, no)
            if round_.figures or round_.notes:
                break
        says = f"Where {carried} fen carried in are from: no round before is given"
        return self.found.unproved("carried", says, limit=True)

    def _money(self, sums: dict[str, Any]) -> None:
        """Sums follow from counts and rules. How many of the late members slept is known within bounds alone."""
        members, winners, late, stake = sums["members"], sums["winners"], sums["late"], self.rules["stake_fen"]
        everybody = winners == 0 and self.rules["nobody"] == "refund"
        least = members if everybody else max(0, late - winners)
        most = members if everybody else min(late, members - winners)
        refunded = sums["refunded_fen"]
        forfeited = (members - winners) * stake - refunded
        fee = forfeited * self.rules["fee_bps"] // 10_000
        bonus = self.rules["bonus_fen"]
        pot = forfeited - fee + sums["carried_in_fen"] + bonus
        due = {"pool": members * stake, "forfeited": forfeited, "fee": fee, "bonus": bonus, "pot": pot}
        wrong = [f"{k} is {sums[f'{k}_fen']} fen, by the rules {v}" for k, v in due.items() if sums[f"{k}_fen"] != v]
        if winners > members or late > members:
            wrong.append("There are more winners or late members than members")
        if not least * stake <= refunded <= most * stake or refunded % max(stake, 1):
            wrong.append(f"refunded is {refunded} fen, by the rules the stakes of {least} to {most} members")
        self.found.decide("money", wrong, f"Pool, refunds, fee ({fee} fen) and pot ({pot} fen) follow from the rules")

    def _drawn(self) -> bytes | None:
        """What decides the split: the drawn seed; the seed itself in a round without statements."""
        seed = self.published["seed"] if self.published else bytes.fromhex(self.figures.get("seed") or "")
        promised = self.opened["seed_hash"] if self.opened else bytes.fromhex(self.figures.get("seed_hash") or "")
        if not seed or not promised:
            return None
        fits, no = hashlib.sha256(seed).digest() == promised, "The seed does not have the hash that was promised"
        self.found.hold("seed", fits, "The seed has the hash that was promised", no)
        if not self.published or not self.closed:
            return bytes(seed) if self.round.is_older else None
        draw = b"" if self.draw in NO_DRAW else bytes.fromhex(self.draw)
        drawn = hashlib.sha256(b"clock/seed/v2" + seed + draw + self.closed.hash).digest()
        of = "the seed, the draw and C" if draw else "the seed and C"
        no = f"The drawn seed does not follow from {of}"
        self.found.hold("drawn", self.published["drawn"] == drawn, f"The drawn seed follows from {of}", no)
        return drawn

    def _packets(self, pot: int, winners: int, drawn: bytes) -> None:
        if winners > MOST_WINNERS:
            return self.found.unproved("packets", f"{winners} packets are more than this program computes")
        without = {"split": "equal", "lucky_count": 0} if self.draw in ("missing", "late") else {}
        rules = {**self.rules, **without}
        packets, over = split(drawn, pot, winners, rules)
        back = 0 if winners else self.rules["bonus_fen"]
        due = {"carried_out": over - back, "bonus_back": back, "packets": winners}
        due |= {"smallest": min(packets, default=None), "largest": max(packets, default=None)}
        wrong: list[str] = []
        if self.published and self.closed:
            shards = enumerate(self.closed["shards"])
            places = ((n, rank) for n, (_, own) in shards for rank in range(1, own + 1))
            first = f"clock/leaf/v1 packet\n{self.round.day}\n"
            leaves = (f"{first}{n}\n{rank}\n{fen}\n".encode() for (n, rank), fen in zip(places, packets, strict=False))
            if self.published["packets"] != (winners, root_of(leaves)):
                wrong.append("The packets of P are not those that follow from the drawn seed, the pot and the rules")
            if self.published["split"] != rules["split"]:
                why = f"its draw is {self.draw}" if without else f"the rules say {rules['split']}"
                wrong.append(f"P was split {self.published['split']}, and {why}")
            for name in ("carried_out", "bonus_back"):
                if self.published[f"{name}_fen"] != due[name]:
                    wrong.append(f"P has {name} {self.published[f'{name}_fen']} fen, and {due[name]} follow")
        if self.state in SETTLED:
            names = [name for name in due if self.figures[name] != due[name]]
            wrong += [f"The public {name} is {self.figures[name]}, and {due[name]} follows" for name in names]
        self.packets = packets
        return self.found.decide("packets", wrong, f"{winners} packets, {sum(packets)} fen, follow from the drawn seed")

    def _figures(self) -> None:
        due: dict[str, Any] = {}
        if self.opened:
            due |= {"rules": self.rules, "seed_hash": self.opened["seed_hash"].hex()}
        if self.closed:
            due |= {name: self.closed[SUMS[name]] for name in SUMS if not self.void or name in (*COUNTED, "pool")}
        if self.published:
            due["seed"] = self.published["seed"].hex()
            due |= {"drawn": self.published["drawn"].hex()} if "drawn" in self.figures else {}
        if self.void:
            due |= dict.fromkeys(("forfeited", "fee", "carried_in", "pot", "carried_out", "packets"), 0)
            due |= dict.fromkeys(("smallest", "largest"))
            due |= {"refunded": self.figures["pool"], "bonus_back": self.figures["bonus"]}
        final = self.figures["seed"] is not None
        differing = [name for name in due if self.figures[name] != due[name]]
        wrong = [
            f"The public {k} is not that of the statements" for k in differing if final or self.figures[k] is not None
        ]
        self.found.decide("figures", wrong, "The public figures are those of the statements")

    def _list(self, packets: list[int]) -> None:
        for first in range(0, max(len(packets), 1), PAGE):
            path = f"/api/rounds/{self.round.day}/packets?page={first // PAGE + 1}&limit={PAGE}"
            try:
                code, data = self.answers.ask(path)
            except Malformed as error:
                return self.found.no("list", f"The list of packets is refused: {error}")
            except Unanswered as error:
                return self.found.unproved("list", f"The list of packets is missing: {error}")
            if code != "ok":
                return self.found.unproved("list", f"The list of packets: it is {code}", limit=code == "archived")
            fits = are_counts(data.get("items")) and is_count(data.get("total")) and data["total"] == len(packets)
            if not fits or data["items"] != packets[first : first + PAGE]:
                return self.found.no("list", f"{path} does not have the packets that follow from the drawn seed")
        return self.found.decide("list", [], f"The public list has these {len(packets)} packets")

    def _seen(self, path: str) -> None:
        """What somebody saw or kept, against what is served: two texts that the same key signed prove it."""
        for note in notes_in(contents(path), path, self.round.day):
            if not note.startswith("clock.statement."):
                self._seen_checkpoint(path, note)
                continue
            statement = statement_of(note)
            rounds = [one for one in self.rounds if one.day == statement["round"]]
            if not rounds or not signers(note, statement["origin"], self.known(rounds[0])):
                self.found.unproved("seen", f"{path}: {statement} is not of these days, or not signed by a known key")
                continue
            now = rounds[0].notes.get(statement.kind)
            no = f"{path}: two different {statement} were signed, this one and the one that is served"
            no = no if now else f"{path}: {statement} was signed, and is not served"
            fits = now is not None and divided(now)[0] == statement.text
            self.found.hold("seen", fits, f"{path}: {statement} is the one that is served", no)

    def _seen_checkpoint(self, path: str, note: str) -> None:
        origin, size, root = checkpoint_of(note)
        what = f"{path}: the checkpoint of {size} entries"
        is_served = (origin, "root", size) in self.log
        if not signers(note, origin, self.known(self.round)):
            self.found.unproved("seen", f"{what} is not signed by a known key")
        elif self.log.setdefault((origin, "root", size), root) != root:
            self.found.no("seen", f"{path}: two checkpoints of {size} entries were signed: there are two logs")
        elif is_served:
            self.found.decide("seen", [], f"{what} is the one that is served")
        else:
            self.found.unproved("seen", f"{what} has no other of its size here to be held against")

    def _receipt(self, path: str) -> None:
        """A leaf that a player holds is in the tree that was signed, at the one place where it may be."""
        value = parsed(contents(path), path)
        if isinstance(value, dict) and isinstance(answer := value.get("data"), dict):
            value = answer.get("receipt", value)  # as a check-in is answered
        is_receipt = isinstance(value, dict) and "note" in value
        code, data = ("ok", value) if is_receipt else envelope(value, path)
        if code != "ok":
            return self.found.unproved("receipt", f"{path} has no leaf: it is {code}")
        kind, leaf = leaf_in(data)
        if "note" in data:
            return self._promise(path, data, kind, leaf)
        self._leaf(path, data)
        if "uid" in leaf:
            self.proofs[proof_of(kind, leaf)] = data
        return None

    def _promise(self, path: str, data: dict[str, Any], kind: str, leaf: dict[str, Any]) -> None:
        """What the service has signed with its answer is in C, or it broke its word."""
        batch, (index, hashes) = statement_of(str(data["note"]), BATCHES), path_in(data)
        by = " and ".join(signers(data["note"], batch["origin"], self.known(self.round)))
        size, root = batch["leaves"]
        is_of = (batch.kind, batch["round"]) == (kind, leaf["round"])
        if not is_of or led_to(data["leaf"].encode(), index, size, hashes) != root:
            raise Malformed("its leaf is not among those that were signed")
        if not by or leaf["round"] != self.round.day or not self.opened:
            return self.found.unproved("receipt", f"{path} is of another round, or not signed by a known key")
        early_ms = leaf.get("at_ms", self.opened["windows"]["join_opens_ms"]) - batch["signed_ms"]
        if early_ms > WAITED_MS:
            self.found.no("receipt", f"{path} was signed {early_ms} ms before what it says")
        if self.void:
            says = f"{path} is signed by {by}; the round is void, and it is a receipt for the refund"
            return self.found.decide("receipt", [], says)
        if not self.closed:
            return self.found.unproved(
                "receipt", f"{path} is signed by {by}; whether C has its leaf: C is not there yet"
            )
        try:
            code, now = self._proof(proof_of(kind, leaf))
            other = leaf_in(now)[1] if code == "ok" and path_in(now) else {}
        except Malformed as error:
            return self.found.no("answers", f"An answer is refused: {error}")
        except Unanswered as error:
            raise Unanswered(f"it is signed by {by}, and whether C has its leaf is not known: {error}") from None
        says = f"{path}: {by} signed this {'stake' if kind == 'stake' else 'check-in'}, and {self.closed}"
        if code in ("not_joined", "not_checked_in"):
            return self.found.no("receipt", f"{says} does not have it: the service says {code}")
        if code != "ok":
            return self.found.unproved("receipt", f"{says} may have it or not: the service says {code}")
        if now.get("leaf") != data["leaf"]:
            others = [f"{name} {other.get(name)}, not {leaf[name]}" for name in leaf if other.get(name) != leaf[name]]
            return self.found.no("receipt", f"{says} has another: {'; '.join(others)}")
        return self._leaf(path, now)

    def _proof(self, path: str) -> tuple[str, dict[str, Any]]:
        """What the service answers to who asks for a leaf; if it has no answer, or none any more, what was brought."""
        try:
            code, data = self.answers.ask(path)
        except Unanswered:
            if path not in self.proofs:
                raise
            code, data = "archived", {}
        return ("ok", self.proofs[path]) if code == "archived" and path in self.proofs else (code, data)

    def _leaf(self, path: str, data: dict[str, Any]) -> None:
        (kind, leaf), (index, hashes) = leaf_in(data), path_in(data)
        of, tree, column = TREES[kind]
        holder = self.round.statements.get(of)
        if leaf["round"] != self.round.day or not holder or not self.closed or not self.opened:
            return self.found.unproved("receipt", f"{path}: {of} of {leaf['round']} is not given")
        shards, shard = self.closed["shards"], leaf["shard"]
        before, own = sum(one[column] for one in shards[:shard]), sum(one[column] for one in shards[shard : shard + 1])
        wrong = []
        if led_to(data["leaf"].encode(), index, holder[tree][0], hashes) != holder[tree][1]:
            wrong.append(f"{path}: the leaf is not in the tree {tree} of {holder}")
        if not before <= index < before + own or index != before + leaf.get("rank", index - before + 1) - 1:
            wrong.append(f"{path}: the leaf is not at the place of its shard and rank")
        if leaf.get("amount_fen", self.rules["stake_fen"]) != self.rules["stake_fen"]:
            wrong.append(f"{path}: {leaf['amount_fen']} fen is not the stake of the rules")
        opens, closes = self.opened["windows"]["check_in_opens_ms"], self.closed["closes_ms"][shard : shard + 1]
        if kind == "checked_in" and not opens <= leaf["at_ms"] < max(closes, default=0) + WAITED_MS:
            wrong.append(f"{path}: it was checked in outside the window")
        mine = self.packets[index] if self.packets and column and index < len(self.packets) else None
        if mine is not None and leaf.get("fen", mine) != mine:
            wrong.append(f"{path}: the packet has {leaf['fen']} fen, and {mine} follow from the drawn seed")
        gets = "" if mine is None else f"; its packet has {mine} fen"
        says = f"{path}: leaf {index} of {holder[tree][0]} in {tree} of {holder}{gets}"
        return self.found.decide("receipt", wrong, says)

    def _leaves(self, folder: str) -> None:
        """The leaves that an auditor was given are those of the signed roots: of what the trees have, all is there."""
        holders = {kind: holder for kind, (of, *_) in TREES.items() if (holder := self.round.statements.get(of))}
        if not holders:
            self.found.unproved("leaves", f"{folder}: no statement has the root of a tree")
        for kind, holder in holders.items():
            tree, path = TREES[kind][1], Path(folder, f"{kind}.txt")
            no = f"{path}: its leaves are not those of the tree {tree} of {holder}"
            says = f"{path}: the {holder[tree][0]} leaves of the tree {tree} of {holder}"
            self.found.hold("leaves", root_of(leaves_in(path, kind)) == holder[tree][1], says, no)

    def _limits(self) -> None:
        """What these answers prove to nobody. The service has to say so, too."""
        if self.opened:
            lacking = {"beacon"} if self.opened["beacon"] is None else set()
            lacking |= {"draw"} if self.draw in ("missing", "late") else set()
            last = "void" if self.void else "closed"
            lacking |= {"witnesses"} if last in self.round.statements and last not in self.round.cosigned else set()
            for word in sorted(lacking - set(self.round.missing)):
                self.found.no("missing", f"The service does not say that it has no {word}")
        for check, given, named in (("keys", self.trusted, True), ("witnesses", self.witnesses, self.round.witnesses)):
            if given:
                self.found.decide(check, [], f"Only the {len(given)} {check} that you gave count")
            elif named:
                says = f"That the {check} are not the operator's own: the service names them, you gave none"
                self.found.unproved(check, says, limit=True)


TREES = {"stake": ("closed", "stakes", 0), "checked_in": ("closed", "checked_in", 1)}
TREES["packet"] = ("published", "packets", 1)
"""Of each kind of leaf: the statement that has its tree, under which name, and its column in ``shards``."""

NO_DRAW = ("none", "missing", "late")
"""What P has in the place of a draw's signature."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_first_at(at_ms: int, day: date, time_of_day: str, zone: zoneinfo.ZoneInfo) -> bool:
    """Whether this is the first instant at which the zone's clock shows that time or, where it leaps over it, more."""
    of_day = timedelta(hours=int(time_of_day[:2]), minutes=int(time_of_day[3:]))
    wanted = datetime.combine(day, datetime.min.time()) + of_day
    if at_ms >= 1 << 42:
        return False
    earlier, now = ((EPOCH + timedelta(milliseconds=ms)).astimezone(zone) for ms in (at_ms - 1, at_ms))
    return earlier.replace(tzinfo=None) < wanted <= now.replace(tzinfo=None) and not now.fold


def path_in(value: Any) -> tuple[int, list[bytes]]:
    """The index of a leaf, and its path."""
    if not isinstance(value, dict) or not isinstance(value.get("path"), list):
        raise Malformed("it has no leaf, index, size and path")
    if not all(is_count(value.get(name)) for name in ("index", "size")):
        raise Malformed("it has no leaf, index, size and path")
    return value["index"], [READ["hash"](str(step)) for step in value["path"]]


def leaf_in(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Its kind and its values."""
    first, *lines = str(data.get("leaf")).split("\n")
    kind = first.removeprefix("clock/leaf/v1 ")
    if kind == first or kind not in TREES or lines.pop():
        raise Malformed("it has no leaf, index, size and path")
    return kind, values_of(kind, lines, named=False)


def proof_of(kind: str, leaf: dict[str, Any]) -> str:
    """Where the service has the proof of a leaf, for whoever knows its salt."""
    return f"/api/rounds/{leaf['round']}/proof/{kind}?uid={leaf['uid']}&salt={leaf['salt']}"


def is_promise(path: str) -> bool:
    """Whether the file is a receipt of the service: those are read when all proofs of leaves are known."""
    try:
        return b'"note"' in contents(path)
    except Unanswered:
        return False


def notes_in(raw: bytes, path: str, day: str) -> list[str]:
    """The statements and checkpoints of a file: a note, an answer of ``/proof``, or a bundle."""
    if not raw.lstrip().startswith((b"{", b"[")):
        return [raw.decode("utf-8", "replace")]
    value = parsed(raw, path)
    if isinstance(value, dict) and "bundle" in value:
        value = kept_in(value, path).get(f"/api/rounds/{day}/proof")
    round_ = Round(day)
    round_.take_proof(envelope(value, path)[1])
    entries = [entry for entry in (round_.logged or {}).values() if isinstance(entry, dict)]
    return list(dict.fromkeys([*round_.notes.values(), *(str(entry.get("checkpoint")) for entry in entries)]))


def leaves_in(path: Path, kind: str) -> Iterable[bytes]:
    """From lines with a leaf's values, separated by spaces."""
    try:
        with path.open("rb") as file:
            while line := file.readline(MOST_LEAF_BYTES):
                yield f"clock/leaf/v1 {kind}\n".encode() + line.replace(b" ", b"\n")
    except OSError as error:
        raise Unanswered(f"{path} cannot be read: {error.strerror}") from None


def keys_in(given: list[str], kind: int = ED25519) -> list[Key]:
    """Keys, or files with one in a line; ``#`` begins a remark."""
    texts = [one if "+" in one else contents(one).decode("utf-8", "replace") for one in given]
    lines = [line.strip() for text in texts for line in text.split("\n")]
    return [key_of(line, kind) for line in lines if line and not line.startswith("#")]


def printable(text: str) -> str:
    """For any terminal: what was read may hold anything."""
    return "".join(one if one.isprintable() else "?" for one in text).encode("ascii", "backslashreplace").decode()


def told(found: Report, day: str, as_json: bool) -> str:
    if as_json:
        return json.dumps({"round": day, "status": found.status, "findings": [asdict(one) for one in found.findings]})
    lines = [printable(f"{one.result:10}  {one.check:10}  {one.says}") for one in found.findings]
    wrong = sum(one.result == "no" for one in found.findings)
    open_ = sum(one.result == "not proved" for one in found.findings)
    return "\n".join([*lines, f"{day}: {len(lines)} sentences, {wrong} no, {open_} not proved"])


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    parser = argparse.ArgumentParser(prog=program, description="Verifies a round from what anybody can fetch.")
    parser.add_argument("day", metavar="DAY", help="the round: YYYY-MM-DD, the date on which people joined")
    parser.add_argument("--from", dest="where", metavar="URL|FILE", required=True, help="a service, or a saved bundle")
    parser.add_argument("--keys", metavar="KEY|FILE", action="append", default=[], help="keys that you trust")
    parser.add_argument("--witness", metavar="KEY|FILE", action="append", default=[], help="witnesses that you trust")
    parser.add_argument("--chain", metavar="FILE", action="append", default=[], help="a beacon other than quicknet")
    parser.add_argument("--seen", metavar="FILE", action="append", default=[], help="what you kept, or somebody saw")
    parser.add_argument("--receipt", metavar="FILE", action="append", default=[], help="yours, or a proof of your leaf")
    parser.add_argument("--bundle", metavar="FOLDER", action="append", default=[], help="leaves that an auditor has")
    parser.add_argument("--days", type=int, default=2, help="so many rounds, up to DAY, are one chain (2)")
    parser.add_argument("--save", metavar="FILE", help="write a bundle of what was fetched")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    given = parser.parse_args(arguments)
    try:
        day, days = READ["day"](given.day), min(max(given.days, 1), MOST_DAYS)
        keys, witnesses = keys_in(given.keys), keys_in(given.witness, COSIGNATURE)
        chains = [chain_of(parsed(contents(path), path)) for path in given.chain]
        verification = Verification(Answers(given.where), day, days, keys, witnesses, chains)
        found = verification.verify(given.seen, given.receipt, given.bundle)
    except (Malformed, Unanswered, OSError, KeyboardInterrupt) as error:
        print(printable(f"nothing is verified: {str(error) or 'it was stopped'}"), file=sys.stderr)
        return 2
    doing = "told"
    try:
        print(told(found, day, given.json), flush=True)
        doing = "saved"
        if given.save:
            Path(given.save).write_text(verification.answers.bundle(), "utf-8")
    except OSError as error:
        print(printable(f"nothing is {doing}: {error}"), file=sys.stderr)
        if doing == "told":
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says it again, with status 120
        return found.status or 2
    return found.status


if __name__ == "__main__":
    sys.exit(main())
