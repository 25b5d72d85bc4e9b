"""What operators see and do: over HTTP, and from the command line of a real process."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from clock.books import outbox
from clock.cli import cli, main
from clock.config import BadSetting, Settings
from clock.dev.app import create_app
from clock.http import server
from clock.runtime import embedded, worker
from clock.runtime.ports import free_port
from clock.runtime.supervise import environment
from clock.service import Service
from tests.conftest import DAY, Api, at

BOSS = 99
FIGURES = {
    "day",
    "state",
    "rules",
    "members",
    "winners",
    "late",
    "pool",
    "forfeited",
    "fee",
    "carried_in",
    "pot",
    "packets_published",
    "packets_claimed",
    "refunds",
    "outbox_depth",
    "seed_hash",
    "seed",
}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def changes() -> dict[str, Any]:
    """Settings that a test wants different; given by ``pytest.mark.parametrize``."""
    return {}


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    return msgspec.structs.replace(settings, **changes)


async def operate(api: Api, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    return await api.send(method, path, body, api.token(BOSS, "operator"))


async def figures(api: Api) -> dict[str, Any]:
    status, reply = await operate(api, "GET", f"/ops/rounds/{DAY}")
    assert (status, reply["code"]) == (200, "ok")
    shown: dict[str, Any] = reply["data"]
    return shown


# -- is it alive


async def test_healthz_says_that_the_process_lives(api: Api) -> None:
    assert (await api.send("GET", "/healthz"))[0] == 200


async def test_readyz_shows_the_servers_the_worker_and_the_durability_in_force(api: Api) -> None:
    status, parts = await api.send("GET", "/readyz")
    assert (status, parts["ready"], parts["redis"], parts["postgres"]) == (200, True, True, True)
    assert parts["worker"] is False
    durability = parts["durability"]
    assert (durability["mode"], durability["appendonly"], durability["appendfsync"]) == ("fsync", "yes", "always")
    assert durability["maxmemory-policy"] == "noeviction"

    await worker.beat({"service": api.service})
    assert (await api.send("GET", "/readyz"))[1]["worker"] is True


@pytest.mark.parametrize("changes", [{"database_url": "postgresql://nobody@127.0.0.1:1/nowhere"}])
async def test_without_postgres_it_says_so_at_once_and_history_is_unavailable(api: Api, database_url: str) -> None:
    healthy = Service(msgspec.structs.replace(api.settings, database_url=database_url))
    await healthy.start()
    await healthy.opener.open_around(healthy.asking.calendar.day_at(healthy.time.now_ms()))
    await healthy.stop()

    began = time.monotonic()
    status, parts = await api.send("GET", "/readyz")
    assert (status, parts["ready"], parts["redis"], parts["postgres"]) == (200, True, True, False)
    assert time.monotonic() - began < 4  # a load balancer does not wait longer
    async with api.session.get(f"{api.url}/ops/quarantine", headers=api.token(BOSS, "operator")) as reply:
        assert (reply.status, (await reply.json())["code"]) == (503, "unavailable")
        assert reply.headers["retry-after"] == "2"


async def test_metrics_count_every_answer_by_verb_and_word(api: Api) -> None:
    async def counted(verb: str, code: str) -> float:
        async with api.session.get(f"{api.url}/metrics") as reply:
            assert reply.headers["content-type"].startswith("text/plain")
            families = list(text_string_to_metric_families(await reply.text()))
        labels = {"verb": verb, "code": code}
        samples = [sample for family in families for sample in family.samples if sample.name == "clock_requests_total"]
        return sum(sample.value for sample in samples if sample.labels == labels)

    api.service.time.stop_at(at("20:00"))
    await api.member(1)
    api.service.time.stop_at(at("05:00", 1))
    before = [await counted("check_in", code) for code in ("checked_in", "not_joined", "unauthenticated")]
    await api.post("/api/check-in", 1)
    for _ in range(2):
        await api.post("/api/check-in", 2)
    await api.send("POST", "/api/check-in", {"uid": 1})
    after = [await counted("check_in", code) for code in ("checked_in", "not_joined", "unauthenticated")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 2, 1]


# -- rounds


async def test_a_round_is_settled_when_it_is_due_and_not_before(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2):
        await api.member(uid)
    shown = await figures(api)
    assert set(shown) >= FIGURES
    assert (shown["day"], shown["state"], shown["members"], shown["pool"]) == ("2026-11-22", "joining", 2, 200)
    assert shown["rules"]["stake_fen"] == 100
    assert shown["seed"] is None

    api.service.time.stop_at(at("00:00", 1))
    assert (await figures(api))["state"] == "waiting"
    api.service.time.stop_at(at("05:00", 1))
    await api.post("/api/check-in", 1)
    assert (await figures(api))["state"] == "checking_in"
    for instant, state in ((at("05:00", 1), "checking_in"), (at("08:05", 1, -1), "closed")):
        api.service.time.stop_at(instant)
        status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/settle")
        assert (status, reply["status"], reply["code"]) == (200, 0, "not_due")
        shown = await figures(api)
        assert (shown["state"], shown["seed"]) == (state, None)

    api.service.time.stop_at(at("08:05", 1))
    for _ in range(2):
        status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/settle", {})
        assert (status, reply["status"], reply["code"]) == (200, 1, "settled")
    shown = await figures(api)
    assert (shown["state"], shown["forfeited"], shown["pot"], shown["packets_published"]) == ("settled", 100, 100, 1)
    assert len(bytes.fromhex(shown["seed"])) == 32
    status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/void", {"reason": "too late for that"})
    assert (status, reply["status"], reply["code"]) == (200, 0, "round_settled")


async def test_voiding_refunds_every_stake_and_keeps_the_reason(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2, 3):
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    await api.post("/api/check-in", 1)
    for body in ({}, {"reason": ""}, {"reason": 7}, {"reason": "x" * 501}):
        status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/void", body)
        assert (status, reply["code"]) == (400, "bad_request")
        assert "reason" in reply["message"]
    for _ in range(2):
        status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/void", {"reason": "全城停电"})
        assert (status, reply["status"], reply["code"]) == (200, 1, "ok")
    shown = await figures(api)
    assert (shown["state"], shown["refunds"], shown["refunds_fen"]) == ("void", 3, 300)
    assert shown["void_reason"] == "全城停电"
    assert (await api.post("/api/check-in", 2))["code"] == "voided"
    api.service.time.stop_at(at("08:05", 1))
    status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/settle")
    assert (status, reply["status"], reply["code"]) == (200, 0, "round_void")
    assert (await api.post("/api/claim", 1))["code"] == "voided"


async def test_a_day_without_a_round_is_not_found_and_a_day_that_is_none_is_a_bad_request(api: Api) -> None:
    requests = [
        ("GET", "/ops/rounds/{}", None),
        ("GET", "/ops/reconcile/{}", None),
        ("POST", "/ops/rounds/{}/settle", None),
        ("POST", "/ops/rounds/{}/void", {"reason": "an outage"}),
    ]
    for method, path, body in requests:
        status, reply = await operate(api, method, path.format("2026-01-01"), body)
        assert (status, reply["code"]) == (404, "round_not_found"), path
        for day in ("tomorrow", "2026-13-01", "2026-02-29", "2026-11-2", "20261122", "2026-W47-1", "2019-12-31", "0"):
            status, reply = await operate(api, method, path.format(day), body)
            assert (status, reply["code"]) == (400, "bad_request"), (path, day)
            assert "day" in reply["message"]


async def test_the_quarantine_is_shown_page_by_page_newest_first(api: Api) -> None:
    for minute in range(5):
        api.service.time.stop_at(at(f"20:0{minute}"))
        assert (await api.pay(f"nothing{minute}", 7))[0] == 404
    await outbox.drain(api.service.store, api.service.redis, DAY, 0)
    shown = []
    for page in (1, 2, 3, 4):
        status, reply = await operate(api, "GET", f"/ops/quarantine?page={page}&limit=2")
        assert (status, reply["data"]["total"]) == (200, 5)
        shown.append([item["order_no"] for item in reply["data"]["items"]])
    assert shown == [["nothing4", "nothing3"], ["nothing2", "nothing1"], ["nothing0"], []]
    for query in ("page=0", "page=-1", "page=x", "limit=0", "limit=201", "limit=1.5", "page=99999999999"):
        status, reply = await operate(api, "GET", f"/ops/quarantine?{query}")
        assert (status, reply["code"]) == (400, "bad_request"), query


async def test_the_clock_does_not_run_on_while_the_rounds_of_a_later_day_are_opened(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a second before check-in is still before it when the answer comes."""
    opener = api.service.opener
    open_round = opener.open_round

    async def slowly(day: date) -> object:
        await asyncio.sleep(0.3)
        return await open_round(day)

    monkeypatch.setattr(opener, "open_round", slowly)
    status, reply = await api.send("PUT", "/dev/time", {"now": "2058-11-23T04:59:59.500+08:00"})
    assert status == 200
    assert 0 <= reply["data"]["now_ms"] - at("04:59", 11_689, 59_500) < 500
    assert (await api.post("/api/check-in", 7))["code"] == "too_early"
    assert (await api.send("DELETE", "/dev/time"))[0] == 200


@pytest.mark.parametrize("described", [True])
@pytest.mark.parametrize("changes", [{"env": "prod"}])
async def test_in_production_there_is_no_travelling_through_time_and_no_token_for_the_asking(api: Api) -> None:
    bodies = {
        "/dev/time": {"now": "2026-11-23T05:00:00+08:00"},
        "/dev/token": {"uid": 7, "role": "operator"},
        "/dev/pay": {"order_no": "TTC"},
    }
    for path, body in bodies.items():
        for method in ("GET", "POST", "PUT", "DELETE"):
            status, reply = await api.send(method, path, body, api.token(BOSS, "operator"))
            assert (status, reply["code"]) == (404, "not_found"), (method, path)
    _, document = await api.send("GET", "/schema/openapi.json")
    assert [path for path in document["paths"] if path.startswith("/dev")] == []


@pytest.mark.parametrize("changes", [{"env": "prod"}])
def test_the_application_of_development_does_not_start_in_production(settings: Settings) -> None:
    with pytest.raises(BadSetting, match="CLOCK_ENV"):
        create_app(settings)


@pytest.mark.parametrize(
    ("changes", "factory"),
    [({"env": "prod"}, "clock.http.app:create_app"), ({"env": "dev"}, "clock.dev.app:create_app")],
    ids=["prod", "dev"],
)
def test_the_api_serves_the_application_of_its_environment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # the command sets it only where it is missing
    served: list[str] = []
    monkeypatch.setattr(server, "serve", lambda factory, *_: served.append(factory))
    result = CliRunner().invoke(cli, ["api"], catch_exceptions=False)
    assert (result.exit_code, served) == (0, [factory])


# -- the command line


async def clock(settings: Settings, *arguments: str, **changes: str) -> tuple[int, str]:
    """Run ``python -m clock …`` with these settings; its exit status, and what it said."""
    env = {**environment(settings), **changes}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "clock", *arguments),
        env={name: value for name, value in env.items() if value},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, said.decode()


COMMANDS = ("up", "api", "worker", "migrate", "settle", "void", "reconcile", "rebuild", "quarantine", "token", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4
    assert command in CliRunner().invoke(cli, ["--help"]).output


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


USED_WRONGLY: list[tuple[list[str], str]] = [
    (["settle", "tomorrow"], "YYYY-MM-DD"),
    (["void", "2026-11-31", "--reason", "x"], "YYYY-MM-DD"),
    (["reconcile", "2026-W47-1"], "YYYY-MM-DD"),
    (["void", "2026-11-22"], "--reason"),
    (["quarantine", "--page", "0"], "--page"),
    (["quarantine", "--limit", "0"], "--limit"),
    (["outgoing", "--state", "lost"], "lost"),
    (["unanswered", "yesterday"], "YYYY-MM-DD"),
    (["token", "0"], "UID"),
    (["token", str(2**53)], "UID"),
    (["token", "7", "--role", "admin"], "admin"),
    (["sleep"], "sleep"),
]


@pytest.mark.parametrize(("arguments", "named"), USED_WRONGLY, ids=lambda given: "".join(given)[:24])
def test_a_command_that_is_used_wrongly_says_what_is_wrong(arguments: list[str], named: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert named in result.output


@pytest.mark.long
async def test_a_command_whose_server_is_away_says_so_without_a_traceback(settings: Settings) -> None:
    gone = f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere"
    status, said = await clock(settings, "settle", "2026-11-22", CLOCK_DATABASE_URL=gone)
    assert status == 1
    assert "connection" in said
    assert "Traceback" not in said


# -- what does not start


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLOCK_PORT", "eighty"),
        ("CLOCK_STAKE_FEN", "0"),
        ("CLOCK_TIMEZONE", "Mars/Olympus"),
        ("CLOCK_SETTLE_AT", "07:00"),
        ("CLOCK_WEBHOOK_SECRET", "nonsense"),
        ("CLOCK_WEBHOOK_SECRET", "whsec_"),
        ("CLOCK_JWT_PUBLIC_KEY", "nonsense"),
    ],
)
def test_a_bad_setting_stops_every_command_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.setenv("CLOCK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["clock", "token", "7"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert name in capsys.readouterr().err


def test_a_data_directory_that_cannot_be_used_is_not_taken_for_a_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLOCK_DATA_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(sys, "argv", ["clock", "reconcile"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"clock: {tmp_path}/file/running.json: Not a directory\n"


def test_a_token_that_has_expired_already_is_not_issued() -> None:
    assert CliRunner().invoke(cli, ["token", "7", "--seconds", "0"]).exit_code == 2


async def test_a_bad_setting_stops_the_start_and_is_named(settings: Settings) -> None:
    bad = {"CLOCK_PORT": "eighty", "CLOCK_JWT_PUBLIC_KEY": "nonsense"}
    results = await asyncio.gather(*(clock(settings, "api", **{name: value}) for name, value in bad.items()))
    for name, (status, said) in zip(bad, results, strict=True):
        assert (status, name in said, "Traceback" in said) == (2, True, False), said


async def test_a_port_on_which_somebody_listens_stops_the_start(settings: Settings) -> None:
    """Also where its owner would share it: users would be answered by either."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        status, said = await clock(settings, "api", CLOCK_PORT=str(taken.getsockname()[1]))
    assert (status, "CLOCK_PORT" in said, "Traceback" in said) == (1, True, False), said


@pytest.fixture
async def own_valkey(settings: Settings) -> AsyncIterator[tuple[Settings, Redis]]:
    """Settings for production with a Valkey that may be set wrongly."""
    with embedded.scratch() as place:
        server = embedded.Valkey(place)
        async with embedded.started(server):
            client = Redis.from_url(server.url)
            yield msgspec.structs.replace(settings, env="prod", redis_url=server.url), client
            await client.aclose()


async def test_production_refuses_a_redis_that_may_forget_and_says_why(
    own_valkey: tuple[Settings, Redis], tmp_path: Path
) -> None:
    settings, redis = own_valkey
    settings = msgspec.structs.replace(settings, data_dir=tmp_path)
    forgetful = [
        ("appendonly", "no", "yes"),
        ("appendfsync", "everysec", "always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
    ]
    for command, (name, wrong, right) in zip(("api", "worker", "up", "api"), forgetful, strict=True):
        await redis.config_set(name, wrong)
        status, said = await clock(settings, command)
        assert status == 2, said
        assert name in said and wrong in said and right in said
        assert "Traceback" not in said
        await redis.config_set(name, right)


@pytest.mark.long
async def test_production_refuses_to_start_without_its_secrets_and_names_what_is_missing(
    own_valkey: tuple[Settings, Redis],
) -> None:
    settings, _ = own_valkey
    needed = {
        "CLOCK_JWT_SECRET": "api",
        "CLOCK_WEBHOOK_SECRET": "worker",
        "CLOCK_REDIS_URL": "worker",
        "CLOCK_DATABASE_URL": "api",
    }
    for name, command in [*needed.items(), ("CLOCK_DATABASE_URL", "migrate")]:
        status, said = await clock(settings, command, **{name: ""})
        assert (status, name in said, "Traceback" in said) == (2, True, False), said
    status, said = await clock(settings, "api", CLOCK_JWT_SECRET="hush")
    assert (status, "CLOCK_JWT_SECRET" in said) == (2, True)
    assert "hush" not in said


async def test_production_starts_with_a_redis_that_remembers(own_valkey: tuple[Settings, Redis]) -> None:
    settings, _ = own_valkey
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "clock", "worker"),
        env=environment(settings),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while b"worker_started" not in (line := await process.stdout.readline()):
            assert line, "it ended"
    process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 0
    assert os.environ.get("CLOCK_ENV") is None
