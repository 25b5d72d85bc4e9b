"""Has witnesses sign the log's checkpoints, each in its order, as often as it takes, and keeps what they have signed.

Every witness is asked by itself, so that none holds up another. Which process asks is decided by a lease in Postgres;
two that ask at once do no harm.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import aiohttp
import structlog

from clock import logs
from clock.books.store import Store, rows
from clock.fair import tiles
from clock.proofs.statements import Signing
from clock.tlog.asking import KnowsOther, NotSigned, add_checkpoint, session
from clock.tlog.sequencer import hashes_of
from clock.tlog.settings import Witness

log = structlog.get_logger()

RUN_SECONDS = 25.0
"""For so long one witness is asked for one checkpoint after another."""
LEASE_SECONDS = 30.0

NEWEST = 100
"""Older checkpoints are not signed any more by a witness that was away, or is new: a month of them."""

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 1.0, 60.0


class Witnessing:
    def __init__(self, store: Store, signing: Signing, witnesses: Sequence[Witness]) -> None:
        self._store = store
        self._signing = signing
        self._witnesses = {str(witness.key): witness for witness in witnesses}

    @property
    def keys(self) -> list[str]:
        """The witnesses' public keys, as the setting has them."""
        return list(self._witnesses)

    async def due(self) -> list[str]:
        """Keys of witnesses that lack the newest checkpoint; they are this process' to ask. Raises
        :class:`~clock.domain.outcomes.Unavailable`."""
        if not self._witnesses:
            return []
        found = await self._store.all("take_witnesses", witnesses=self.keys, seconds=LEASE_SECONDS)
        return [row["witness"] for row in found]

    async def ask(self, key: str) -> None:
        """Ask a witness for what it lacks. Raises :class:`~clock.domain.outcomes.Unavailable`."""
        witness, said, contradicts = self._witnesses[key], "", False
        try:
            async with asyncio.timeout(RUN_SECONDS), session() as http:
                await self._ask(http, witness)
        except TimeoutError:
            said = "slow"
        except NotSigned as error:
            said, contradicts = str(error), error.contradicts
        if said and logs.is_news("witness", witness.key.name, said):
            say = log.error if contradicts else log.warning
            say("witness_not_signed", witness=witness.key.name, said=said)
        for row in await self._store.all("witness_answered", witness=key, said=said, contradicts=contradicts):
            delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(row["failures"] - 1, 10)) if said else 0.0
            delay *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, decides nothing
            await self._store.all("delay_witness", witness=key, seconds=delay)

    async def _ask(self, http: aiohttp.ClientSession, witness: Witness) -> None:
        known, corrected = None, False
        while one := await self._next(witness, known):
            try:
                signed = await add_checkpoint(http, witness, one["old"], one["proof"], one["text"], one["note"])
            except KnowsOther as other:
                if corrected or other.size == one["old"]:
                    raise NotSigned(f"it knows another size each time, {other.size} now") from None
                if other.size > one["newest"]:
                    why = f"it knows the log with {other.size} entries, and here it has {one['newest']}"
                    raise NotSigned(why, contradicts=True) from None
                known, corrected = other.size, True
                continue
            kept = {"size": one["size"], "line": signed.line, "signed_ms": signed.time_s * 1000}
            await self._store.all("keep_cosignature", witness=str(witness.key), **kept)
            known, corrected = one["size"], False
            log.info("witness_signed", witness=witness.key.name, size=one["size"])
        if known is None:
            raise NotSigned(f"there is no checkpoint of {self._signing.origin} that it could sign")

    async def _next(self, witness: Witness, known: int | None) -> dict[str, Any] | None:
        """The oldest checkpoint that it lacks, of a size that it may sign, signed by today's keys; and the proof from
        the size that it has signed last, or that it says that it knows."""
        key, origin = str(witness.key), self._signing.origin
        async with self._store.transaction() as connection:
            found = await rows(connection, "next_unsigned", witness=key, origin=origin, known=known or 0, newest=NEWEST)
            if not found:
                return None
            one = found[0]
            old = one["signed"] if known is None else known
            text = one["note"].partition("\n\n")[0] + "\n"
            ranges = tiles.consistency(old, one["size"])
            hashes = await hashes_of(connection, tiles.spans_of(ranges))
            proof = [tiles.root(of, hashes) for of in ranges]
            return {**one, "old": old, "proof": proof, "text": text, "note": await self._signing.note(connection, text)}
