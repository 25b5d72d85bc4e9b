"""A Redis client with every command, for tests that look or meddle beyond what the service does."""

from typing import Any, Protocol, cast

from redis import asyncio as asyncio_redis

from clock.game.client.commands import Commands


class Redis(Commands, Protocol):
    """What the service uses, with its types, and everything else."""

    def __getattr__(self, name: str) -> Any: ...

    async def __aenter__(self) -> "Redis": ...

    async def __aexit__(self, *error: object) -> None: ...


def raw(client: Commands) -> Redis:
    return cast(Redis, client)


def plain(url: str, **options: Any) -> Redis:
    """redis-py's own client, without what ours adds."""
    client: Any = asyncio_redis.Redis.from_url(url, **options)
    client.replicated = False
    return cast(Redis, client)
