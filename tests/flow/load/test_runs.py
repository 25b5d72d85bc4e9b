"""``clock load`` against a real service, and what it wrote down against its books."""

from pathlib import Path

import msgspec
import pytest

from tests.conftest import DAY, Api, at
from tests.flow.load.stage import SLOW, load
from tests.flow.operators.stage import BOSS, drain

FIRST, USERS = 5_001, 60
PLAYERS = f"{FIRST}-{FIRST + USERS - 1}"


@pytest.fixture
def token(api: Api, tmp_path: Path) -> str:
    """An operator's, in a file."""
    file = tmp_path / "token"
    file.write_text(api.token(BOSS, "operator")["authorization"].removeprefix("Bearer "))
    return str(file)


async def test_check_ins_are_in_the_books_and_a_false_journal_is_found_out(
    api: Api, secret: str, token: str, tmp_path: Path
) -> None:
    journal, out = tmp_path / "journal.csv", tmp_path / "out"
    api.service.time.stop_at(at("20:00"))
    for uid in range(FIRST, FIRST + USERS):
        await api.member(uid)
    api.service.time.stop_at(at("05:30", 1))
    status, said = await load(
        *(api.url, "check-in", "--uids", PLAYERS, "--jwt-secret-file", secret, "--processes", "2", *SLOW),
        *("--rate", str(USERS), "--seconds", "1", "--double-taps", "50", "--journal", str(journal), "--out", str(out)),
        *("--expect", "checked_in", "--expect", "already_checked_in", "--fail-if", "errors>0%"),
    )
    assert status == 0, said
    report = msgspec.json.decode((out / "report.json").read_bytes())
    assert report["planned"] == report["codes"]["200 checked_in"] == USERS
    assert report["doubled"] == report["codes"]["200 already_checked_in"] > 5
    assert {file.name for file in out.iterdir()} > {"latency.svg", "rate.svg", "result.json", "report.txt"}
    await drain(api)
    compare = ("compare", api.url, str(journal), "--token-file", token)
    status, said = await load(*compare)
    assert (status, f"{DAY}: 0 members, {USERS} check-ins" in said, "\n0 differences" in said) == (0, True, True), said
    with journal.open("a") as file:
        file.write(f"{FIRST + USERS},check-in,checked_in,0,{DAY}\n{FIRST},check-in,checked_in,0,{DAY}\n")
    status, said = await load(*compare)
    assert status == 1
    assert f"{DAY}: user {FIRST} was told checked_in twice" in said
    assert f"{DAY}: winners {USERS}, and {USERS + 1} users were told" in said
    assert f"{DAY}: user {FIRST + USERS} was told to have checked in, and the books have no check-in" in said


async def test_an_evening_whose_users_join(api: Api, secret: str, token: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.csv"
    api.service.time.stop_at(at("20:00"))
    status, said = await load(
        *(api.url, "day", "--uids", "7-16", "--jwt-secret-file", secret, "--curve", "instant", *SLOW),
        *("--journal", str(journal)),
    )
    assert status == 0, said
    assert f"left at {api.url}: orders of the round of {DAY}" in said
    assert (
        sorted(line.split(",", 1)[1] for line in journal.read_text().splitlines()[1:])
        == [f"join,ordered,100,{DAY}"] * 10
    )


async def test_tokens_from_a_file(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    bearer = api.token(7)["authorization"].removeprefix("Bearer ")
    file.write_text(f"7 {bearer}\n8 {bearer}\n")
    status, said = await load(
        *(api.url, "status", "--tokens-file", str(file), "--rate", "10", "--seconds", "1", "--cold", *SLOW),
        *("--out", str(tmp_path), "--fail-if", "errors>50%"),
    )
    assert status == 0, said
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes())["codes"] == {"200 ok": 5, "403 forbidden": 5}
