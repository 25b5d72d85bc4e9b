"""``clock demo`` plays a round to its end, and says no when a book does not agree."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, get_args

import msgspec
import psycopg
import pytest

from clock.config import Settings
from clock.dev import demo, demo_books
from clock.dev.demo_books import Books, Claim, Memory, Player, differences

USERS = 100

TOLD = "what players were told is what the books say"
ALIKE = "Redis and Postgres agree, user by user"
FAIR = "the seed has the published hash, the packets follow from it, and each was given once"
BALANCED = "every fen that was paid is in exactly one place"
SERVICE = "the service finds the same: Redis, books, ledger, manifest, the provider's bill"

Change = Callable[[Books, Memory], Any]


@pytest.mark.long
def test_the_command_plays_a_round_and_prints_its_books() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOCK_")}
    played = subprocess.run(
        [sys.executable, "-m", "clock", "demo", "--users", "300"],
        env=environment | {"CLOCK_BEACON": "double"},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    lines = [" ".join(line.replace("│", " ").split()) for line in played.stdout.splitlines()]
    assert "members 288 of 300 who ordered; 6 late" in lines
    assert "claims 225 201 by users, 24 by the system" in lines
    assert "refunds 900 fen 9 payments" in lines
    assert "sent 29,400 fen confirmed by the provider; 0 fen on their way" in lines
    assert [f"yes {statement}" for statement in (TOLD, ALIKE, FAIR, BALANCED, SERVICE)] == lines[-6:-1]


@pytest.mark.long
async def test_a_tampered_book_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "HERD_MEAN_SECONDS", 0.05)
    witnesses: list[Any] = []
    days: list[date] = []

    def heard(*arguments: Any) -> dict[str, list[str]]:
        witnesses[:] = arguments
        return differences(*arguments)

    monkeypatch.setattr(demo_books, "differences", heard)
    assert await demo.play(settings, USERS) == 0, capsys.readouterr().out
    for statement, change in CHANGES:
        _must_be_found(witnesses, statement, change)

    read_books = demo_books.read_books

    async def tampered(database_url: str, day: date, pulls: bool) -> Books:
        days.append(day)
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            one = "DELETE FROM claims WHERE day = %(day)s AND uid = (SELECT min(uid) FROM claims WHERE day = %(day)s)"
            assert (await connection.execute(one, {"day": day})).rowcount == 1
        return await read_books(database_url, day, pulls)

    first = witnesses[2].round["day"]
    monkeypatch.setattr(demo_books, "read_books", tampered)
    capsys.readouterr()
    assert await demo.play(settings, USERS) == 1
    assert days[0] > first, "a second run plays a round of its own"
    output = capsys.readouterr().out
    assert f"NO  {TOLD}" in output
    assert f"NO  {ALIKE}" in output
    assert f"NO  {SERVICE}" in output
    assert f"yes {FAIR}" in output


@pytest.mark.parametrize(
    ("changes", "users", "sentence"),
    [
        ({"redis_url": "redis://production"}, 1, "set CLOCK_ENV=dev"),
        ({"database_url": "postgresql://production"}, 1, "set CLOCK_ENV=dev"),
        ({"data_dir": Path("production")}, 1, "set CLOCK_ENV=dev"),
        ({}, 0, "at least one user has to play"),
    ],
)
async def test_what_cannot_or_must_not_be_played_is_refused_before_anything_starts(
    changes: dict[str, Any], users: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await demo.play(Settings(**changes), users) == 1
    assert sentence in " ".join(capsys.readouterr().out.split())
    assert not Path("production").exists()


def _must_be_found(witnesses: list[Any], statement: str, change: Change) -> None:
    """Without the change every statement holds; with it, this one does not."""
    players, seed_hash, books, memory = witnesses
    assert not any(differences(players, seed_hash, books, memory).values())
    copies = msgspec.structs.replace(books, **_copied(books)), msgspec.structs.replace(memory, **_copied(memory))
    books, memory = change(*copies) or copies
    assert differences(players, seed_hash, books, memory)[statement], change


def _copied(witness: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.structs.asdict(witness)
    return {name: value.copy() for name, value in fields.items() if hasattr(value, "copy")}


def _changed_claim(books: Books, _: Memory) -> None:
    uid, claim = next(iter(books.claims.items()))
    books.claims[uid] = Claim(claim.packet_fen + 1, claim.stake_fen, claim.by, claim.manifest_fen)


def _lost_member(books: Books, _: Memory) -> None:
    books.members.popitem()


def _unknown_refund(books: Books, _: Memory) -> None:
    books.refunds[demo.FIRST_UID] += 1


def _forgotten_check_in(_: Books, memory: Memory) -> None:
    memory.states[next(uid for uid, state in memory.states.items() if state == "P")] = "M"


def _swapped_packets(books: Books, _: Memory) -> None:
    books.packets.sort()


def _another_seed(books: Books, _: Memory) -> None:
    books.round["seed"] = bytes(32)


def _a_fen_too_much(books: Books, _: Memory) -> None:
    books.round["pot_fen"] += 1


def _an_unrecorded_payment(books: Books, memory: Memory) -> tuple[Books, Memory]:
    return msgspec.structs.replace(books, paid_fen=books.paid_fen + 100), memory


def _a_lost_payout(books: Books, _: Memory) -> None:
    books.sent_fen["payout"] -= 100


def _a_withdrawal_of_which_nobody_was_told(books: Books, _: Memory) -> None:
    books.withdrawn_fen[demo.FIRST_UID] = 100


def _a_stake_left_in_the_pool(books: Books, memory: Memory) -> tuple[Books, Memory]:
    return msgspec.structs.replace(books, pool_left_fen=100), memory


def _an_event_on_its_way(books: Books, memory: Memory) -> tuple[Books, Memory]:
    return books, msgspec.structs.replace(memory, outbox_depth=1)


CHANGES: list[tuple[str, Change]] = [
    (TOLD, _changed_claim),
    (FAIR, _changed_claim),
    (TOLD, _lost_member),
    (ALIKE, _lost_member),
    (TOLD, _unknown_refund),
    (ALIKE, _forgotten_check_in),
    (FAIR, _swapped_packets),
    (FAIR, _another_seed),
    (FAIR, _a_fen_too_much),
    (BALANCED, _a_fen_too_much),
    (BALANCED, _an_unrecorded_payment),
    (BALANCED, _a_lost_payout),
    (TOLD, _a_withdrawal_of_which_nobody_was_told),
    (BALANCED, _a_stake_left_in_the_pool),
    (ALIKE, _an_event_on_its_way),
]


def test_every_kind_of_player_is_in_a_hundred() -> None:
    players = demo.cast(USERS)
    assert {player.pays for player in players} == set(get_args(demo_books.Pays))
    assert sum(player.sleeps for player in players) == 21
    assert any(player.taps > 1 for player in players)
    assert any(player.forgets for player in players)
    assert demo.cast(1) == [Player(uid=demo.FIRST_UID)]
