"""Whether a signature is the draw of a chain: BLS with a signature in G1 and a key in G2.

The scheme is drand's ``bls-unchained-g1-rfc9380``: the message is the SHA-256 of the number as 8 bytes, big endian,
hashed to G1 as RFC 9380 says, with the tag of the BLS signature draft's basic ciphersuite.
"""

import hashlib

from py_arkworks_bls12381 import GT, G1Point, G2Point

TAG = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"

SIGNATURE_BYTES = 48

MOST_NUMBER = (1 << 64) - 1


def message(number: int) -> G1Point:
    """What is signed for a draw, as a point."""
    return G1Point.hash_to_curve(hashlib.sha256(number.to_bytes(8, "big")).digest(), TAG)


def is_key(public_key: bytes) -> bool:
    """Whether it is a point of G2 other than zero, with which zero would sign everything."""
    try:
        return G2Point.from_compressed_bytes(public_key) != G2Point.identity()
    except ValueError:
        return False


def verifies(public_key: bytes, number: int, signature: bytes) -> bool:
    """Whether it is the draw of this number. Exactly one text of 48 bytes is: whoever relays a draw could otherwise
    choose between two seeds. The library reads a point in one form only, and none outside the group of signatures.

    ``public_key`` must be one (:func:`is_key`).
    """
    if not 0 < number <= MOST_NUMBER:
        return False
    try:
        point = G1Point.from_compressed_bytes(signature)
    except ValueError:
        return False
    return GT.pairing_check([point, -message(number)], [G2Point(), G2Point.from_compressed_bytes(public_key)])
