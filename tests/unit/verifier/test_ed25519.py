"""Signatures: known answers, and the library that signs.

``ed25519.json`` has name, key, message, signature and answer of tests of RFC 8032 (7.1), of Wycheproof, and of C2SP's
CCTV. Of the last, those with a key of small order, a point that is not encoded canonically or a low-order rest are no
signatures; the others are.
"""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clock.verifier import L, P, is_signed, point

VECTORS = json.loads((Path(__file__).parent / "ed25519.json").read_text("utf-8"))


@pytest.mark.parametrize("source", ["RFC 8032", "wycheproof", "cctv"])
def test_known_answers(source: str) -> None:
    own = [one for one in VECTORS if one[0].startswith(source)]
    answers = {name: is_signed(*map(bytes.fromhex, texts)) for name, *texts, _ in own}
    assert answers == {name: answer for name, *_, answer in own}
    assert len(own) > 2


def test_what_the_library_signs_is_signed_and_nothing_near_it() -> None:
    for number in range(8):
        key, message = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32), b"a statement" * number
        public, signature = key.public_key().public_bytes_raw(), key.sign(message)
        assert is_signed(public, message, signature)
        assert not is_signed(public, message + b"\n", signature)
        assert not is_signed(public, message, signature[:63] + bytes([signature[63] ^ 32]))
        assert not is_signed(public, message, bytes([signature[0] ^ 1]) + signature[1:])
        assert not is_signed(bytes([public[0] ^ 1]) + public[1:], message, signature)
        larger = int.from_bytes(signature[32:], "little") + L
        assert not is_signed(public, message, signature[:32] + larger.to_bytes(32, "little"))
        assert not is_signed(public, message, signature + b"\0")
        assert not is_signed(public[:31], message, signature)


def test_a_point_has_one_encoding() -> None:
    """RFC 8032, 5.1.3: y below p, and no negative zero."""
    assert point((1).to_bytes(32, "little")) == (0, 1, 1, 0)
    assert point((P + 1).to_bytes(32, "little")) is None
    assert point((1 + (1 << 255)).to_bytes(32, "little")) is None
    assert point((2).to_bytes(32, "little")) is None
