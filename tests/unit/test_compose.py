"""What ships the service says nothing that the service does not know, and no secret."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml  # type: ignore[import-untyped]

from clock.cli.main import cli
from clock.config import FILE, PREFIX, Settings, load, variables
from clock.http import server
from clock.operators.redis_check import DURABLE
from clock.runtime import embedded, worker
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
PAGES = ["README.md", "docs/deploy.md", "docs/operations.md", "docs/rules.md"]

BOTH = ["docker-compose.yml", "deploy/compose/compose.yml"]
FILES: dict[str, dict[str, Any]] = {name: yaml.safe_load((ROOT / name).read_text("utf-8")) for name in BOTH}
EVERY_SERVICE = [
    pytest.param(called, service, id=f"{Path(name).stem}-{called}")
    for name, file in FILES.items()
    for called, service in file["services"].items()
]
ONCE = {"migrate", "valkey-cluster"}
"""What ends after it has done its work."""

AS_ROOT = ("valkey/valkey:", "postgres:")
"""Images that begin as root, give the volume to their account, and go on as that."""


def environment(file: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for service in file["services"].values():
        yield from service.get("environment", {}).items()


@pytest.mark.parametrize("name", BOTH)
def test_the_file_is_valid(name: str) -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
    assert [str(error) for error in jsonschema_rs.validator_for(schema).iter_errors(FILES[name])] == []


def test_every_command_exists() -> None:
    assert sorted(service["command"][0] for service in OURS.values()) == ["api", "api", "migrate", "worker"]
    for service in OURS.values():
        assert service["command"][0] in cli.commands
    assert '\nENTRYPOINT ["clock"]\nCMD ["api"]\n' in DOCKERFILE


@pytest.mark.parametrize("name", [*BOTH, "Dockerfile", *PAGES])
def test_every_variable_is_a_setting(name: str) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", (ROOT / name).read_text("utf-8")))
    assert named - variables() == set()


def test_every_setting_is_documented() -> None:
    table = set(re.findall(r"^\| `([A-Z0-9_]+)`", OPERATIONS, re.MULTILINE))
    assert {PREFIX + name for name in table} == SETTINGS


@pytest.mark.parametrize("name", BOTH)
def test_every_secret_is_a_file_and_in_no_environment_and_on_no_command_line(name: str) -> None:
    text, file = (ROOT / name).read_text("utf-8"), FILES[name]
    for variable, value in environment(file):
        if re.search("SECRET|PASSWORD|AUTH|REDIS_URL|QUEUE_URL|DATABASE_URL|TOKEN", variable):
            assert variable.endswith(FILE) and value.startswith(SECRETS), variable
    for called, service in file["services"].items():
        used = set(re.findall(rf"{SECRETS}([\w.]+)", str(service)))
        named = set(service.get("secrets", []))
        assert used <= named if "configs" in service else used == named, called
        assert not re.search(r"requirepass (?!//)|PASSWORD", str(service.get("command", "")))
    assert file["secrets"] == {
        secret: {"file": f"secrets/{secret}"}
        for service in file["services"].values()
        for secret in service.get("secrets", [])
    }
    assert "whsec_A" not in text and not re.search(r"://[^@\s]*:[^@\s]+@", text)


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


@pytest.mark.parametrize("name", BOTH)
def test_what_comes_from_outside_is_required(name: str) -> None:
    found = re.findall(r"(?<!\$)\$\{?\w[^}\n]*\}?", (ROOT / name).read_text("utf-8"))
    assert found
    for variable in found:
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", variable), variable


def test_redis_is_durable_as_production_demands() -> None:
    for name, value in DURABLE.items():
        assert f"--{name} {value}" in SERVICES["redis"]["command"]
    for line in ("--auto-aof-rewrite-percentage 400", "--auto-aof-rewrite-min-size 256mb"):
        assert line in SERVICES["redis"]["command"]
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]
    assert set(COMPOSE["volumes"]) == {"redis", "postgres"}


@pytest.mark.parametrize("name,service", EVERY_SERVICE)
def test_everything_that_runs_is_watched_and_may_end_its_work(name: str, service: dict[str, Any]) -> None:
    if name in ONCE:
        assert service["restart"] == "on-failure" and "healthcheck" not in service
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "start_period"} < service["healthcheck"].keys()
    grace = int(service["stop_grace_period"].removesuffix("s"))
    takes = {"api": 2 * server.STOP_SECONDS, "worker": 3 * worker.STOP_SECONDS}  # queue, servers, interpreter
    if service["image"] == "clock":
        [command] = service["command"]
        assert grace > takes[command]
        assert command == "api" or service["healthcheck"]["test"] == ["CMD", "clock", "worker", "--check"]


@pytest.mark.parametrize("name", BOTH)
def test_postgres_is_healthy_when_it_answers_by_tcp(name: str) -> None:
    """While the image fills a new database, its server listens on a socket alone, and ends again."""
    postgres = FILES[name]["services"]["postgres"]
    assert postgres["healthcheck"]["test"][:3] == ["CMD", "pg_isready", "--host=127.0.0.1"]
    assert "/run/postgresql" in postgres["tmpfs"]


@pytest.mark.parametrize("name,service", EVERY_SERVICE)
def test_everything_is_bounded_and_writes_where_it_may(name: str, service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+[gm]", service["mem_limit"]) and service["pids_limit"] > 0
    assert service["logging"]["driver"] == "json-file"
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["read_only"] is True and "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"].startswith(AS_ROOT) or service["cap_drop"] == ["ALL"]
    assert service.get("user", "65534:65534") == "65534:65534"
    assert any(mount.startswith("/tmp:size=") for mount in service["tmpfs"])
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "TLS comes before it"


PINNED = [service["image"] for file in FILES.values() for service in file["services"].values()]
PINNED = [
    *{image for image in PINNED if image != "clock"},
    *re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE),
]


def test_every_image_is_pinned_to_a_version() -> None:
    assert len(PINNED) == 6
    for image in PINNED:
        assert re.match(r"v?\d+\.\d+", image.partition(":")[2]), image
    assert len({image.partition(":")[0] for image in PINNED}) == len(PINNED), "one version of each"
    assert all(image in OPERATIONS for image in PINNED if image.startswith(("postgres", "python")))
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON}", "${PYTHON}"]


@pytest.mark.parametrize("name", BOTH)
def test_processes_start_after_the_migrations(name: str) -> None:
    services = FILES[name]["services"]
    for called, service in services.items():
        if service["image"] == "clock" and called != "migrate":
            assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_image_is_built_from_what_is_here_and_runs_as_nobody_special() -> None:
    for names in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in names.split():
            assert (ROOT / name).exists()
            assert f"!{name}" in (ROOT / ".dockerignore").read_text("utf-8").split()
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    assert "[dev]" not in DOCKERFILE


def test_the_image_installs_nothing_that_the_lock_files_do_not_name() -> None:
    """Ours is built by what the first of them has installed, and installed from what was built."""
    commands = re.findall(r"pip (.+?)(?: && .*)?$", DOCKERFILE, re.MULTILINE)
    locked = "install --no-cache-dir --require-hashes --only-binary :all: -r"
    assert commands == [
        f"{locked} build.txt",
        "wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .",
        f"{locked} /tmp/prod.txt",
        "install --no-cache-dir --no-deps --no-index --find-links /wheels clock",
    ]
    assert "COPY requirements/build.txt ./\n" in DOCKERFILE
    assert "COPY requirements/prod.txt /tmp/prod.txt\n" in DOCKERFILE
