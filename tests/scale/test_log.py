"""What is asked of statements and of their log takes as many pages after 1,500 rounds as after three."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta

import psycopg
import pytest

from clock.books.store import Connection, Store
from clock.config import Settings
from clock.http.players import public
from clock.operators.watch.watcher import Watch
from clock.proofs import paths, statements
from clock.service import Service, live_rounds
from clock.tlog import reading, sequencer
from tests.conftest import DAY
from tests.flow.settlement.stage import CROWD, settled
from tests.flow.tlog.stage import query, state, take_all
from tests.model.world import forgetful, new_world

FEW, MANY = 3, 1_500
MORE = 40
"""Pages: indexes are deeper, and hashes are in several tiles. The smallest of the tables has 60."""

WITNESS = "witness.example.org/w1+443ac403+BBdFU7RW3d/GkI7KscEB/mqyHiuqBhd5W31DpjSCmT/V"

AGED = (
    "CREATE TEMP TABLE aged ON COMMIT DROP AS SELECT n, %(day)s - 9 - n AS day"
    " FROM generate_series(%(first)s, %(last)s) AS n",
    "INSERT INTO rounds SELECT (jsonb_populate_record(r, jsonb_build_object('day', aged.day, 'state', 'finished',"
    " 'finished_at', now() - interval '30 days', 'tallied_at', now(), 'credited_at', now()))).*"
    " FROM rounds r, aged WHERE r.day = %(day)s",
    "INSERT INTO statements (day, kind, text, note) SELECT aged.day, kind, replace(text, s.day::text, aged.day::text),"
    " replace(note, s.day::text, aged.day::text) FROM statements s, aged WHERE s.day = %(day)s ORDER BY n, number",
    "CREATE TEMP TABLE entry ON COMMIT DROP AS SELECT aged.day, kind, row_number() OVER (ORDER BY number) - 1"
    " + (SELECT count(*) FROM log_entries) AS index FROM statements JOIN aged USING (day)",
    "INSERT INTO log_checkpoints SELECT index + 1, sha256(index::text::bytea), note"
    " FROM entry, (SELECT note FROM log_checkpoints LIMIT 1) AS one",
    "INSERT INTO log_entries SELECT index, index - 1, day, kind, index + 1, decode(repeat('00', 384), 'hex')"
    " FROM entry",
    "INSERT INTO log_hashes SELECT 0, index, sha256(index::text::bytea) FROM entry",
    "INSERT INTO log_hashes SELECT 1, index / 256, sha256(index::text::bytea) FROM entry WHERE index %% 256 = 255",
    "INSERT INTO log_cosignatures SELECT %(witness)s, index + 1, repeat('x', 120), 0 FROM entry"
    " WHERE index < (SELECT max(index) FROM entry) - 3",
)
"""Rounds of the days before, as this one: they have finished, and a witness has signed all but the last of them. Their
hashes are none."""

PAGES = (
    "SELECT coalesce(sum(pg_stat_get_xact_blocks_fetched(oid)), 0)::int AS pages FROM pg_class"
    " WHERE oid >= 16384 AND relkind IN ('r', 'i', 't')"
)


@pytest.fixture
async def service(shared: Settings) -> AsyncIterator[Service]:
    async with forgetful(shared), new_world(shared, shards=2, witnesses=f"{WITNESS} http://127.0.0.1:1") as service:
        yield service


async def age(service: Service, first: int, last: int) -> None:
    """Rounds from ``first`` to ``last``, of which the first is ten days old."""
    of = {"day": DAY, "first": first, "last": last, "witness": WITNESS}
    async with service.store.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        for one in AGED:
            await psycopg.AsyncClientCursor(connection).execute(one.encode(), of)
    await query(service, "UPDATE log_witnesses SET ask_at = now()")  # it did not answer a moment ago
    await query(service, "ANALYZE")


async def pages_of(work: Callable[[], Awaitable[object]]) -> int:
    """How many pages its transactions have asked for."""
    counts: list[int] = []
    transaction = Store.transaction

    async def so_far(connection: Connection) -> int:
        return int((await (await connection.execute(PAGES)).fetchall())[0]["pages"])

    @asynccontextmanager
    async def counted(self: Store) -> AsyncIterator[Connection]:
        async with transaction(self) as connection:
            before = await so_far(connection)  # Postgres counts a session's until it reports them
            yield connection
            counts.append(await so_far(connection) - before)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Store, "transaction", counted)
        await work()
    assert counts, "nothing was asked"
    return sum(counts)


async def asked(service: Service, day: date) -> dict[str, int]:
    """The pages of each question; ``day`` is the oldest."""
    store = service.store

    async def chained() -> None:
        async with store.transaction() as connection:
            await statements.previous(connection)

    async def taken() -> None:
        number = await query(service, "SELECT count(*) AS n FROM statements WHERE day >= '2030-01-01'")
        await state(service, number[0]["n"], number[0]["n"] + 1)
        assert await sequencer.take_some(store, service.signing) == 1

    async def due() -> None:
        assert await service.witnessing.due() == [WITNESS]
        await query(service, "UPDATE log_witnesses SET ask_at = now()")

    size = (await query(service, "SELECT max(size) AS size FROM log_checkpoints"))[0]["size"]
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "the newest checkpoint": lambda: reading.checkpoint(store),
        "a tile": lambda: reading.at(store, "0/000.p/9"),
        "the last tile": lambda: reading.at(store, f"0/{size // 256:03}.p/{size % 256}"),
        "entries": lambda: reading.at(store, "entries/000.p/9"),
        "the proof of today": lambda: public.proof(service, DAY),
        "the proof of the oldest": lambda: public.proof(service, day),
        "a stake": lambda: paths.proof(store, DAY, "stake", 1),
        "a packet": lambda: paths.proof(store, DAY, "packet", 1),
        "the chain": chained,
        "whether something waits": lambda: sequencer.take_some(store, service.signing),
        "a statement is taken": taken,
        "witnesses that are due": due,
        "what a witness lacks": lambda: service.witnessing.ask(WITNESS),
        "the watch": lambda: Watch(service).look(),
        "rounds that are in memory": lambda: live_rounds(service),
    }
    return {name: await pages_of(ask) for name, ask in questions.items()}


async def test_what_is_asked_of_the_log_takes_as_many_pages_at_any_age(service: Service) -> None:
    """P of today is not public yet, so that the log is asked how far it may be read."""
    await settled(service, DAY, CROWD)
    await Watch(service).look()  # rounds that it asks for are opened
    await take_all(service)
    await query(service, "UPDATE rounds SET state = 'published' WHERE day = %s", DAY)
    await age(service, 1, FEW)
    few = await asked(service, DAY - timedelta(9 + FEW))
    await age(service, FEW + 1, MANY)
    many = await asked(service, DAY - timedelta(9 + MANY))
    print({name: (few[name], many[name]) for name in many})
    assert {name: (few[name], pages) for name, pages in many.items() if pages > few[name] + MORE} == {}
