"""What the tests of this folder share."""

from datetime import date, timedelta
from typing import Any

from clock.service import Service
from clock.tlog.sequencer import take_some

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
