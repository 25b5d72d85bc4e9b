"""What grows with the game or with its players, and the room that there is for it."""

from typing import Any

import msgspec

GIB = 2**30

FULL = 0.8

ROOMS = {
    "postgres_age": 0.5,
    "postgres_disk": FULL,
    "redis_disk": FULL,
    "redis_memory": FULL,
    "postgres_connections": FULL,
    "postgres_locks": FULL,
    "redis_connections": FULL,
}
"""From which part on it rings, the worst first. Postgres refuses writes when transaction ids run out, and vacuuming a
large table takes days: half of them is a thousand million."""

IDS = 2**31
"""Transactions that the oldest row may be old."""


AHEAD_DAYS = 30
"""For so long the days have to be prepared: whatever holds it up is found long before anybody is refused."""


class Used(msgspec.Struct, frozen=True):
    """So much is used, of so much (0: nobody has told): bytes, connections, locks, transactions."""

    used: int
    most: int

    @property
    def part(self) -> float:
        """0 where it is not known."""
        return self.used / self.most if self.most else 0.0


class Stock(msgspec.Struct, frozen=True):
    """What takes Postgres a moment to find, and changes over days."""

    database_bytes: int
    dead_rows: int
    dead_rows_table: str
    days_without: int
    """Of the next :data:`AHEAD_DAYS`, those for whose rows a table has no partition."""
    first_without: str
    months_due: list[str]
    """``YYYY-MM``, that :mod:`clock.operators.records.due` would let go, oldest first."""


def of_redis(
    persistence: dict[str, Any], memory: dict[str, Any], clients: dict[str, Any], disk_gib: int
) -> dict[str, Used]:
    """From the sections of Redis' INFO. A rewrite of the append-only file writes a second one beside it, about as large
    as its base: the disk has to hold both. Memory has the bound that is set, else that of the machine."""
    file = persistence.get("aof_current_size", 0) + persistence.get("aof_base_size", 0)
    return {
        "redis_disk": Used(file, disk_gib * GIB),
        "redis_memory": Used(memory["used_memory"], memory["maxmemory"] or memory.get("total_system_memory", 0)),
        "redis_connections": Used(clients["connected_clients"], clients.get("maxclients", 0)),
    }


def fullest(nodes: list[dict[str, Used]]) -> dict[str, Used]:
    """Of several servers, the one with the least room, for each kind of it."""
    return {name: max((node[name] for node in nodes), key=lambda used: used.part) for name in nodes[0]}


def of_postgres(row: dict[str, Any]) -> dict[str, Used]:
    """From the query ``watch_room``."""
    return {
        "postgres_connections": Used(row["connections"], row["most_connections"]),
        "postgres_locks": Used(row["locks"], row["most_locks"]),
        "postgres_age": Used(row["age"], IDS),
    }


def of_stock(stock: Stock, disk_gib: int) -> dict[str, Used]:
    return {"postgres_disk": Used(stock.database_bytes, disk_gib * GIB)}
