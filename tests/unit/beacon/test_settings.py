"""What ``CLOCK_BEACON`` and ``CLOCK_BEACON_RELAYS`` may be."""

import msgspec
import pytest

from clock.beacon.chain import QUICKNET, QUICKNET_RELAYS, hash_of
from clock.beacon.relays import Beacon
from clock.beacon.settings import beacon_of
from clock.config import BadSetting, Settings, load
from clock.dev.beacon import BeaconDouble
from tests.unit.beacon.stage import KEY, described, double

RELAY = "http://127.0.0.1:9/"


def of(beacon: str, relays: str = "", env: str = "dev") -> Beacon | None:
    return beacon_of(load({"CLOCK_BEACON": beacon, "CLOCK_BEACON_RELAYS": relays, "CLOCK_ENV": env}))


def test_there_is_no_beacon_unless_it_is_named() -> None:
    assert Settings().beacon == "none"
    assert beacon_of(Settings()) is None
    assert of("none", RELAY) is None


def test_quicknet_has_public_relays_and_takes_others() -> None:
    for env in ("dev", "prod"):
        assert of("quicknet", env=env) == Beacon(QUICKNET, QUICKNET_RELAYS)
        others = "https://a.example/drand/ http://[::1]:8080"
        assert of("quicknet", others, env) == Beacon(QUICKNET, ("https://a.example/drand", "http://[::1]:8080"))
    load({"CLOCK_BEACON_RELAYS": " ".join(QUICKNET_RELAYS)})


def test_a_described_chain_is_for_development() -> None:
    assert of(described(), RELAY) == Beacon(double().chain, ("http://127.0.0.1:9",))
    with pytest.raises(BadSetting, match=r"CLOCK_BEACON: in production .* none or quicknet"):
        of(described(), RELAY, env="prod")
    with pytest.raises(BadSetting, match="CLOCK_BEACON_RELAYS is required"):
        of(described())


QUICKNET_INFO = (
    '{"public_key":"83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec7'
    '58c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a","period":3,"genesis_time":'
    '1692803367,"hash":"52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971","groupHash":"f477d5c89f21a17c863a'
    '7f937c6a6d15859414d2be09cd448d4279af331c5d3e","schemeID":"bls-unchained-g1-rfc9380","metadata":{"beaconID":"quicknet"}}'
)
"""As relays answer it: ``common/chain/info_test.go`` of drand/drand."""


def test_a_relays_description_of_quicknet_is_quicknet() -> None:
    assert of(QUICKNET_INFO, RELAY, env="prod") == Beacon(QUICKNET, ("http://127.0.0.1:9",))


@pytest.mark.parametrize(
    "text, why",
    [
        ("Quicknet", "must be none, quicknet or"),
        ("double", "must be none, quicknet or"),
        ("{}", "must be none, quicknet or"),
        (described(period="3"), "must be none, quicknet or"),
        (described(public_key="no digits"), "must be none, quicknet or"),
        (described(genesis_time=-1), "must be none, quicknet or"),
        (described(schemeID="pedersen-bls-chained"), "the scheme pedersen-bls-chained is not"),
        (described(period=30), "not that of the chain with this hash"),
        (described(hash=QUICKNET.hash), "not that of the chain with this hash"),
        (described(hash=double().chain.hash.upper()), "not that of the chain with this hash"),
        (described(public_key=QUICKNET.public_key.hex()), "not that of the chain with this hash"),
        (described(metadata={"beaconID": "quicknet"}), "not that of the chain with this hash"),
    ],
)
def test_a_description_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadSetting, match=rf"^CLOCK_BEACON.*{why}"):
        of(text, RELAY)


@pytest.mark.parametrize("name", ["quicknet", "none", "missing", "two words", "", "a" * 33, "夜"])
def test_another_chain_takes_no_name_that_means_something_else(name: str) -> None:
    with pytest.raises(BadSetting, match="CLOCK_BEACON: a chain cannot be called"):
        of(BeaconDouble(KEY, name).info, RELAY)


def test_a_chain_whose_draws_come_all_at_once_is_refused() -> None:
    chain = msgspec.structs.replace(double().chain, period_s=0)
    with pytest.raises(BadSetting, match="not that of the chain"):
        of(described(period=0, hash=hash_of(chain)), RELAY)


@pytest.mark.parametrize("key", [b"\xc0" + bytes(95), bytes(96)])
def test_a_key_that_would_take_anything_is_refused(key: bytes) -> None:
    chain = msgspec.structs.replace(double().chain, public_key=key)
    with pytest.raises(BadSetting, match="CLOCK_BEACON: public_key is not"):
        of(described(public_key=key.hex(), hash=hash_of(chain)), RELAY)


@pytest.mark.parametrize(
    "relays",
    [
        "api.drand.sh",
        "ftp://a.example",
        "https://",
        "https://a.example:0",
        "https://a.example:65536",
        "https://[::1",
        "https://user:password@a.example",
        "https://a.example/?key=secret",
        "https://a.example https://b.example#there",
        " ".join(f"https://{number}.example" for number in range(17)),
    ],
)
def test_relays_are_urls_without_secrets(relays: str) -> None:
    with pytest.raises(BadSetting, match=r"^CLOCK_BEACON_RELAYS") as refused:
        load({"CLOCK_BEACON_RELAYS": relays})
    assert "password" not in str(refused.value).replace("without a password", "")
    load({"CLOCK_BEACON_RELAYS": " ".join(f"https://{number}.example" for number in range(16))})
