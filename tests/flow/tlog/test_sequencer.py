"""Every statement gets one place in the log, in whatever order transactions commit, whoever is killed."""

import asyncio
import random
from typing import Any

import psycopg
import pytest

from clock.domain.outcomes import Unavailable
from clock.fair import checkpoints
from clock.fair.notes import verify
from clock.fair.trees import leaf_hash, root_above, root_of
from clock.proofs.statements import Signing
from clock.service import Service
from clock.tlog import sequencer
from clock.tlog.sequencer import take_some
from tests.flow.tlog.stage import entries, query, state, take_all, text_of


async def sound(service: Service) -> int:
    """Every checkpoint is that of the statements below it, every path leads to one; how many statements."""
    texts = await entries(service)
    leaves = [leaf_hash(text.encode()) for text in texts]
    verifiers = [signer.verifier for signer in service.signing._signers]
    for row in await query(service, "SELECT * FROM log_checkpoints ORDER BY size"):
        text, _ = verify(row["note"], verifiers)
        assert checkpoints.parse(text) == ("PeterNeumann", row["size"], row["root"])
        assert row["root"] == root_of(leaves[: row["size"]])
    for row in await query(service, "SELECT * FROM log_entries JOIN log_checkpoints ON size = checkpoint"):
        path = [row["path"][at : at + 32] for at in range(0, len(row["path"]), 32)]
        assert root_above(texts[row["index"]].encode(), row["index"], row["size"], path) == row["root"]
    return len(texts)


async def test_a_log_that_grows_in_any_steps_is_the_tree_of_its_statements(process: Service) -> None:
    size, chance = 0, random.Random(1)
    for step in (1, 1, 2, 252, 1, chance.randrange(100), 300):
        await state(process, size, size := size + step)
        await take_all(process)
    assert await sound(process) == size
    assert await entries(process) == [text_of(number) for number in range(size)]
    assert await query(process, "SELECT day FROM log_waiting") == []


async def test_a_statement_that_commits_later_is_not_skipped(process: Service) -> None:
    """Its number was given before that of one which is in the log already."""
    async with process.store.transaction() as late:
        await late.execute(
            "INSERT INTO statements (day, kind, text, note) VALUES ('2031-01-01', 'opened', 'late', 'late')"
        )
        await state(process, 0, 3)
        assert await take_some(process.store, process.signing) == 3
        before = await query(process, "SELECT * FROM log_entries ORDER BY index")
    assert await take_some(process.store, process.signing) == 1
    assert await entries(process) == [*map(text_of, range(3)), "late"]
    assert (await query(process, "SELECT * FROM log_entries ORDER BY index"))[:3] == before
    assert await sound(process) == 4
    assert await take_some(process.store, process.signing) == 0


async def test_processes_take_side_by_side_what_others_write(process: Service) -> None:
    written = 0

    async def write() -> None:
        nonlocal written
        while written < 120:
            written += 3
            await state(process, written - 3, written)

    async def take() -> None:
        while len(await query(process, "SELECT 1 FROM log_entries")) < 120:
            await take_some(process.store, process.signing)

    await asyncio.gather(write(), write(), take(), take(), take())
    assert await sound(process) == 120
    assert sorted(await entries(process)) == sorted(map(text_of, range(120)))


class Killed(Exception):
    """The process dies here."""


@pytest.mark.parametrize("call", range(1, 9))
async def test_whoever_dies_leaves_nothing_half_done(
    process: Service, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """At each of its calls of Postgres."""
    await state(process, 0, 2)
    await take_all(process)
    await state(process, 2, 5)
    calls = 0

    def dying(run: Any) -> Any:
        async def one(*parameters: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                raise Killed
            return await run(*parameters, **named)

        return one

    with monkeypatch.context() as patch:
        for name in ("rows", "run_many"):
            patch.setattr(sequencer, name, dying(getattr(sequencer, name)))
        with pytest.raises(Killed):
            await take_some(process.store, process.signing)
    assert await sound(process) == 2
    await take_all(process)
    assert calls == call and await sound(process) == 5


@pytest.mark.parametrize(
    "statement",
    [
        *(f"DELETE FROM {table}" for table in ("log_entries", "log_checkpoints", "log_hashes", "log_cosignatures")),
        *(f"TRUNCATE {table} CASCADE" for table in ("log_entries", "log_checkpoints", "log_hashes")),
        "UPDATE log_entries SET checkpoint = 3",
        "UPDATE log_checkpoints SET root = sha256('')",
        "UPDATE log_hashes SET hash = sha256('')",
        "UPDATE log_cosignatures SET line = ''",
        "INSERT INTO log_entries (index, day, kind, checkpoint, path) VALUES (7, '2031-01-01', 'opened', 8, '')",
        "INSERT INTO log_entries (index, day, kind, checkpoint, path) SELECT 3, day, kind, 8, '' FROM log_entries",
    ],
)
async def test_what_is_in_the_log_stays_and_leaves_no_gap(process: Service, statement: str) -> None:
    await state(process, 0, 3)
    await take_all(process)
    await query(process, "INSERT INTO log_cosignatures VALUES ('w', 3, 'line', 1)")
    await query(process, "INSERT INTO log_checkpoints (size, root, note) VALUES (8, sha256(''), '')")
    await query(process, "INSERT INTO statements (day, kind, text, note) VALUES ('2031-01-01', 'opened', '', '')")
    with pytest.raises(psycopg.Error):
        await query(process, statement)


async def test_without_a_key_everything_waits(process: Service) -> None:
    await state(process, 0, 3)
    with pytest.raises(Unavailable):
        await take_some(process.store, Signing(""))
    assert await entries(process) == []
    await take_all(process)
    assert await sound(process) == 3


async def test_a_statement_that_no_bundle_can_hold_is_refused_where_it_is_written(process: Service) -> None:
    statement = "INSERT INTO statements (day, kind, text, note) VALUES ('2031-01-01', %s, repeat('€', %s) || 'x', '')"
    await query(process, statement, "opened", 21_844)
    with pytest.raises(psycopg.errors.CheckViolation):
        await query(process, statement, "closed", 21_845)


async def test_a_step_costs_the_same_after_many_statements(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of the tree before a leaf is added: the edge."""
    read: list[int] = []
    hashes_of = sequencer.hashes_of

    async def counted(*parameters: Any) -> Any:
        found = await hashes_of(*parameters)
        read.append(len(found))
        return found

    await state(process, 0, 512)
    await take_all(process)
    monkeypatch.setattr(sequencer, "hashes_of", counted)
    for first, last in ((512, 513), (513, 514), (514, 515)):
        await state(process, first, last)
        await take_all(process)
    assert read == [2, 3, 4]
