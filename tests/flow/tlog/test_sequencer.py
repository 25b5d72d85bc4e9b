"""Every statement gets one place in the log, in whatever order transactions commit, whoever is killed."""

import random

from clock.fair import checkpoints
from clock.fair.notes import verify
from clock.fair.trees import leaf_hash, root_above, root_of
from clock.service import Service
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
