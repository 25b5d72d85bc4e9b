"""What a promoted Redis has lost and the books had not yet: nobody here knows it. The provider knows payments; what was
done in time is done again; for the rest an operator takes the user's word (``test_promises.py``)."""

import time
from pathlib import Path
from typing import Any

from clock.audit.counts import Counting
from clock.audit.reconcile import reconcile
from clock.config import Settings
from clock.operators import promises, quarantine
from tests.conftest import DAY
from tests.flow.carried_on.stage import Server, evening, six_o_clock
from tests.flow.stage import IN_TIME, People, Scripted, bill, forget, sandbox
from tests.model.world import new_world


async def loses(people: People, server: Server) -> None:
    """All since it was saved, before a worker has drained it."""
    await server.go_back()
    forget(people)


async def saved(people: People) -> Server:
    await people.drain()
    server = Server(people)
    await server.save()
    return server


async def test_a_lost_payment_is_found_in_the_bill(shared: Settings, tmp_path: Path) -> None:
    """Of 5 the order is known: the bill makes a member. Of 4 nothing is: the payment waits in the quarantine."""
    async with (
        sandbox(tmp_path / "sandbox.sqlite") as channel,
        new_world(shared, platform_url="http://provider") as service,
    ):
        people = People(service)
        people.use(channel)
        await people.join(5)
        server = await saved(people)
        await people.join(4)
        for uid in (4, 5):
            assert await people.pay(uid, f"T{uid}", paid_at=IN_TIME) == "paid"
            bill(channel, people.orders[uid], f"T{uid}", uid)
        await loses(people, server)
        assert await Counting(service).look() == []
        assert (await promises.lost(service, DAY)).data == {"day": str(DAY), "lost": [], "promises": []}
        report = await reconcile(service, DAY)
        assert report is not None
        assert report.mended == [f"order {people.orders[5]} transaction T5: paid"]
        assert [(one.what, one.other) for one in report.differences] == [("payment_unheard", "order_not_found")]
        waiting = (await quarantine.quarantined(service.store, service.channels, 1, 10, waiting=True)).data["items"]
        assert [one["order_no"] for one in waiting] == [people.orders[4]]
        await quarantine.release(service, waiting[0]["id"], "refund", "Redis forgot it", "anna")
        await people.drain()
        assert await people.rows("SELECT uid, amount_fen FROM outgoing WHERE transaction_id = 'T4'") == [
            {"uid": 0, "amount_fen": 100}
        ]


async def test_what_was_done_in_time_is_done_again(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        people.use(Scripted())
        await evening(people, range(1, 5))
        server = await saved(people)
        await six_o_clock(people, range(1, 3))
        await loses(people, server)
        await six_o_clock(people, range(2, 4))
        await people.settle()
        server = await saved(people)
        told = await people.claim(2, 3)
        await loses(people, server)
        again: list[Any] = [await service.verbs.claim(uid, time.monotonic()) for uid in (3, 2)]
        assert [one.data["assign"]["money"] for one in again] == told[::-1]
        await people.finish()
        report = await reconcile(service, DAY)
        assert report is not None
        assert [one for one in report.differences if one.what != "bill_missing"] == []
