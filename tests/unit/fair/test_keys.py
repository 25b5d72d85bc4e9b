"""The key of statements: made by a command, required in production."""

import msgspec
import pytest
from click.testing import CliRunner

from clock.cli.main import cli
from clock.config import BadSetting, Settings, load
from clock.fair.notes import signers_of
from clock.service import require_secrets
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET


def test_the_command_makes_a_key_that_the_setting_takes() -> None:
    made = [CliRunner().invoke(cli, ["statement-key", "play.example.com/clock"]) for _ in range(2)]
    assert [one.exit_code for one in made] == [0, 0]
    keys = [one.stdout.strip() for one in made]
    assert keys[0] != keys[1]
    settings = load({"CLOCK_STATEMENT_KEY": keys[0]})
    [signer] = signers_of(settings.statement_key)
    assert signer.name == "play.example.com/clock"
    assert made[0].stderr == f"public: {signer.verifier}\n"


def test_a_name_that_is_none_is_said() -> None:
    said = CliRunner().invoke(cli, ["statement-key", "our game"])
    assert (said.exit_code, said.stdout) == (2, "")
    assert "play.example.com/clock" in said.stderr


def test_production_does_not_start_without_a_key() -> None:
    settings = Settings(
        redis_url="redis://h",
        database_url="postgresql://h/d",
        jwt_secret=JWT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
        statement_key=STATEMENT_KEY,
    )
    require_secrets(settings)
    with pytest.raises(BadSetting, match="CLOCK_STATEMENT_KEY is required"):
        require_secrets(msgspec.structs.replace(settings, statement_key=""))
