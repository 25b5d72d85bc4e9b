"""The data directory: its secrets, who may attach to it, and its removal."""

import base64
import json
import os
from pathlib import Path

import pytest

from clock.config import Settings
from clock.runtime import embedded
from clock.runtime.directory import DataDirError, with_dev_secrets
from clock.runtime.supervise import remove_data, running, running_urls
from tests.unit.supervise.stage import SLEEP, stand_ins


async def test_only_a_living_stack_can_be_attached_to(settings: Settings, data_dir: Path) -> None:
    assert running_urls(data_dir) is None
    async with running(settings, stand_ins(SLEEP)) as urls:
        file = data_dir / "running.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert running_urls(data_dir) == urls == json.loads(file.read_text())
        assert urls["redis_url"] == "redis://127.0.0.1:1"
        assert urls["database_url"] == "postgresql://127.0.0.1:1/d"
        assert urls["page"] == f"http://127.0.0.1:{urls['port']}/"
        assert urls["pid"] == os.getpid()
    assert not file.exists()
    file.write_text(json.dumps(urls))
    assert running_urls(data_dir) is None, "our own process lives, but the data directory is not locked"


def test_dev_secrets_are_made_once(data_dir: Path) -> None:
    settings = with_dev_secrets(Settings(env="dev", data_dir=data_dir))
    assert len(base64.urlsafe_b64decode(settings.jwt_secret + "=")) >= 32
    assert settings.webhook_secret.startswith("whsec_")
    assert len(base64.b64decode(settings.webhook_secret.removeprefix("whsec_"))) == 32
    for name in ("jwt.secret", "webhook.secret", "statement.key"):
        assert (data_dir / name).stat().st_mode & 0o777 == 0o600
    assert with_dev_secrets(Settings(env="dev", data_dir=data_dir)) == settings


def test_given_secrets_win_and_production_gets_none(data_dir: Path) -> None:
    given = Settings(env="dev", data_dir=data_dir, jwt_secret="given", webhook_secret="whsec_given", statement_key="k")
    public = Settings(
        env="dev", data_dir=data_dir, jwt_public_key="key", webhook_secret="whsec_given", statement_key="k"
    )
    production = Settings(env="prod", data_dir=data_dir)
    for settings in (given, public, production):
        assert with_dev_secrets(settings) == settings
    assert list(data_dir.iterdir()) == []


@pytest.mark.long
async def test_removing_a_data_directory_takes_all_of_it_and_only_while_nobody_uses_it(data_dir: Path) -> None:
    place = data_dir / "data"
    server = embedded.Postgres(place)
    async with embedded.started(server):
        data = server.data
        with pytest.raises(DataDirError, match="no data directory"):
            await remove_data(place)
        (place / "lock").touch()
        with pytest.raises(DataDirError, match=r"postgres\.lock"):
            await remove_data(place)
        assert await server.answers()
    await remove_data(place)
    assert not place.exists()
    assert not data.exists()
