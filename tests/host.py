"""The example of a host, as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET

FILE = Path(__file__).parents[1] / "examples" / "host.py"


@contextmanager
def hosting(url: str, clock_url: str, books: Path) -> Iterator[None]:
    """It serves ``url``, and has the tests' secrets in common with the service at ``clock_url``."""
    env = {
        "PATH": os.environ["PATH"],
        "CLOCK_URL": clock_url,
        "CLOCK_JWT_SECRET": JWT_SECRET,
        "CLOCK_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "CLOCK_STATEMENT_KEY": STATEMENT_KEY,
        "HOST_PORT": url.rpartition(":")[2],
        "HOST_BOOKS": str(books),
    }
    process = subprocess.Popen([sys.executable, "-I", str(FILE)], env=env, stdout=subprocess.PIPE)
    try:
        assert process.stdout and process.stdout.readline() == f"{url}/\n".encode()
        yield
    finally:
        process.terminate()
        process.wait()
