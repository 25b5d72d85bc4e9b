"""The disk is full under load, and freed again: nothing acknowledged is lost, and everything comes back by itself."""

import asyncio
import resource
import time
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from clock.config import Settings
from clock.runtime import crew, embedded, supervise
from clock.runtime.processes import Program
from clock.tokens import Tokens
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET
from tests.flow.files.stage import newest
from tests.unit.supervise.stage import pids, until

CLIENTS = 16
BLOCK = 512
"""The unit of ``ulimit -f``."""

BACK_S = crew.BACKOFF_MOST_S + 5


class Small(embedded.Valkey, frozen=True):
    """While there is a file ``full``, no file of the server grows beyond what it says: a write fails like one to a full
    disk, with another number."""

    @property
    def program(self) -> Program:
        ours = super().program
        limited = 'trap "" XFSZ; test ! -e "$0" || ulimit -S -f "$(cat "$0")"; exec "$@"'
        return msgspec.structs.replace(
            ours, command=["/bin/sh", "-c", limited, str(self.data_dir / "full"), *ours.command]
        )


class Disk:
    def __init__(self, data_dir: Path, logs: list[Any]) -> None:
        self._full, self._logs = data_dir / "full", logs
        self._server = embedded.Valkey(data_dir)

    def fill(self) -> None:
        blocks = newest(self._server).stat().st_size // BLOCK + 4
        self._full.write_text(str(blocks))
        resource.prlimit(pids(self._logs, "valkey")[-1], resource.RLIMIT_FSIZE, (blocks * BLOCK, -1))

    def free(self) -> None:
        self._full.unlink()


class Crowd:
    """Users who order over HTTP; ``orders`` are those that were acknowledged."""

    def __init__(self, page: str, settings: Settings) -> None:
        self._page, self._tokens = page, Tokens(settings)
        self._uids = count(1)
        self.orders: dict[int, str] = {}
        self.failed = 0

    async def order(self, session: aiohttp.ClientSession, uid: int) -> str:
        """The order's number; empty unless it was acknowledged."""
        extra = {"mobile": f"138{uid:08}", "nickname": f"user {uid}", "openId": f"open-{uid}"}
        bearer = {"authorization": f"Bearer {self._tokens.issue(uid, 'user')}"}
        async with session.post(f"{self._page}api/join", json={"uid": uid, "extra": extra}, headers=bearer) as reply:
            answer = await reply.json()
            return answer["data"]["order_no"] if reply.status == 200 else ""

    async def come(self, session: aiohttp.ClientSession) -> None:
        while True:
            uid = next(self._uids)
            if number := await self.order(session, uid):
                self.orders[uid] = number
            else:
                self.failed += 1
                await asyncio.sleep(0.05)


@pytest.mark.long
async def test_a_disk_that_is_full_for_a_while_loses_nothing_and_comes_back(
    database_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "Valkey", Small)
    settings = Settings(
        env="dev",
        data_dir=data_dir,
        port=0,
        database_url=database_url,
        jwt_secret=JWT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
        statement_key=STATEMENT_KEY,
        api_workers=1,
    )
    with capture_logs() as logs:
        async with supervise.running(settings, quiet=True) as urls, aiohttp.ClientSession() as session:
            crowd, disk = Crowd(urls["page"], settings), Disk(data_dir, logs)
            async with asyncio.TaskGroup() as group:
                coming = [group.create_task(crowd.come(session)) for _ in range(CLIENTS)]
                await until(lambda: len(crowd.orders) > 200)
                disk.fill()
                await until(lambda: crowd.failed and len(pids(logs, "valkey")) >= 3)  # it has ended twice
                disk.free()
                freed, before = time.monotonic(), len(crowd.orders)
                await until(lambda: len(crowd.orders) > before + 200, BACK_S)
                back_s = time.monotonic() - freed
                for each in coming:
                    each.cancel()
            again = {uid: await crowd.order(session, uid) for uid in crowd.orders}
    reasons = [log["reason"] for log in logs if log["event"] == "child_exited" and log["name"] == "valkey"]
    assert all("AOF" in reason for reason in reasons), reasons
    assert again == crowd.orders
    assert back_s < BACK_S
