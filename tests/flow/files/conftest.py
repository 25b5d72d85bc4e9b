"""A data directory in memory: the tests say themselves what a disk forgets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clock.runtime import embedded
from tests.conftest import in_memory


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with embedded.scratch(in_memory()) as path:
        yield path
