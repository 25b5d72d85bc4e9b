"""Numbers and instants of draws, and the parameters of quicknet."""

import msgspec
import pytest

from clock.beacon.chain import QUICKNET, hash_of

GENESIS_MS = 1_692_803_367_000


def test_the_hash_of_quicknet_is_that_of_its_parameters() -> None:
    assert hash_of(QUICKNET) == QUICKNET.hash == "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"


@pytest.mark.parametrize(
    "changes", [{"period_s": 4}, {"genesis_s": 1}, {"public_key": bytes(96)}, {"group_hash": b""}, {"name": "other"}]
)
def test_the_hash_commits_to_every_parameter(changes: dict[str, object]) -> None:
    assert hash_of(msgspec.structs.replace(QUICKNET, **changes)) != QUICKNET.hash


def test_the_hash_of_a_chain_with_drands_default_name_leaves_it_out() -> None:
    """The League of Entropy's chain ``default``: ``lib/defaults.ts`` of drand/drand-client."""
    chain = msgspec.structs.replace(
        QUICKNET,
        name="default",
        period_s=30,
        genesis_s=1_595_431_050,
        public_key=bytes.fromhex(
            "868f005eb8e6e4ca0a47c8a77ceaa5309a47978a7c71bc5cce96366b5d7a569937c529eeda66c7293784a9402801af31"
        ),
        group_hash=bytes.fromhex("176f93498eac9ca337150b46d21dd58673ea4e3581185f869672e59fa4cb390a"),
    )
    assert hash_of(chain) == "8990e7a9aaed2ffed73dbd7092123d6f289930540d7651336225dc172e51b2ce"


@pytest.mark.parametrize(
    "now_ms, latest, first",
    [
        (0, 0, 1),
        (GENESIS_MS - 1, 0, 1),
        (GENESIS_MS, 1, 1),
        (GENESIS_MS + 1, 1, 2),
        (GENESIS_MS + 2_999, 1, 2),
        (GENESIS_MS + 3_000, 2, 2),
        (GENESIS_MS + 3_001, 2, 3),
        (1_776_643_200_000, 27_946_612, 27_946_612),  # 2026-04-20T00:00Z, the example of a client in Ruby
    ],
)
def test_a_draw_is_out_from_its_millisecond_on(now_ms: int, latest: int, first: int) -> None:
    assert (QUICKNET.latest(now_ms), QUICKNET.first(now_ms)) == (latest, first)


@pytest.mark.parametrize("number", [1, 2, 27_946_612, (1 << 64) - 1])
def test_an_instant_is_that_of_its_number(number: int) -> None:
    at_ms = QUICKNET.instant_ms(number)
    assert QUICKNET.first(at_ms) == QUICKNET.latest(at_ms) == number
    assert QUICKNET.latest(at_ms - 1) == number - 1
    assert QUICKNET.first(at_ms + 1) == number + 1
