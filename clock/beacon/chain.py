"""A chain of drand: its parameters, and which of its draws is out at which instant.

What drand calls a round is a *draw* here, since a round is a day's game. Draw 1 is out at the genesis, and every period
brings the next one, whatever happened to those before it.
"""

import hashlib

import msgspec

SCHEME = "bls-unchained-g1-rfc9380"
"""The one scheme that is verified here: the signature is a point of G1, the message is the draw's number."""


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """``hash``: the chain's hash in lower-case hexadecimal digits, its name in a relay's paths; it commits to all other
    fields (:func:`hash_of`). ``public_key``: a compressed point of G2, 96 bytes."""

    name: str
    hash: str
    public_key: bytes
    period_s: int
    genesis_s: int
    group_hash: bytes
    """The hash of the group that began the chain."""

    def instant_ms(self, number: int) -> int:
        """When a draw, from 1 on, is out."""
        return (self.genesis_s + (number - 1) * self.period_s) * 1000

    def latest(self, now_ms: int) -> int:
        """The number of the last draw that is out; 0 before the genesis."""
        return max(0, (now_ms - self.genesis_s * 1000) // (self.period_s * 1000) + 1)

    def first(self, from_ms: int) -> int:
        """The number of the first draw that is out at this instant or after it."""
        return self.latest(from_ms - 1) + 1


def hash_of(chain: Chain) -> str:
    """The hash of a chain with these parameters: ``Info.Hash`` of drand's ``common/chain/info.go``."""
    said = chain.period_s.to_bytes(4, "big") + chain.genesis_s.to_bytes(8, "big") + chain.public_key + chain.group_hash
    name = b"" if chain.name == "default" else chain.name.encode()
    return hashlib.sha256(said + name).hexdigest()


QUICKNET = Chain(
    name="quicknet",
    hash="52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971",
    public_key=bytes.fromhex(
        "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c"
        "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb"
        "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
    ),
    period_s=3,
    genesis_s=1_692_803_367,
    group_hash=bytes.fromhex("f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e"),
)
"""The League of Entropy's chain of the scheme above. Source: ``QUICKNET_CHAIN_INFO`` in ``lib/defaults.ts`` of
``drand/drand-client``, the same as in drand's announcement of 2023-10-16 and in ``common/chain/info_test.go`` of
``drand/drand``."""

QUICKNET_RELAYS = (
    "https://api.drand.sh",
    "https://api2.drand.sh",
    "https://api3.drand.sh",
    "https://drand.cloudflare.com",
    "https://api.drand.secureweb3.com:6875",
)
"""Public relays. Source: *Our HTTP API* in drand's documentation (docs.drand.love/developer/http-api)."""
