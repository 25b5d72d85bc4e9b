"""What ships the service says nothing that the service does not know, and no secret."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from clock.cli import cli
from clock.config import PREFIX, Settings
from clock.game.keys import HEARTBEAT
from clock.operators.redis_check import DURABLE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "clock"}
SETTINGS = {PREFIX + name.upper() for name in Settings.__struct_fields__}
PAGES = ["README.md", "docs/operations.md", "docs/rules.md"]


def environment() -> Iterator[tuple[str, str]]:
    for service in SERVICES.values():
        yield from service.get("environment", {}).items()


def test_every_command_exists() -> None:
    assert sorted(service["command"][0] for service in OURS.values()) == ["api", "api", "migrate", "worker"]
    for service in OURS.values():
        assert service["command"][0] in cli.commands
    assert '\nENTRYPOINT ["clock"]\nCMD ["api"]\n' in DOCKERFILE


@pytest.mark.parametrize("name", ["docker-compose.yml", "Dockerfile", *PAGES])
def test_every_variable_is_a_setting(name: str) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", (ROOT / name).read_text("utf-8")))
    assert named - SETTINGS == set()


def test_every_setting_is_documented() -> None:
    table = set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs/operations.md").read_text("utf-8"), re.MULTILINE))
    assert {PREFIX + name for name in table} == SETTINGS


def test_it_holds_no_secret() -> None:
    for name, value in environment():
        if re.search("SECRET|PASSWORD|AUTH", name):
            assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name} must come from the environment, or fail"
        assert not re.search(r"://[^@]*:[^@]+@", re.sub(r"\$\{[^}]*\}", "", value)), f"{name} has a password in it"
    assert "whsec_A" not in TEXT


def test_what_comes_from_outside_is_required() -> None:
    for variable in re.findall(r"(?<!\$)\$\{?\w[^}\n]*\}?", TEXT):
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", variable), variable


def test_redis_is_durable_as_production_demands() -> None:
    for name, value in DURABLE.items():
        assert f"--{name} {value}" in SERVICES["redis"]["command"]
    for line in ("--auto-aof-rewrite-percentage 400", "--auto-aof-rewrite-min-size 256mb"):
        assert line in SERVICES["redis"]["command"]
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]
    assert set(COMPOSE["volumes"]) == {"redis", "postgres"}


def test_everything_that_runs_is_watched_and_may_end_its_work() -> None:
    for name, service in SERVICES.items():
        if name != "migrate":
            assert service["healthcheck"]["test"][0] == "CMD", name
            assert re.fullmatch(r"\d+s", service["stop_grace_period"]), name
    assert HEARTBEAT in SERVICES["worker"]["healthcheck"]["test"][-1]


def test_processes_start_after_the_migrations() -> None:
    for name, service in OURS.items():
        if name != "migrate":
            assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_image_is_built_from_what_is_here_and_runs_as_nobody_special() -> None:
    for names in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in names.split():
            assert (ROOT / name).exists()
            assert f"!{name}" in (ROOT / ".dockerignore").read_text("utf-8").split()
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    assert "[dev]" not in DOCKERFILE
