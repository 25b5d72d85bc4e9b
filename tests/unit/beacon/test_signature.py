"""Draws of quicknet that others have published, and everything that is not one."""

import pytest
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from clock.beacon.chain import QUICKNET
from clock.beacon.signature import is_key, message, verifies
from tests.unit.beacon.stage import double

KEY = QUICKNET.public_key

DRAWS = {
    # drand's documentation, "Our HTTP API"
    42: "95a9f9f5b231b7714de1553105d8ffdf3dcda24cfdb1e689319bccf79a9c8ce430a91b811fbfaf763900bc998b5d686a",
    # noislabs/drand-verify, src/verify.rs
    123: "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92",
    # ideal-lab5 and many others
    1000: "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39",
}

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
"""The field of BLS12-381: an abscissa is below it."""

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


@pytest.mark.parametrize("number", DRAWS)
def test_a_published_draw_verifies_and_is_no_other_draw(number: int) -> None:
    signature = bytes.fromhex(DRAWS[number])
    assert verifies(KEY, number, signature)
    assert not any(verifies(KEY, other, signature) for other in (0, 1, number - 1, number + 1, number << 8, -number))
    assert not verifies(double().chain.public_key, number, signature)


def test_a_draw_of_a_testnet_verifies_with_its_own_key_only() -> None:
    """A draw of the same scheme that drand's tests had when it was made: noislabs/drand-verify, src/verify.rs."""
    key = bytes.fromhex(
        "a1ee12542360bf75742bcade13d6134e7d5283d9eb782887c47d3d9725f05805d37b0106b7f744395bf82c175dd7434a"
        "169e998f188a657a030d588892c0cd2c01f996aaf331c4d8bc5b9734bbe261d09e7d2d39ef88b635077f262bd7bbb30f"
    )
    signature = bytes.fromhex(
        "a054dafb27a4a4fb9e06b17b30da3e0c7b13b4ca8e1dec3c6775f81758587029aa358523f2e7e62204018347db7cbd1c"
    )
    assert verifies(key, 6, signature)
    assert not verifies(KEY, 6, signature)


def negated(signature: bytes) -> bytes:
    return (-G1Point.from_compressed_bytes(signature)).to_compressed_bytes()


def test_what_is_not_the_draw_does_not_verify() -> None:
    good = bytes.fromhex(DRAWS[123])
    for bad in (
        b"",
        good[:-1],
        good + b"\0",
        bytes(48),
        b"\xff" * 48,
        negated(good),
        message(123).to_compressed_bytes(),
    ):
        assert not verifies(KEY, 123, bad)
    for place in range(48):
        changed = bytearray(good)
        changed[place] ^= 1
        assert not verifies(KEY, 123, bytes(changed))


def outside() -> bytes:
    """A point of the curve that is not in the group of signatures: its abscissa is 4."""
    point = bytes([0x80]) + bytes(46) + bytes([4])
    assert not G1Point.from_compressed_bytes_unchecked(point).is_in_subgroup()
    return point


def test_a_point_outside_the_group_is_no_signature() -> None:
    """The pairing does not see a difference whose order divides the cofactor: with one added, a draw would still fit
    the equation, and be another seed."""
    point = G1Point.from_compressed_bytes_unchecked(outside())
    unseen = point * Scalar.from_be_bytes((ORDER - 1).to_bytes(32, "big")) + point
    good = G1Point.from_compressed_bytes(bytes.fromhex(DRAWS[123]))
    key = G2Point.from_compressed_bytes(KEY)
    assert GT.pairing_check([good + unseen, -message(123)], [G2Point(), key])
    other = (good + unseen).to_compressed_bytes()
    assert other.hex() != DRAWS[123]
    assert not verifies(KEY, 123, other)


def test_a_draw_has_one_form() -> None:
    """Another form of the same point would be another seed: a small abscissa has room for P on top."""
    made = double()
    number = next(number for number in range(1, 500) if abscissa(made.signature(number)) + P < 1 << 381)
    good = made.signature(number)
    other = (int.from_bytes(good, "big") + P).to_bytes(48, "big")
    assert verifies(made.chain.public_key, number, good)
    assert not verifies(made.chain.public_key, number, other)


def abscissa(point: bytes) -> int:
    return int.from_bytes(point, "big") & ((1 << 381) - 1)


ZERO_KEYS = [b"\xc0" + bytes(95), b"\xe0" + bytes(95), b"\xff" * 96]


@pytest.mark.parametrize("key", ZERO_KEYS, ids=["zero", "zero_with_a_sign", "zero_with_more"])
def test_zero_is_no_key(key: bytes) -> None:
    """With it zero would sign everything."""
    assert not is_key(key)


@pytest.mark.parametrize("signature", [b"\xc0" + bytes(47), b"\xe0" + bytes(47)])
def test_zero_is_no_signature(signature: bytes) -> None:
    assert not verifies(KEY, 123, signature)


def test_a_key_is_a_point_of_g2() -> None:
    assert is_key(KEY) and is_key(double().chain.public_key)
    assert not any(is_key(key) for key in (b"", KEY[:-1], KEY + b"\0", bytes(96), bytes.fromhex(DRAWS[42]), KEY[::-1]))


def test_the_numbers_that_can_be_signed_end_where_eight_bytes_do() -> None:
    made = double()
    last = (1 << 64) - 1
    assert verifies(made.chain.public_key, last, made.signature(last))
    assert not verifies(made.chain.public_key, 0, made.signature(0))
    assert not verifies(made.chain.public_key, last + 1, made.signature(last))


def test_the_generator_is_the_one_of_the_standard() -> None:
    """The key of the secret 1, and of the group's order less 1, is the generator, up to the sign."""
    generator = "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    assert G2Point().to_compressed_bytes().hex().startswith(generator)
    assert -(G2Point() * Scalar.from_be_bytes((ORDER - 1).to_bytes(32, "big"))) == G2Point()
