"""Signatures: known answers, and the library that signs; those of witnesses.

``ed25519.json`` has name, key, message, signature and answer of tests of RFC 8032 (7.1), of Wycheproof, and of C2SP's
CCTV. Of the last, those with a key of small order, a point that is not encoded canonically or a low-order rest are no
signatures; the others are.
"""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clock.verifier import COSIGNATURE, ED25519, Key, L, Malformed, P, checkpoint_of, cosigned, is_signed, key_of, point
from tests.unit.verifier.forms import cosignature_line, sha256, verifier_key
from tests.unit.verifier.witnessed import NAME, SEER, WITNESS

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


LOG = "arche2025h1.staging.ct.transparency.dev\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
LINES = """\
— arche2025h1.staging.ct.transparency.dev \
ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden \
2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness.stagemole.eu \
Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""
"""What a log of Certificate Transparency served, with lines of witnesses of other implementations: a test of
github.com/florolf/spic has kept it. The keys are in policies of Sigsum."""
OTHERS = {
    "transparency.dev/DEV:witness-little-garden": "2b6eb0ec483503544cde4e8fc1ce6d1921db21dffccc186865f808f7625443cc",
    "witness.stagemole.eu": "4a921b7caef58ae670cdc11ef4184f1c058f7b9259a9107a969f69fa54aa496f",
}


def witness(name: str, public: bytes) -> Key:
    key_hash = sha256(name.encode(), b"\n\4", public)[:4]
    return key_of(f"{name}+{key_hash.hex()}+{base64.b64encode(bytes([4]) + public).decode()}", COSIGNATURE)


def test_a_cosignature_is_the_one_that_other_witnesses_make() -> None:
    note, keys = f"{LOG}\n{LINES}", [witness(name, bytes.fromhex(public)) for name, public in OTHERS.items()]
    assert checkpoint_of(note)[:2] == ("arche2025h1.staging.ct.transparency.dev", 1_432_088_532)
    assert [*cosigned(note, keys).values()] == [0x6A122120] * 2
    assert cosigned(note, [witness("witness.stagemole.eu", bytes(32))]) == {}
    for changed in (note.replace("1432088532", "1432088533"), note.replace("ABqEiEgw0", "ABqEiEhw0")):
        with pytest.raises(Malformed, match="does not fit it"):
            cosigned(changed, keys)


def test_a_witness_that_signs_twice_saw_it_first() -> None:
    text = "a.b/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    lines = [cosignature_line(text, at_s, SEER, NAME) for at_s in (7, 5, 1 << 40)]
    assert [*cosigned(f"{text}\n{''.join(lines)}", [key_of(WITNESS, COSIGNATURE)]).values()] == [5]


def test_a_key_is_for_statements_or_for_what_a_witness_saw() -> None:
    for key, kind in ((WITNESS, ED25519), (verifier_key(), COSIGNATURE)):
        with pytest.raises(Malformed, match=f"is not a key of Ed25519 .type {kind}."):
            key_of(key, kind)
