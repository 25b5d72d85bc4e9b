"""``clock load`` against targets that refuse, stall or are no development."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from tests.flow.load.stage import SLOW, double, figures, load
from tests.flow.stage import ROOT


async def test_retry_after_is_obeyed_with_the_same_body(secret: str, tmp_path: Path) -> None:
    async with double(lambda number: (503, {"Retry-After": "1"}, 0.0) if number == 0 else (200, {}, 0.0)) as there:
        status, said = await load(
            *(there.url, "summary", "--uids", "7-7", "--jwt-secret-file", secret, "--rate", "5", *SLOW),
            *("--seconds", "1", "--retries", "3", "--out", str(tmp_path), "--fail-if", "max>900ms"),
        )
    assert status == 0, said
    first, *others = (at for at, _ in there.seen)
    assert min(others) - first >= 1, "what was planned for the user in that second waits as well"
    assert {body for _, body in there.seen} == {b'{"uid":7}'}
    found = figures(tmp_path)
    assert (found["codes"], found["planned"], found["repeated"]) == ({"503 busy": 1, "200 ok": 5}, 5, 1)
    assert found["held_back"] == 4
    assert found["operations_ms"]["max"] > 1000, "a user waits from the first try to the last answer"


async def test_a_stall_is_seen_by_all_who_would_have_come_meanwhile(secret: str, tmp_path: Path) -> None:
    """One connection, on which one answer takes a second: a closed model would send one request in that time."""
    async with double(lambda number: (200, {}, 1.0 if number == 0 else 0.0)) as there:
        status, said = await load(
            *(there.url, "--uids", "1-9", "--jwt-secret-file", secret, "--rate", "50", "--seconds", "1"),
            *("--connections", "1", "--out", str(tmp_path), "--fail-if", "p50>250ms", "--fail-if", "p99<10s", *SLOW),
        )
    assert status == 1
    assert "BROKEN     p50>250ms: " in said and "BROKEN     p99<10s: " in said
    found = figures(tmp_path)
    assert (found["planned"], found["answers_ms"]["p99"] > 950) == (50, True)
    assert found["answers_ms"]["p50"] > 250


async def test_who_does_not_answer_costs_the_time_limit(secret: str, tmp_path: Path) -> None:
    async with double(lambda number: (200, {}, 1.0 if number == 0 else 0.0)) as there:
        status, said = await load(
            *(there.url, "--uids", "1-9", "--jwt-secret-file", secret, "--curve", "instant", *SLOW),
            *("--timeout", "0.3", "--retries", "1", "--out", str(tmp_path)),
        )
    assert status == 0, said
    assert figures(tmp_path)["codes"] == {"0 timeout": 1, "200 ok": 9}


async def test_where_money_could_move_it_must_be_told_twice(secret: str) -> None:
    given, both = ("--uids", "1-2", "--jwt-secret-file", secret, *SLOW), ("--not-development", "--money-may-move")
    async with double(is_dev=False) as there:
        for verb in ("join", "check-in", "claim", "day"):
            for told in ((), *((one,) for one in both)):
                status, said = await load(there.url, verb, *given, *told)
                assert (status, "say so twice" in said, there.seen) == (2, True, []), said
        status, said = await load(there.url, "join", *given, *both, "--pay", "sandbox")
        assert (status, "no sandbox that pays" in said, there.seen) == (2, True, []), said
        status, said = await load(there.url, "join", *given, *both, "--curve", "instant")
        assert (status, len(there.seen)) == (0, 2), said


async def test_a_generator_that_was_late_says_so_and_fails(secret: str) -> None:
    async with double() as there:
        status, said = await load(
            *(there.url, "--uids", "1-200", "--jwt-secret-file", secret, "--curve", "instant"),
            *("--connections", "200", "--late-bound", "0.01", "--fail-if", "rate<1000000"),
        )
    assert (status, "TOO LATE: the bound is 0.01 ms" in said) == (3, True), said


async def test_interrupted_it_awaits_what_was_sent_and_reports(secret: str, tmp_path: Path) -> None:
    async with double() as there:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "clock", "load", there.url, "--uids", "1-9", "--jwt-secret-file", secret),
            *("--rate", "50", "--seconds", "60", "--out", str(tmp_path), "--processes", "2", "--late-bound", "20000"),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        async with asyncio.timeout(30):
            while len(there.seen) < 5:
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            said = (await process.communicate())[0].decode()
    assert (process.returncode, "INTERRUPTED" in said) == (2, True), said
    found = figures(tmp_path)
    assert found["planned"] == found["answered"] == len(there.seen)
    assert (found["is_whole"], found["errors"], found["unsent"]) == (False, 0, 0)


async def test_hosts_share_the_plan_and_merge_into_one_report(secret: str, tmp_path: Path) -> None:
    async with double() as there:
        for host in ("1", "2"):
            status, said = await load(
                *(there.url, "--uids", "1-30", "--jwt-secret-file", secret, "--curve", "instant", *SLOW),
                *("--part", f"{host}/2", "--out", str(tmp_path / host)),
            )
            assert status == 0, said
        bodies = [msgspec.json.decode(body)["uid"] for _, body in there.seen]
    assert sorted(bodies) == list(range(1, 31))
    parts = [str(tmp_path / host / "result.json") for host in ("1", "2")]
    status, said = await load("merge", *parts, "--out", str(tmp_path), "--fail-if", "errors>0%")
    assert (status, figures(tmp_path)["planned"], figures(tmp_path)["codes"]) == (0, 30, {"200 ok": 30}), said


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("ftp://x", "guest"), "is not the address of a service"),
        (("http://127.0.0.1:9", "guest"), "does not answer"),
        (("http://x", "--uids", "9-1"), "must be FIRST-LAST"),
        (("http://x", "--fail-if", "p99>5"), "the unit of p99"),
        (("http://x",), "players need tokens"),
        (("http://x", "guest", "--curve", "file"), "belong together"),
        (("http://x", "guest", "--start-at", "2026-11-28T05:00:00"), "with its zone"),
        (("http://x", "--tokens-file", "pyproject.toml"), "line 1: must be a uid and a token"),
        (("merge", "pyproject.toml"), "is not a result"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_sent(given: tuple[str, ...], why: str) -> None:
    status, said = await load(*given)
    assert (status, why in said) == (2, True), said
