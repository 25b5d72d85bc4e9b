"""What is signed: of a form its parameters, of a reply the bytes of its node."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

MOST_PARAMETERS = 256
"""Of a notification; it has some thirty."""

UNSIGNED = (b"sign", b"sign_type")
"""Of a notification."""

SPACE = " \t\r\n"

_text = json.JSONDecoder(strict=False)


def signed_content(parameters: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Sorted by name, ``name=value`` joined by ``&``."""
    return b"&".join(name + b"=" + value for name, value in sorted(parameters))


def form(raw: bytes) -> dict[bytes, bytes]:
    """The parameters of a form-encoded body, decoded once, as bytes: in whatever charset they were signed. Raises
    :class:`ValueError` for a repeated parameter, since two readers may take two of them, and for too many."""
    parts = raw.replace(b"+", b" ").split(b"&", MOST_PARAMETERS)
    if len(parts) > MOST_PARAMETERS:
        raise ValueError("too many parameters")
    found: dict[bytes, bytes] = {}
    for part in parts:
        name, _, value = part.partition(b"=")
        found[_decoded(name)] = _decoded(value)
    if len(found) < len(parts):
        raise ValueError("a repeated parameter")
    return found


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text) if b"%" in text else text


class Node(msgspec.Struct, frozen=True):
    """A reply's part that is signed."""

    raw: bytes
    """Exactly as it was sent."""
    content: Any
    signature: str
    serial: str
    """Of the certificate that has signed; empty in key mode."""


def node_of(raw: bytes, name: str) -> Node | None:
    """The node of the reply's top level that has this name: where it begins and ends is found by reading, and nothing
    is written anew. ``None``: there is none, or two, or the reply is no JSON object."""
    try:
        text = raw.decode()
        members = _members(text)
    except (ValueError, RecursionError):
        return None
    if name not in members:
        return None
    content, begin, end = members[name]
    signature, serial = (members.get(key, ("", 0, 0))[0] for key in ("sign", "alipay_cert_sn"))
    if not isinstance(signature, str) or not isinstance(serial, str):
        return None
    return Node(text[begin:end].encode(), content, signature, serial)


def _members(text: str) -> dict[str, tuple[Any, int, int]]:
    """The members of a JSON object: value, begin and end of its text. Raises :class:`ValueError`."""
    members: dict[str, tuple[Any, int, int]] = {}
    at = _after(text, _blank(text, 0), "{")
    while True:
        name, at = _text.raw_decode(text, _blank(text, at))
        begin = _blank(text, _after(text, _blank(text, at), ":"))
        value, end = _text.raw_decode(text, begin)
        if not isinstance(name, str) or name in members:
            raise ValueError("not a name, or one that is repeated")
        members[name] = value, begin, end
        at = _blank(text, end)
        if text[at : at + 1] != ",":
            break
        at += 1
    if text[_blank(text, _after(text, at, "}")) :]:
        raise ValueError("something behind the end")
    return members


def _blank(text: str, at: int) -> int:
    """Where blanks from here on end."""
    while text[at : at + 1] in SPACE and at < len(text):
        at += 1
    return at


def _after(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise ValueError(f"{sign} is missing at {at}")
    return at + 1
