"""Providers' bills beside the books, in tables that last as long as their transaction (``sql/queries/bill.sql``)."""

from collections.abc import AsyncIterator, Sequence
from typing import LiteralString

from clock.books import outbox
from clock.books.store import Connection, rows
from clock.channels import BillLine, NoBill

Page = Sequence[tuple[BillLine, bool]]
"""Lines, and whether the number of each says that it belongs to the round."""

COLUMNS: LiteralString = "channel, kind, no, order_no, amount_fen, at_ms, payer, ours"


async def begin(connection: Connection) -> None:
    """Make the table of lines."""
    await rows(connection, "begin_bill")


async def put(connection: Connection, channel: str, pages: AsyncIterator[Page]) -> None:
    """All lines of a channel's bill, or none. Raises :class:`NoBill` if that is raised in between, and for numbers that
    no account can hold."""
    try:
        async with (
            connection.transaction(),  # a savepoint
            connection.cursor() as cursor,
            cursor.copy(f"COPY bill_lines ({COLUMNS}) FROM STDIN") as copy,
        ):
            async for page in pages:
                for line, ours in page:
                    texts = _kept(line.no), _kept(line.order_no)
                    said = line.amount_fen, line.at_ms, _kept(line.payer)
                    await copy.write_row((channel, line.kind, *texts, *said, ours))
    except outbox.UNREADABLE as error:
        raise NoBill(f"unreadable: {error}") from error


def _kept(text: str) -> str:
    """As Postgres can store it: what is not a character, or is NUL, becomes U+FFFD."""
    if text.isascii():
        return text if "\0" not in text else text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
