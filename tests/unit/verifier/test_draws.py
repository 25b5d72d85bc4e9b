"""The draw of a beacon: which one it is, whose it is, and what holds when it was not to be had."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock import verifier
from clock.beacon import chain as constants
from clock.beacon.chain import hash_of
from clock.beacon.own import OwnKey
from clock.beacon.settings import description
from clock.verifier import Malformed, chain_of, is_draw
from tests.unit.verifier.forms import CHAIN, OWN, RULES, number_of, out_ms, verifier_key, written
from tests.unit.verifier.stage import DAY, Game, bundle, verdict

HONEST = Game(beacon=OWN)
AT = HONEST.play().windows
NUMBER = number_of(AT)
INFO: dict[str, Any] = json.loads(description(CHAIN))
QUICKNET = chain_of(verifier.QUICKNET)
PUBLISHED = {
    # drand's documentation, "Our HTTP API"
    42: "95a9f9f5b231b7714de1553105d8ffdf3dcda24cfdb1e689319bccf79a9c8ce430a91b811fbfaf763900bc998b5d686a",
    # ideal-lab5 and many others
    1000: "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39",
}
AS_NAMED = f"beacon: O names draw {NUMBER} of example, the first one from 2 minutes before settlement is due"
LATE = replace(HONEST, longer_ms=(180_000, 0), extensions=({"by_ms": 180_000, "shards": 1},))
"""C is made at 08:03:05, five seconds after the draw."""


@pytest.mark.parametrize(
    ("game", "says"),
    [
        (HONEST, f"{AS_NAMED}; P has it, and C was made before it was out"),
        (replace(HONEST, closed=False), AS_NAMED),
        (replace(HONEST, voided=True), AS_NAMED),
        (replace(HONEST, voided=True, closed=False), AS_NAMED),
        (replace(HONEST, says="missing"), AS_NAMED),
        (LATE, AS_NAMED),
        (replace(HONEST, changes={"closed": {"closed_ms": str(out_ms(NUMBER) - 1)}}), f"{AS_NAMED}; P has it"),
        (replace(HONEST, changes={"closed": {"closed_ms": str(out_ms(NUMBER))}}), AS_NAMED),
        (replace(HONEST, voided=True, changes={"void": {"voided_ms": str(out_ms(NUMBER) - 1)}}), AS_NAMED),
        (replace(HONEST, rules={**RULES, "packet_cap_fen": 30}, says="missing"), AS_NAMED),
    ],
)
def test_every_kind_of_round_with_a_beacon(game: Game, says: str, tmp_path: Path) -> None:
    found = verdict(tmp_path, game.play(), days=1)
    assert found.wrong == []
    assert found.status == (2 if game.closed is False and not game.voided else 0)
    assert [one for one in found.said("yes") if one.startswith(says)]


@pytest.mark.parametrize("game", [replace(HONEST, says="missing"), LATE])
def test_without_a_draw_the_pot_is_split_equally_and_without_luck(game: Game, tmp_path: Path) -> None:
    today = game.play()
    assert max(today.packets) - min(today.packets) <= 1
    assert "\nsplit: equal\n" in today.texts["published"]
    unproved = verdict(tmp_path, today, days=1).said("not proved")
    missing = f"beacon: That draw {NUMBER} of example could not be had within 30 minutes: it is public now"
    assert (missing in unproved) is (game.says == "missing")


def test_which_draw_a_round_has_follows_from_its_instants() -> None:
    assert NUMBER * 3_000 + CHAIN.genesis_s * 1000 - 3_000 - (AT["settle_ms"] - 120_000) in (0, 1_000, 2_000)
    chain = chain_of(INFO)
    assert (chain.first(AT["settle_ms"] - 120_000), chain.out_ms(NUMBER)) == (NUMBER, out_ms(NUMBER))


@given(st.integers(0, 1 << 42))
def test_the_first_draw_is_that_of_the_service(at_ms: int) -> None:
    assert QUICKNET.first(at_ms) == constants.QUICKNET.first(at_ms)
    assert QUICKNET.out_ms(QUICKNET.first(at_ms)) == constants.QUICKNET.instant_ms(constants.QUICKNET.first(at_ms))


def test_quicknet_is_the_chain_of_the_league_of_entropy() -> None:
    assert (QUICKNET.name, QUICKNET.hash, QUICKNET.public) == (
        constants.QUICKNET.name,
        constants.QUICKNET.hash,
        constants.QUICKNET.public_key,
    )
    for number, signature in PUBLISHED.items():
        assert is_draw(QUICKNET, number, bytes.fromhex(signature))
        assert is_draw(QUICKNET, number + 1, bytes.fromhex(signature)) is False
        assert is_draw(chain_of(INFO), number, bytes.fromhex(signature)) is False


P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
"""The field of BLS12-381."""


def test_a_draw_has_one_form_and_zero_is_no_key() -> None:
    chain, at = chain_of(INFO), (1 << 381) - 1
    number = next(n for n in range(1, 500) if (int.from_bytes(OWN.sign(n), "big") & at) + P < 1 << 381)
    assert is_draw(chain, number, OWN.sign(number))
    assert is_draw(chain, number, (int.from_bytes(OWN.sign(number), "big") + P).to_bytes(48, "big")) is False
    assert is_draw(replace(chain, public=b"\xc0" + bytes(95)), number, b"\xc0" + bytes(47)) is False
    assert is_draw(chain, number, b"\xc0" + bytes(47)) is False


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": OwnKey(bytes(32)).chain("example").public_key.hex()},
        {"period": 4},
        {"period": "3"},
        {"period": -3},
        {"period": 0, "hash": hash_of(msgspec.structs.replace(CHAIN, period_s=0))},
        {"genesis_time": 1 << 70},
        {"groupHash": "00" * 32},
        {"groupHash": 7},
        {"hash": "00" * 32},
        {"schemeID": "pedersen-bls-chained"},
        {"metadata": {"beaconID": "other"}},
        {"metadata": {}},
        {"metadata": None},
    ],
)
def test_a_chain_is_the_one_of_its_hash(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="is not the description of a chain"):
        chain_of({**INFO, **changes})


def test_a_chain_that_is_not_known_is_not_proved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = written(tmp_path / "bundle.json", bundle(HONEST.play()))
    arguments = [DAY, "--from", where, "--keys", verifier_key(), "--days", "1"]
    assert verifier.main(arguments) == 2
    says = f"What draw {NUMBER} of example is: this program does not know the chain {CHAIN.hash}; give it with --chain"
    assert f"not proved  beacon      {says}" in capsys.readouterr().out
    known = written(tmp_path / "chain.json", description(CHAIN))
    assert verifier.main([*arguments, "--chain", known]) == 0
    known = written(tmp_path / "chain.json", "[]")
    assert verifier.main([*arguments, "--chain", known]) == 2
    assert "nothing is verified: it is not the description of a chain" in capsys.readouterr().err


def test_the_name_of_quicknet_belongs_to_its_hash(tmp_path: Path) -> None:
    for hash_ in (CHAIN.hash, "ab" * 32):
        game = replace(HONEST, changes={"opened": {"beacon": f"quicknet {hash_} {NUMBER}"}})
        wrong = verdict(tmp_path, game.play(), days=1).wrong
        assert f"beacon: O names quicknet, and the hash of another chain: {hash_}" in wrong


def test_without_the_library_a_draw_is_not_verified_and_all_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "py_arkworks_bls12381", None)
    found = verdict(tmp_path, HONEST.play(), days=1)
    assert (found.status, found.wrong) == (2, [])
    [says] = [one for one in found.said("not proved") if one.startswith("beacon")]
    assert says == (
        f"beacon: That {OWN.sign(NUMBER).hex()} is draw {NUMBER} of example: nothing here verifies BLS; install"
        f" py_arkworks_bls12381, or compare it with what a relay has at /{CHAIN.hash}/public/{NUMBER}"
    )
    assert [one for one in found.said("yes") if one.startswith("drawn: ")]
    found = verdict(tmp_path, replace(HONEST, says="missing").play(), days=1)
    assert (found.status, found.wrong) == (0, [])


@pytest.mark.parametrize(
    "value",
    [
        "quicknet",
        f"quicknet {CHAIN.hash}",
        f"quicknet {CHAIN.hash} 0",
        f"quicknet {CHAIN.hash} 01",
        f"quicknet {CHAIN.hash.upper()} 7",
        "missing",
        f"quicknet  {CHAIN.hash} 7",
        f"quicknet {CHAIN.hash} 7 ",
    ],
)
def test_what_names_no_draw_is_refused(value: str, tmp_path: Path) -> None:
    wrong = verdict(tmp_path, Game(changes={"opened": {"beacon": value}}).play(), days=1).wrong
    assert f"signed: O of {DAY} is refused: beacon: " in "".join(wrong)


@pytest.mark.parametrize("value", ["", "None", "00", "0" * 95, "A" * 96, "0" * 98])
def test_what_is_no_draw_is_refused(value: str, tmp_path: Path) -> None:
    wrong = verdict(tmp_path, replace(HONEST, changes={"published": {"beacon": value}}).play(), days=1).wrong
    assert f"signed: P of {DAY} is refused: beacon: " in "".join(wrong)
