"""What is asked of a service whose Redis has changed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from clock.config import Settings
from tests.conftest import Api


async def seconds_until(holds: Callable[[], Awaitable[Any]], most: float) -> float:
    began = time.monotonic()
    async with asyncio.timeout(most):
        while not await holds():
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def is_primary(redis: Any) -> bool:
    return bool((await redis.info("replication"))["role"] == "master")


async def books_have(settings: Settings, table: str, uid: int) -> bool:
    async with await psycopg.AsyncConnection.connect(settings.database_url) as connection:
        found = await connection.execute(f"SELECT FROM {table} WHERE uid = %s".encode(), [uid])
        return await found.fetchone() is not None


async def says(api: Api, path: str, uid: int, **body: Any) -> str:
    """The answer's code; ``unavailable`` included."""
    reply = await api.send("POST", path, {"uid": uid, **body}, api.token(uid))
    return str(reply[1]["code"])
