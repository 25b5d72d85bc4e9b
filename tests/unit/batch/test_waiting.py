"""Thousands of check-ins wait for Redis at once, and what each of them is while it waits has to fit a processor's
cache (docs/decisions/0070, 0078)."""

import gc
import sys
from datetime import date
from types import SimpleNamespace
from typing import Any

from clock.fair.notes import signers_of
from clock.game.receipts import Receipts
from clock.game.verbs import Verbs
from tests.conftest import STATEMENT_KEY

DAY = date(2026, 11, 26)
WAITING = 500


async def test_who_wants_a_receipt_waits_in_no_more_objects_than_who_wants_none() -> None:
    async def salt_key_of(_: date) -> bytes:
        return bytes(32)

    asking: Any = SimpleNamespace(
        known_morning=lambda _: SimpleNamespace(day=DAY),
        totals=SimpleNamespace(known=lambda _: SimpleNamespace(pool_fen=100)),
        tell=lambda *_: 0,
    )
    profiles: Any = None
    clock: Any = None
    receipts = Receipts(signers_of(STATEMENT_KEY)[0], salt_key_of, clock)
    assert await receipts.find(DAY)
    verbs, waiter = Verbs(asking, profiles, receipts), SimpleNamespace()

    def objects(*, receipt: bool) -> float:
        asked = [verbs.check_in_at_once(waiter, 7, 0.0, receipt)] * WAITING
        gc.disable()  # garbage of other tests would be counted off
        try:
            before = sys.getallocatedblocks()
            for place in range(WAITING):
                asked[place] = verbs.check_in_at_once(waiter, 7, 0.0, receipt)
            return (sys.getallocatedblocks() - before) / WAITING
        finally:
            gc.enable()

    without = objects(receipt=False)
    assert without > 1
    assert objects(receipt=True) <= without
