"""What development may do and production may not."""

import asyncio
from datetime import date

import pytest
from click.testing import CliRunner
from msgspec import structs

from clock.cli.main import cli
from clock.config import BadSetting, Settings
from clock.dev.app import create_app
from clock.http import server
from clock.runtime import start_check
from clock.runtime.ports import free_port
from clock.runtime.supervise import environment
from tests.conftest import Api, Servers, at
from tests.flow.operators.stage import BOSS


async def test_the_clock_does_not_run_on_while_the_rounds_of_a_later_day_are_opened(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somewhat more than a second before check-in is still before it when the answer comes."""
    opener = api.service.opener
    open_round = opener.open_round

    async def slowly(day: date) -> object:
        await asyncio.sleep(0.5)
        return await open_round(day)

    monkeypatch.setattr(opener, "open_round", slowly)
    status, reply = await api.send("PUT", "/dev/time", {"now": "2058-11-23T04:59:58.600+08:00"})
    assert status == 200
    # A process' estimate of Redis' clock is off by a part of a round trip.
    assert -50 <= reply["data"]["now_ms"] - at("04:59", 11_689, 58_600) < 1_400
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


async def accepted(settings: Settings, **options: bool) -> None:
    """The start check of servers that fit."""


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
    monkeypatch.setattr(start_check, "start_check", accepted)
    served: list[str] = []
    monkeypatch.setattr(server, "serve", lambda factory, *_: served.append(factory))
    result = CliRunner().invoke(cli, ["api"], catch_exceptions=False)
    assert (result.exit_code, served) == (0, [factory])


def test_without_postgres_the_api_starts_and_the_worker_does_not(
    settings: Settings, durable: Servers, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Check-ins and payments go on; the worker has nothing to do."""
    away = structs.replace(
        settings, env="prod", redis_url=durable.redis_url, database_url=f"postgresql://clock@127.0.0.1:{free_port()}/d"
    )
    for name, value in environment(away).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setattr(start_check, "ANSWER_SECONDS", 1.5)  # in which Redis has to answer
    served: list[str] = []
    monkeypatch.setattr(server, "serve", lambda factory, *_: served.append(factory))
    result = CliRunner().invoke(cli, ["api"], catch_exceptions=False)
    assert (result.exit_code, len(served), "server_not_checked" in capfd.readouterr().out) == (0, 1, True)
    with pytest.raises(BadSetting, match="CLOCK_DATABASE_URL"):
        CliRunner().invoke(cli, ["worker"], catch_exceptions=False)
