"""Whose tokens the players have."""

from pathlib import Path

import pytest

from tests.conftest import JWT_SECRET


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.write_text(JWT_SECRET + "\n")
    return str(file)
