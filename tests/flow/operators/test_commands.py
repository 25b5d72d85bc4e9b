"""The command line of a real process."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from clock.books import outbox
from clock.cli.main import cli
from clock.config import Settings
from clock.game import keys
from clock.runtime.ports import free_port
from tests.conftest import DAY, Api
from tests.flow.operators.stage import BOSS, clock, figures

COMMANDS = (
    *(
        "up",
        "api",
        "worker",
        "migrate",
        "move-keys",
        "settle",
        "void",
        "reconcile",
        "rebuild",
        "quarantine",
        "events",
        "token",
        "demo",
        "load",
    ),
    *("again", "acknowledge", "withdraw", "actions", "export", "audit-bundle", "events"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4
    assert command in CliRunner().invoke(cli, ["--help"]).output


@pytest.mark.parametrize("command", ["again", "acknowledge"])
@pytest.mark.parametrize("given", [(), ("P1", "--all", "payout"), ("--all", "withdrawal")])
def test_one_or_all_of_a_kind_must_be_named(command: str, given: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [command, *given, "--reason", "x"])
    assert (result.exit_code, "Usage:" in result.output) == (2, True)


async def test_all_that_failed_and_a_users_balance_from_the_command_line(api: Api, settings: Settings) -> None:
    (again, all_sent), (seen, all_seen), (drawn, withdrawn) = await asyncio.gather(
        clock(settings, "again", "--all", "payout", "--reason", "the provider was away"),
        clock(settings, "acknowledge", "--all", "refund", "--reason", "paid in cash"),
        clock(settings, "withdraw", "7", "--reason", "the user wrote to us"),
    )
    assert (again, '"code": "ok"' in all_sent, '"sent_again": 0' in all_sent) == (0, True, True), all_sent
    assert (seen, '"acknowledged": 0' in all_seen) == (0, True), all_seen
    assert (drawn, "nothing_to_withdraw" in withdrawn) == (1, True), withdrawn
    _, reply = await api.send("GET", "/ops/actions", None, api.token(BOSS, "operator"))
    assert sorted((one["act"], one["about"], one["word"]) for one in reply["data"]["items"]) == [
        ("acknowledge", "refund", "ok"),
        ("again", "payout", "ok"),
        ("withdraw", "7", "nothing_to_withdraw"),
    ]


@pytest.mark.long
async def test_an_operator_can_do_everything_from_the_command_line(api: Api, settings: Settings) -> None:
    async def it_is(instant: str) -> None:
        assert (await api.send("PUT", "/dev/time", {"now": f"{instant}+08:00"}))[0] == 200

    await it_is("2026-11-22T20:00:00")
    for uid in (1, 2):
        await api.member(uid)
    await api.pay("nothing", 7)

    (_, token), (status, operator), (help_status, said) = await asyncio.gather(
        clock(settings, "token", "1"),
        clock(settings, "token", str(BOSS), "--role", "operator", "--seconds", "60"),
        clock(settings, "settle", "--help"),
    )
    assert (status, help_status) == (0, 0)
    assert "Settle the round of DAY" in said
    headers = {"authorization": f"Bearer {token.strip()}"}
    assert (await api.send("POST", "/api/check-in/status", {"uid": 1}, headers))[0] == 200
    assert (await api.send("POST", "/api/check-in/status", {"uid": 2}, headers))[0] == 403
    headers = {"authorization": f"Bearer {operator.strip()}"}
    assert (await api.send("GET", f"/ops/rounds/{DAY}", None, headers))[0] == 200

    await it_is("2026-11-23T05:00:00")
    await api.post("/api/check-in", 1)
    day, tomorrow = str(DAY), "2026-11-23"
    status, said = await clock(settings, "settle", day)
    assert (status, "not_due" in said) == (1, True)

    await it_is("2026-11-23T08:05:00")
    settled, void = await asyncio.gather(
        clock(settings, "settle", day), clock(settings, "void", tomorrow, "--reason", "a storm")
    )
    assert settled[0] == 0
    assert '"settled"' in settled[1]
    assert void[0] == 0
    assert (await figures(api))["state"] == "settled"
    await outbox.drain(api.service.store, api.service.redis, DAY, 0)
    again, kept, unknown = await asyncio.gather(
        clock(settings, "void", day, "--reason", "a storm"),
        clock(settings, "quarantine", "--limit", "5"),
        clock(settings, "settle", "2026-01-01"),
    )
    queued, asked = await asyncio.gather(
        clock(settings, "outgoing", "--state", "owed"), clock(settings, "unanswered", day, "--limit", "5")
    )
    assert (queued[0], '"counts"' in queued[1]) == (0, True)
    assert (asked[0], '"items"' in asked[1]) == (0, True)
    assert (again[0], "round_settled" in again[1]) == (1, True)
    assert (unknown[0], "round_not_found" in unknown[1]) == (1, True)
    assert (kept[0], "order_not_found" in kept[1], "nothing" in kept[1]) == (0, True, True)
    assert (await figures(api))["void_reason"] is None


async def test_who_acts_is_named_and_may_do_what_the_token_says(api: Api, settings: Settings) -> None:
    status, named = await clock(settings, "token", "--role", "operator", "--name", "anna", "--scope", "read")
    headers = {"authorization": f"Bearer {named.strip()}"}
    assert (status, (await api.send("GET", "/ops/actions", None, headers))[0]) == (0, 200)
    http, reply = await api.send("POST", f"/ops/rounds/{DAY}/void", {"reason": "x"}, headers)
    assert (http, reply["code"], "money" in reply["message"]) == (403, "forbidden", True)
    failed, word = await clock(settings, "again", f"P{DAY:%Y%m%d}1", "--reason", "he asked")
    assert (failed, "not_failed" in word) == (1, True)
    await clock(settings, "settle", "2026-01-01")
    status, told = await clock(settings, "actions", "--day", "2026-01-01")
    acts = [(one["act"], one["word"], one["address"]) for one in json.loads(told)["items"]]
    assert (status, acts) == (0, [("settle", "round_not_found", "command line")])


USED_WRONGLY: list[tuple[list[str], str]] = [
    (["settle", "tomorrow"], "YYYY-MM-DD"),
    (["void", "2026-11-31", "--reason", "x"], "YYYY-MM-DD"),
    (["reconcile", "2026-W47-1"], "YYYY-MM-DD"),
    (["void", "2026-11-22"], "--reason"),
    (["quarantine", "--page", "0"], "--page"),
    (["quarantine", "--limit", "0"], "--limit"),
    (["outgoing", "--state", "lost"], "lost"),
    (["unanswered", "yesterday"], "YYYY-MM-DD"),
    (["events", "--state", "lost"], "lost"),
    (["events", "--again", "event_1"], "--reason"),
    (["token", "0"], "UID"),
    (["token", str(2**53)], "UID"),
    (["token", "7", "--role", "admin"], "admin"),
    (["token"], "UID"),
    (["token", "7", "--role", "operator", "--name", "anna"], "UID"),
    (["token", "--name", "anna"], "--name"),
    (["token", "--role", "operator", "--name", "a\nb"], "--name"),
    (["token", "--role", "operator", "--name", "anna", "--scope", "read everything"], "--scope"),
    (["token", "7", "--scope", "read"], "--scope"),
    (["again", "P1"], "--reason"),
    (["export", "2026-11-22"], "--what"),
    (["export", "2026-11-22", "--what", "secrets"], "secrets"),
    (["sleep"], "sleep"),
]


@pytest.mark.parametrize(("arguments", "named"), USED_WRONGLY, ids=lambda given: "".join(given)[:24])
def test_a_command_that_is_used_wrongly_says_what_is_wrong(arguments: list[str], named: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert named in result.output


async def test_one_command_makes_redis_and_the_books_agree_on_a_round(api: Api, settings: Settings) -> None:
    assert (await api.send("PUT", "/dev/time", {"now": "2026-11-22T20:00:00+08:00"}))[0] == 200
    await api.member(1)
    await outbox.drain(api.service.store, api.service.redis, DAY, 0)
    await api.service.redis.hdel(keys.name(DAY, 0, "members"), "1")
    mended, unknown = await asyncio.gather(
        clock(settings, "rebuild", str(DAY)), clock(settings, "rebuild", "2026-01-01")
    )
    assert mended[0] == 0, mended[1]
    assert '"users": 1' in mended[1]
    assert (unknown[0], "round_not_found" in unknown[1]) == (1, True)
    assert await api.service.redis.hexists(keys.name(DAY, 0, "members"), 1)


@pytest.mark.long
async def test_a_command_whose_server_is_away_says_so_without_a_traceback(settings: Settings) -> None:
    gone = f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere"
    status, said = await clock(settings, "settle", "2026-11-22", CLOCK_DATABASE_URL=gone)
    assert status == 1
    assert "connection" in said
    assert "Traceback" not in said


def test_a_token_that_has_expired_already_is_not_issued() -> None:
    assert CliRunner().invoke(cli, ["token", "7", "--seconds", "0"]).exit_code == 2
