"""The Redis commands that the service uses, typed as this client answers them: bytes, without decoding.

redis-py annotates a reply with every type that any of its settings may give, and with sync and async at once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from clock.game.scripts import Value

Entry = tuple[bytes, dict[bytes, bytes]]
"""An entry of a stream: its id, its fields."""


T = TypeVar("T")


class Pipeline(Protocol):
    """Commands that go out together, those of one server in their order."""

    def execute_command(self, *words: Value) -> object: ...

    async def execute(self, raise_on_error: bool = True) -> list[Any]: ...


class Commands(Protocol):
    """Every method raises a ``RedisError`` or an ``OSError`` where the server is away or refuses."""

    replicated: bool
    """Whether a write counts only when a replica has it too."""

    async def open(self) -> None:
        """Connect now, not with the first script, when descriptors may be scarce."""
        ...

    async def aclose(self) -> None: ...

    async def nodes(self) -> "Sequence[Commands]":
        """Every primary, by itself. Of several, each has a part of the keys."""
        ...

    async def at(self, name: str, ask: "Callable[[Commands], Awaitable[T]]") -> T:
        """What ``ask`` answers, given the server that has the key ``name``. Asked once more where that raises the
        server's MOVED, which did nothing: another server has the key now."""
        ...

    async def execute_command(self, *words: Value) -> Any: ...

    def pipeline(self, transaction: bool = True) -> Pipeline: ...

    # -- one server: of a cluster, always the same one

    async def server(self) -> str:
        """The run id of the server on which scripts run; connects where that is not done."""
        ...

    async def time(self) -> tuple[int, int]: ...

    async def info(self, section: str) -> dict[str, Any]: ...

    async def config_get(self, *names: str) -> dict[str, str]: ...

    # -- keys and strings

    async def exists(self, *names: str) -> int: ...

    async def memory_usage(self, key: str, samples: int) -> int | None: ...

    async def delete(self, *names: str) -> int: ...

    async def pexpire(self, name: str, time: int) -> bool: ...

    def scan_iter(self, match: str, *, count: int) -> AsyncIterator[bytes]: ...

    async def get(self, name: str) -> bytes | None: ...

    async def set(
        self, name: str, value: Value, *, px: int | None = None, nx: bool = False, keepttl: bool = False
    ) -> bool | None: ...

    async def eval(self, script: str, numkeys: int, *words: Value) -> Any: ...

    # -- hashes

    async def hget(self, name: str, key: Value) -> bytes | None: ...

    async def hmget(self, name: str, keys: Sequence[str]) -> list[bytes | None]: ...

    async def hgetall(self, name: str) -> dict[bytes, bytes]: ...

    async def hlen(self, name: str) -> int: ...

    async def hexists(self, name: str, key: Value) -> bool: ...

    async def hset(
        self,
        name: str,
        key: Value | None = None,
        value: Value | None = None,
        mapping: Mapping[Any, Any] | None = None,
        items: Sequence[Value] | None = None,
    ) -> int: ...

    async def hsetnx(self, name: str, key: str, value: Value) -> bool: ...

    async def hincrby(self, name: str, key: str, amount: int) -> int: ...

    async def hdel(self, name: str, *keys: str | bytes) -> int: ...

    def hscan_iter(self, name: str, *, count: int) -> AsyncIterator[tuple[bytes, bytes]]: ...

    # -- lists

    async def lrange(self, name: str, start: int, end: int) -> list[bytes]: ...

    async def rpush(self, name: str, *values: Value) -> int: ...

    # -- streams

    async def xrange(
        self, name: str, min: str | bytes = "-", max: str = "+", count: int | None = None
    ) -> list[Entry]: ...

    async def xrevrange(
        self, name: str, max: str = "+", min: str | bytes = "-", count: int | None = None
    ) -> list[Entry]: ...

    async def xadd(self, name: str, fields: Mapping[Any, bytes]) -> bytes: ...

    async def xinfo_stream(self, name: str) -> dict[str, Any]: ...

    async def xtrim(self, name: str, *, minid: str, approximate: bool, limit: int) -> int: ...
