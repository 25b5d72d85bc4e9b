"""A chain with a key of one's own, for development and tests: whoever has its key can draw what they like."""

import hashlib

import msgspec
from py_arkworks_bls12381 import G2Point, Scalar

from clock.beacon.chain import Chain, hash_of
from clock.beacon.signature import message

PERIOD_S, GENESIS_S = 3, 1_700_000_000

KEY_BYTES = 32


class OwnKey:
    """``key``: 32 bytes, from which the secret key is made."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        self._secret = Scalar.from_be_bytes_mod_order(key)

    def chain(self, name: str) -> Chain:
        chain = Chain(
            name=name,
            hash="",
            public_key=(G2Point() * self._secret).to_compressed_bytes(),
            period_s=PERIOD_S,
            genesis_s=GENESIS_S,
            group_hash=hashlib.sha256(name.encode()).digest(),
        )
        return msgspec.structs.replace(chain, hash=hash_of(chain))

    def sign(self, number: int) -> bytes:
        """The draw of this number."""
        return (message(number) * self._secret).to_compressed_bytes()
