"""The provider's bill beside the books, in tables that last as long as their transaction (``sql/queries/bill.sql``)."""

from collections.abc import AsyncIterator, Sequence

from psycopg import DataError

from clock.books.store import Connection, rows
from clock.channels import BillLine, NoBill

Page = Sequence[tuple[BillLine, bool]]
"""Lines, and whether the number of each says that it belongs to the round."""


async def begin(connection: Connection) -> None:
    """Make the table of lines."""
    await rows(connection, "begin_bill")


async def put(connection: Connection, pages: AsyncIterator[Page]) -> None:
    """All lines of a bill, or none. Raises :class:`NoBill` if that is raised in between, and for numbers that no
    account can hold."""
    try:
        async with (
            connection.transaction(),  # a savepoint
            connection.cursor() as cursor,
            cursor.copy("COPY bill_lines (kind, no, order_no, amount_fen, at_ms, payer, ours) FROM STDIN") as copy,
        ):
            async for page in pages:
                for line, ours in page:
                    texts = _kept(line.no), _kept(line.order_no)
                    await copy.write_row((line.kind, *texts, line.amount_fen, line.at_ms, _kept(line.payer), ours))
    except DataError as error:
        raise NoBill(f"unreadable: {error}") from error


def _kept(text: str) -> str:
    """As Postgres can store it: what is not a character, or is NUL, becomes U+FFFD."""
    if text.isascii():
        return text if "\0" not in text else text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
