"""Payloads of users and providers, parsed into structs at the edge."""

import json
import re
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

Shape = TypeVar("Shape")

LONE_SURROGATE = re.compile("[\ud800-\udfff]")

Text = Annotated[str, msgspec.Meta(max_length=128, pattern="^[^\x00]*$")]


class Extra(msgspec.Struct, frozen=True):
    """The user's profile; empty texts count as missing."""

    mobile: Text | None = None
    nickname: Text | None = None
    openId: Text | None = None


def decoder(shape: type[Shape]) -> Callable[[bytes], Shape]:
    """JSON to struct. Raises :class:`msgspec.DecodeError`, :class:`UnicodeDecodeError` or :class:`RecursionError`.

    Half of a surrogate pair (a text that was cut within an emoji) becomes U+FFFD.
    """
    decode = msgspec.json.Decoder(shape).decode

    def decoded(raw: bytes) -> Shape:
        if not raw.isascii():
            raw.decode()  # the decoder skips unknown fields without checking that they are UTF-8
        try:
            return decode(raw)
        except msgspec.DecodeError:
            if b"\\ud" not in raw.lower():
                raise
            return decode(_without_halves(raw))

    return decoded


def signed_decoder(shape: type[Shape]) -> Callable[[bytes], Shape]:
    """As :func:`decoder`, for a message of a provider that has been verified. What is not looked at must not make it
    unreadable: a byte order mark is skipped, and bytes that are not UTF-8 become U+FFFD."""
    decode = decoder(shape)

    def decoded(raw: bytes) -> Shape:
        try:
            return decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return decode(raw.decode("utf-8-sig", "replace").encode())

    return decoded


def _without_halves(raw: bytes) -> bytes:
    try:
        text = json.dumps(json.loads(raw), ensure_ascii=False)
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None
    return LONE_SURROGATE.sub("\ufffd", text).encode()


def masked(mobile: str) -> str:
    """The first three and the last four digits; a shorter number is masked entirely."""
    return f"{mobile[:3]}****{mobile[-4:]}" if len(mobile) > 7 else "****" if mobile else ""
