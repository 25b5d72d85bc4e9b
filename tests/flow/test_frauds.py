"""The service's own rounds before the verifier, over HTTP; and frauds in the books and in the code, each with the
sentence that finds it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from clock import verifier
from clock.domain.split import Packets, Split, split
from clock.rounds import settling
from tests.conftest import DAY, Api
from tests.flow.stage import People, begin, play

WINNERS, SLEEPERS = [1, 2, 3, 4, 5, 6], [7, 8, 9]

Verify = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def people(api: Api) -> People:
    return People(api.service)


@pytest.fixture
def verify(api: Api, capsys: pytest.CaptureFixture[str]) -> Verify:
    """What ``verifier.py DAY --from URL`` finds wrong; nothing of a round that is honest."""

    async def run(*more: str) -> list[str]:
        arguments = [str(DAY), "--from", api.url, "--json", *more]
        capsys.readouterr()
        status = await asyncio.to_thread(verifier.main, arguments)
        lines = capsys.readouterr().out.splitlines()
        [found] = [json.loads(line) for line in lines if '"findings"' in line]
        wrong = [one["says"] for one in found["findings"] if one["result"] == "no"]
        assert (status == 1) == bool(wrong), status  # 2: not everything is there yet
        return wrong

    return run


async def test_an_honest_round_is_verified_at_every_stage(people: People, verify: Verify) -> None:
    await people.service.opener.open_round(DAY)
    assert await verify() == []
    await begin(people, WINNERS, SLEEPERS)
    assert await verify() == []
    await people.settle()
    assert await verify() == []
    await people.claim(*WINNERS)
    await people.drain()
    await people.finish()
    assert await verify() == []


async def test_a_void_round_is_verified(people: People, verify: Verify) -> None:
    await people.service.opener.open_round(DAY)
    await begin(people, WINNERS, SLEEPERS)
    await people.service.voiding.void(DAY, "an outage")
    assert await verify() == []


FRAUDS = {
    "another packet is paid to a friend": (
        "UPDATE packets SET fen = CASE index WHEN 0 THEN fen + 1 ELSE fen - 1 END WHERE day = %s AND index IN (0, 1)",
        "/packets?page=1&limit=10000 does not have the packets",
    ),
    "the fee is taken twice": (
        "UPDATE rounds SET fee_fen = fee_fen + 10, pot_fen = pot_fen - 10 WHERE day = %s",
        "The public fee is not that of the statements",
    ),
    "a stake is not counted": (
        "UPDATE rounds SET members = members - 1, pool_fen = pool_fen - 100 WHERE day = %s",
        "The public members is not that of the statements",
    ),
    "the seed is another one": (
        "UPDATE rounds SET seed = sha256(seed), seed_hash = sha256(sha256(seed)) WHERE day = %s",
        "The public seed is not that of the statements",
    ),
    "a rule is changed afterwards": (
        "UPDATE rounds SET rules = jsonb_set(rules, '{fee_bps}', '5000') WHERE day = %s",
        "The public rules is not that of the statements",
    ),
    "a figure of C is changed": (
        "UPDATE statements SET note = replace(note, 'winners: 6', 'winners: 5') WHERE day = %s AND kind = 'closed'",
        f"C of {DAY} is refused: the signature by",
    ),
    "P is withheld": (
        "DELETE FROM statements WHERE day = %s AND kind = 'published'",
        f"P of {DAY} is withheld",
    ),
}


@pytest.mark.parametrize("fraud", FRAUDS)
async def test_a_fraud_in_the_books_is_found(people: People, verify: Verify, fraud: str) -> None:
    act, sentence = FRAUDS[fraud]
    await play(people, WINNERS, SLEEPERS, claims=False)
    await people.tamper(act, DAY)
    assert any(sentence in said for said in await verify()), fraud


async def test_a_packet_that_the_code_aims_is_found(
    people: People, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sums agree, the books agree, and every statement is signed."""

    def aimed(seed: bytes, pot_fen: int, winners: int, rules: Split) -> Packets:
        drawn = split(seed, pot_fen, winners, rules)
        largest = max(range(winners), key=drawn.packets_fen.__getitem__)
        fens = drawn.packets_fen
        fens[3], fens[largest] = fens[largest], fens[3]
        return drawn if largest != 3 else msgspec.structs.replace(drawn, packets_fen=fens[1:] + fens[:1])

    monkeypatch.setattr(settling, "split", aimed)
    await play(people, WINNERS, SLEEPERS, claims=False)
    assert any("are not those that follow from the drawn seed" in said for said in await verify())


async def test_a_kept_leaf_that_is_not_in_the_signed_tree_is_found(
    api: Api, people: People, verify: Verify, tmp_path: Path
) -> None:
    """As where the operator signs a round with another check-in in its place; the player's own leaf is there."""
    await play(people, WINNERS, SLEEPERS, claims=False)
    status, answer = await api.send("GET", f"/api/rounds/{DAY}/proof/checked_in", headers=api.token(3))
    assert (status, answer["code"]) == (200, "ok"), answer
    kept = tmp_path / "receipt.json"
    kept.write_bytes(msgspec.json.encode(answer))
    assert await verify("--receipt", str(kept)) == []
    another = answer["data"]["leaf"].replace("\n3\n", "\n4\n")
    assert another != answer["data"]["leaf"]
    other = answer["data"] | {"leaf": another}
    kept.write_bytes(msgspec.json.encode({**answer, "data": other}))
    assert any("the leaf is not in the tree checked_in" in said for said in await verify("--receipt", str(kept)))
