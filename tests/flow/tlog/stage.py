"""What the tests of this folder share."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from clock.service import Service
from clock.tlog.sequencer import take_some

ROOT = Path(__file__).parents[3]

LOG_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The public half of ``STATEMENT_KEY``."""

FIRST = date(2030, 1, 1)
KINDS = ("opened", "closed", "void")


async def query(service: Service, statement: str, *parameters: Any) -> list[dict[str, Any]]:
    async with service.store.transaction() as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


async def tamper(service: Service, statement: str, *parameters: Any) -> None:
    """As somebody could who switches the triggers off."""
    async with service.store.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        assert (await connection.execute(statement.encode(), parameters)).rowcount > 0, "nothing was changed"


def text_of(number: int) -> str:
    """Of a statement that only the log reads."""
    return f"statement {number}\n"


async def state(service: Service, first: int, last: int) -> None:
    """Write statements with these numbers, before the last."""
    rows = [(FIRST + timedelta(number // 3), KINDS[number % 3], text_of(number)) for number in range(first, last)]
    days, kinds, texts = (list(column) for column in zip(*rows, strict=True))
    await query(
        service,
        "INSERT INTO statements (day, kind, text, note) SELECT day, kind, text, text FROM "
        "unnest(%s::date[], %s::text[], %s::text[]) WITH ORDINALITY AS one (day, kind, text, place) ORDER BY place",
        days,
        kinds,
        texts,
    )


async def take_all(service: Service) -> None:
    while await take_some(service.store, service.signing):
        pass


async def entries(service: Service) -> list[str]:
    """The texts of the log, in its order."""
    found = await query(service, "SELECT index, text FROM log_entries JOIN statements USING (day, kind) ORDER BY index")
    assert [row["index"] for row in found] == list(range(len(found)))
    return [row["text"] for row in found]


async def ask_all(service: Service) -> None:
    """Ask every witness that may be asked."""
    while keys := await service.witnessing.due():
        await asyncio.gather(*(service.witnessing.ask(key) for key in keys))


@dataclass
class Running:
    """A witness as a process: ``examples/witness.py``."""

    folder: Path
    name: str = "witness.example.org/w1"
    log: str = LOG_KEY
    port: int = 0
    key: str = ""
    program: Path = ROOT / "examples" / "witness.py"
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> Path:
        return self.folder / "w.state"

    @property
    def setting(self) -> str:
        return f"{self.key} {self.url}"

    async def start(self) -> str:
        """What it said if it has ended, or nothing."""
        files = ("--key", str(self.folder / "w.key"), "--state", str(self.state))
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(self.program), "--name", self.name, "--log", self.log, *files),
            *("--port", str(self.port)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout and self.process.stderr
        said = (await self.process.stdout.readline()).decode()
        if not said:
            return (await self.process.stderr.read()).decode()
        self.key, _, url = said.split()
        self.port = int(url.rpartition(":")[2])
        return ""

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def witness(folder: Path, **more: Any) -> AsyncIterator[Running]:
    running = Running(folder, **more)
    folder.mkdir(exist_ok=True)
    assert await running.start() == ""
    try:
        yield running
    finally:
        await running.kill()
