"""The partitions of a round's tables: made days ahead, without holding up whoever reads or writes."""

from collections.abc import Sequence
from datetime import date

from psycopg import sql

from clock.books.store import Store, rows

PARTITIONED = (
    "orders",
    "payments",
    "members",
    "check_ins",
    "packets",
    "claims",
    "refunds",
    "transfers",
    "outgoing",
)
"""Tables of a round: one partition a day."""

PARTITION_LOCK = 0x636C6F66
"""Advisory lock under which a partition is added: two that look at once would both find it missing."""


def partition_of(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


async def add_partitions(store: Store, days: Sequence[date]) -> int:
    """Make what the days lack, each partition in a transaction of its own; how many there were. Raises
    :class:`~clock.domain.outcomes.Unavailable`."""
    wanted = {partition_of(table, day): (table, day) for day in days for table in PARTITIONED}
    missing = await store.all("missing_tables", names=list(wanted))
    for row in missing:
        await _add(store, row["name"], *wanted[row["name"]])
    return len(missing)


async def _add(store: Store, name: str, table: str, day: date) -> None:
    """CREATE TABLE … PARTITION OF would lock the table against everybody, and wait for whoever reads it: a dump takes
    hours. Attaching lets others read and write meanwhile, and an empty table need not be looked through."""
    names = {"name": sql.Identifier(name), "table": sql.Identifier(table), "day": sql.Literal(day.isoformat())}
    async with store.transaction() as connection:
        await rows(connection, "lock_partitions", lock=PARTITION_LOCK)
        if not await rows(connection, "missing_tables", names=[name]):
            return
        await connection.execute(sql.SQL("CREATE TABLE {name} (LIKE {table} INCLUDING ALL)").format(**names))
        if table == "transfers":  # a statement trigger of the parent does not speak for its partitions
            await connection.execute(
                sql.SQL(
                    "CREATE TRIGGER kept BEFORE TRUNCATE ON {name} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
                ).format(**names)
            )
        await connection.execute(
            sql.SQL("ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES IN ({day})").format(**names)
        )


async def measure(store: Store, day: date) -> None:
    """Tell Postgres how large the day's partitions are. It looks by itself once a minute at most, and plans a join over
    rows that came since then as if there were a handful: ten thousand take seconds, a hundred thousand minutes."""
    async with store.transaction() as connection:
        for table in PARTITIONED:
            name = sql.Identifier(partition_of(table, day))
            await connection.execute(sql.SQL("ANALYZE {}").format(name))
