"""A lock that is held as long as its holder lives, however long its work takes.

Postgres ends a transaction in which nothing is asked for :data:`~clock.books.store.IDLE_SECONDS`, so that the locks of
a process that vanished are free. One that lives asks something in between. Postgres does not count how long it waits
for the rest of a message: workers do that (:func:`~clock.books.store.end_half_sent`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from clock.books.store import NO_ANSWER, Connection, cut_off
from clock.domain.outcomes import Unavailable

RENEW_SECONDS = 5.0

LEASE_SECONDS = 15.0
"""How long the locks are taken for held after Postgres has last answered: it lets go of them later."""


@asynccontextmanager
async def held(connection: Connection) -> AsyncIterator[None]:
    """Keep the locks of the connection's transaction while the body runs. Where Postgres does not answer, the body is
    cancelled before anybody else can have them. Raises :class:`Unavailable`."""
    over = asyncio.Event()
    try:
        async with asyncio.timeout(LEASE_SECONDS) as lease:
            renewing = asyncio.create_task(_renew(connection, lease, over))
            try:
                yield
            finally:
                over.set()  # not cancelled: that would end the transaction
                await renewing
    except TimeoutError:
        if lease.expired():
            raise Unavailable("Postgres: nothing is heard of the locks that were held") from None
        raise


async def _renew(connection: Connection, lease: asyncio.Timeout, over: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    while not over.is_set():
        asked = loop.time()
        held_until = asked + LEASE_SECONDS
        if not connection.lock.locked():  # otherwise a statement is being executed, and nothing is idle
            try:
                with cut_off(connection, LEASE_SECONDS - RENEW_SECONDS):
                    await connection.execute("SELECT")
            except NO_ANSWER:
                held_until = asked
        if not lease.expired():
            lease.reschedule(held_until)
        with suppress(TimeoutError):
            async with asyncio.timeout(RENEW_SECONDS):
                await over.wait()
