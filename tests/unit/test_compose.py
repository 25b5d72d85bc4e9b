"""What ships the service says nothing that the service does not know, and no secret."""

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from clock.cli.main import cli
from clock.config import FILE, PREFIX, Settings, load, variables
from clock.operators.redis_check import DURABLE
from clock.runtime import embedded
from clock.runtime.processes import Program
from clock.service import require_secrets
from tests.raw import plain

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "clock"}
SETTINGS = {PREFIX + name.upper() for name in Settings.__struct_fields__}
SECRETS = "/run/secrets/"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
[MAKE_SECRETS] = re.findall(r"^```sh\n(mkdir -m 700 secrets.+?)\n```$", OPERATIONS, re.MULTILINE | re.DOTALL)
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
    assert named - variables() == set()


def test_every_setting_is_documented() -> None:
    table = set(re.findall(r"^\| `([A-Z_]+)`", OPERATIONS, re.MULTILINE))
    assert {PREFIX + name for name in table} == SETTINGS


def test_every_secret_is_a_file_and_in_no_environment_and_on_no_command_line() -> None:
    for name, value in environment():
        if re.search("SECRET|PASSWORD|AUTH|REDIS_URL|DATABASE_URL", name):
            assert name.endswith(FILE) and value.startswith(SECRETS), name
    for name, service in SERVICES.items():
        used = set(re.findall(rf"{SECRETS}([\w.]+)", str(service)))
        assert used == set(service.get("secrets", [])), name
        assert not re.search("requirepass|PASSWORD", str(service.get("command", "")))
    assert COMPOSE["secrets"] == {
        name: {"file": f"secrets/{name}"} for service in SERVICES.values() for name in service["secrets"]
    }
    assert "whsec_A" not in TEXT and not re.search(r"://[^@\s]*:[^@\s]+@", TEXT)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the commands of docs/operations.md."""
    place = tmp_path_factory.mktemp("compose")
    subprocess.run(["sh", "-ec", MAKE_SECRETS], cwd=place, check=True, env={"PATH": os.environ["PATH"]})
    return place / "secrets"


def test_the_commands_make_every_secret_and_production_accepts_them(secrets: Path) -> None:
    assert {path.name for path in secrets.iterdir()} == COMPOSE["secrets"].keys()
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}
    environ = {name: value.replace(SECRETS, f"{secrets}/") for name, value in OURS["api-1"]["environment"].items()}
    settings = load({**environ, "CLOCK_PLATFORM_URL": "https://platform.example"})
    require_secrets(settings)
    assert settings.env == "prod"
    password = (secrets / "postgres_password").read_text().strip()
    assert settings.database_url == f"postgresql://clock:{password}@postgres:5432/clock"


class Composed(embedded.Valkey, frozen=True):
    """The bundled Valkey with the command of the file."""

    secrets: Path = Path()

    @property
    def program(self) -> Program:
        ours = super().program
        command = [one.replace(SECRETS, f"{self.secrets}/") for one in SERVICES["redis"]["command"][1:]]
        here = [f"--dir {self.data_dir / self.name}", f"--port {self.port}", "--bind 127.0.0.1"]
        return Program(command=[ours.command[0], *command, *here], env=ours.env, log=self.log_path, cwd="/")

    @property
    def password(self) -> str:
        return (self.secrets / "redis_url").read_text().partition(":@")[0].partition("//:")[2].partition("@")[0]


async def test_redis_starts_with_the_command_and_nobody_sees_its_password(secrets: Path) -> None:
    with embedded.scratch() as place:
        server = Composed(place, secrets=secrets)
        async with embedded.started(server) as process, plain(server.url, decode_responses=True) as redis:
            in_force = await redis.config_get(*DURABLE)
            shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert in_force == DURABLE
        assert len(server.password) == 64 and server.password not in str(server.program.command)
        assert server.password.encode() not in shown


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
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
            assert re.fullmatch(r"\d+s", service["stop_grace_period"]), name
    assert SERVICES["worker"]["healthcheck"]["test"] == ["CMD", "clock", "worker", "--check"]


def test_postgres_is_healthy_when_it_answers_by_tcp() -> None:
    """While the image fills a new database, its server listens on a socket alone, and ends again."""
    assert SERVICES["postgres"]["healthcheck"]["test"][:3] == ["CMD", "pg_isready", "--host=127.0.0.1"]


def test_everything_is_bounded_and_writes_where_it_may() -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(r"\d+g", service["mem_limit"]) and service["pids_limit"] > 0, name
        assert service["logging"]["driver"] == "json-file", name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert name in ("redis", "postgres") or service["cap_drop"] == ["ALL"], name
        assert any(mount.startswith("/tmp:size=") for mount in service["tmpfs"]), name
    assert "/run/postgresql" in SERVICES["postgres"]["tmpfs"]


def test_every_image_is_pinned_to_a_version() -> None:
    images = [service["image"] for service in SERVICES.values() if service["image"] != "clock"]
    images += re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert len(images) == 3
    for image in images:
        version = image.partition(":")[2]
        assert re.match(r"\d+\.\d+", version), image
        assert image in OPERATIONS or image.startswith("valkey")
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON}", "${PYTHON}"]


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
