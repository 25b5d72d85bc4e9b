"""What ships the service says nothing that the service does not know, and no secret."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from clock.cli import cli
from clock.config import FILE, PREFIX, Settings, load
from clock.operators.redis_check import DURABLE
from clock.service import require_secrets

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "clock"}
SETTINGS = {PREFIX + name.upper() for name in Settings.__struct_fields__}
PAGES = ["README.md", "docs/operations.md", "docs/rules.md"]


def test_every_command_exists() -> None:
    assert sorted(service["command"][0] for service in OURS.values()) == ["api", "api", "migrate", "worker"]
    for service in OURS.values():
        assert service["command"][0] in cli.commands
    assert '\nENTRYPOINT ["clock"]\nCMD ["api"]\n' in DOCKERFILE


@pytest.mark.parametrize("name", ["docker-compose.yml", "Dockerfile", *PAGES])
def test_every_variable_is_a_setting(name: str) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", (ROOT / name).read_text("utf-8")))
    assert {variable.removesuffix(FILE) for variable in named} - SETTINGS == set()


def test_every_setting_is_documented() -> None:
    table = set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs/operations.md").read_text("utf-8"), re.MULTILINE))
    assert {PREFIX + name for name in table} == SETTINGS


def test_no_secret_is_in_the_file_in_the_environment_or_in_an_argument() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not re.search(r"://[^@]*@", value), f"{name} has a password in it"
            if re.search("SECRET|PASSWORD|AUTH|REDIS_URL|DATABASE_URL", name):
                assert name.endswith("_FILE")
                assert value.removeprefix("/run/secrets/") in service["secrets"]
    assert "whsec_A" not in TEXT
    assert not re.search(r"--requirepass|requirepass \$|valkey-cli.* -a ", TEXT)
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"secrets/{name}"}
    assert "secrets/" in (ROOT / ".gitignore").read_text("utf-8").split()
    assert "!secrets" not in (ROOT / ".dockerignore").read_text("utf-8").split()


def test_the_lines_that_make_the_secrets_make_all_of_them_and_they_are_good(tmp_path: Path) -> None:
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    lines = re.search(r"```\n(mkdir -m 700 secrets.*?)```", page, re.DOTALL)
    assert lines
    subprocess.run(["sh", "-ec", lines[1]], cwd=tmp_path, check=True)
    made = {path.name: path.read_text("utf-8").strip() for path in (tmp_path / "secrets").iterdir()}
    assert made.keys() == COMPOSE["secrets"].keys()
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    environ = {
        name: value.replace("/run/secrets", str(tmp_path / "secrets"))
        for name, value in COMPOSE["x-clock"]["environment"].items()
        if name.endswith(FILE)
    }
    settings = load(environ)
    require_secrets(settings)
    assert settings.redis_url == f"redis://:{made['redis_password']}@redis:6379/0"
    assert settings.database_url == f"postgresql://clock:{made['postgres_password']}@postgres:5432/clock"


def test_every_container_is_bounded_and_writes_only_where_it_must() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["mem_limit"] and service["pids_limit"], name
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}, name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert name in ("redis", "postgres") or service["cap_drop"] == ["ALL"]
    for service in (SERVICES["redis"], SERVICES["postgres"]):
        assert re.search(r":\d+\.\d+(\.\d+)?$", service["image"])


def test_postgres_is_asked_by_tcp() -> None:
    assert "--host=127.0.0.1" in SERVICES["postgres"]["healthcheck"]["test"]


def test_redis_reads_its_password_from_a_file(tmp_path: Path) -> None:
    """The script of the container, with the image's entrypoint replaced by an echo."""
    command = SERVICES["redis"]["command"]
    (tmp_path / "redis_password").write_text("s3cret\n")
    script = command[2].replace("$$", "$").replace("/run/secrets", str(tmp_path)).replace("/run/", f"{tmp_path}/")
    script = script.replace("chown valkey", "chmod 400").replace("exec docker-entrypoint.sh", "echo")
    said = subprocess.run([command[0], command[1], script, *command[3:]], capture_output=True, text=True, check=True)
    assert said.stdout == f"valkey-server {tmp_path}/valkey.conf {' '.join(command[4:])}\n"
    assert (tmp_path / "valkey.conf").read_text() == "requirepass s3cret\n"


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
    assert SERVICES["worker"]["healthcheck"]["test"] == ["CMD", "clock", "worker", "--check"]


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
