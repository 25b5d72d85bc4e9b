"""The beacon that the settings name, and those of which draws can be had."""

import re
from collections.abc import Mapping

import msgspec

from clock.beacon.chain import QUICKNET, QUICKNET_RELAYS, SCHEME, Chain, hash_of
from clock.beacon.relays import Beacon
from clock.beacon.signature import is_key
from clock.config import BadSetting, Settings

NAME = re.compile(r"(?!none$|missing$|late$|quicknet$)[a-z0-9][a-z0-9_-]{0,31}")
"""What a chain other than quicknet may be called, since statements name it among other words."""


class Metadata(msgspec.Struct, frozen=True):
    """As drand writes it."""

    beacon_id: str = msgspec.field(name="beaconID")


class Info(msgspec.Struct, frozen=True):
    """A chain's description, as a relay answers it at ``/<chain hash>/info``."""

    public_key: str
    period: int
    genesis_time: int
    hash: str
    group_hash: str = msgspec.field(name="groupHash")
    scheme: str = msgspec.field(name="schemeID")
    metadata: Metadata


def beacon_of(settings: Settings) -> Beacon | None:
    """None: there is none. Raises :class:`BadSetting`.

    In production no chain but quicknet is taken: whoever has made its key could draw what they like.
    """
    relays = tuple(url.rstrip("/") for url in settings.beacon_relays.split())
    if settings.beacon == "none":
        return None
    if settings.beacon == QUICKNET.name:
        return Beacon(QUICKNET, relays or QUICKNET_RELAYS)
    chain = described(settings.beacon)
    if settings.env == "prod" and chain != QUICKNET:
        raise BadSetting(f"CLOCK_BEACON: in production the beacon is none or {QUICKNET.name}")
    if not relays:
        raise BadSetting(f"CLOCK_BEACON_RELAYS is required: no relay of the chain {chain.name} is known")
    return Beacon(chain, relays)


def beacons_of(settings: Settings) -> Mapping[str, Beacon]:
    """By the hash of their chain, all of which a draw can be asked for: a round keeps its beacon when the settings name
    another one. Raises :class:`BadSetting`."""
    named = beacon_of(settings)
    relays = tuple(url.rstrip("/") for url in settings.beacon_relays.split()) if named is None else ()
    known = {QUICKNET.hash: Beacon(QUICKNET, relays or QUICKNET_RELAYS)}
    return known | ({named.chain.hash: named} if named else {})


def description(chain: Chain) -> str:
    """As :func:`described` reads it."""
    info = Info(
        public_key=chain.public_key.hex(),
        period=chain.period_s,
        genesis_time=chain.genesis_s,
        hash=chain.hash,
        group_hash=chain.group_hash.hex(),
        scheme=SCHEME,
        metadata=Metadata(beacon_id=chain.name),
    )
    return msgspec.json.encode(info).decode()


def described(text: str) -> Chain:
    """The chain of a description. Raises :class:`BadSetting`."""
    try:
        info = msgspec.json.decode(text, type=Info)
        chain = Chain(
            name=info.metadata.beacon_id,
            hash=info.hash,
            public_key=bytes.fromhex(info.public_key),
            period_s=info.period,
            genesis_s=info.genesis_time,
            group_hash=bytes.fromhex(info.group_hash),
        )
        fits = chain.period_s > 0 and hash_of(chain) == chain.hash
    except (ValueError, OverflowError):
        raise BadSetting("CLOCK_BEACON must be none, quicknet or a chain's description in JSON") from None
    if info.scheme != SCHEME:
        raise BadSetting(f"CLOCK_BEACON: the scheme {info.scheme} is not {SCHEME}")
    if not fits:
        raise BadSetting("CLOCK_BEACON: the description is not that of the chain with this hash")
    if not is_key(chain.public_key):
        raise BadSetting("CLOCK_BEACON: public_key is not a point of G2")
    if chain != QUICKNET and not NAME.fullmatch(chain.name):
        raise BadSetting(f"CLOCK_BEACON: a chain cannot be called {chain.name!r}")
    return chain
