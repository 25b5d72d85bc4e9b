"""Money on its way to one user, failing in every way and any number of times: it is paid once, and the books say so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clock.audit.reconcile import reconcile
from clock.channels import Result
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.operators import verbs
from clock.operators.acts import By
from tests.conftest import DAY, Servers
from tests.flow.stage import People, one_database, send
from tests.flow.withdrawals.stage import Puller, withdraw, won
from tests.model.world import new_world

WORTH_FEN = 300
"""Of user 1: the stake, and a packet of 200."""

STEPS = st.lists(
    st.sampled_from(
        [
            *("withdraw", "withdraw", "worker", "worker", "confirm", "lapse", "lapse", "again", "acknowledge"),
            *("lost before", "lost after", "refuses", "all is well"),
        ]
    ),
    min_size=20,
    max_size=60,
)


class Faulty(Puller):
    """Loses what it is asked, or its answer; refuses refunds for good, or takes them again."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = ""

    async def refund(self, *asked: Any) -> Result:
        return await self._faulty(super().refund, *asked)

    async def transfer(self, *asked: Any) -> Result:
        return await self._faulty(super().transfer, *asked)

    async def _faulty(self, call: Any, *asked: Any) -> Result:
        if self.lost == "lost before":
            return Result("unknown", "no answer")
        said: Result = await call(*asked)
        return Result("unknown", "no answer") if self.lost == "lost after" else said

    def waiting(self) -> list[str]:
        return [no for no, (_, state) in self.transfers.items() if state == "processing"]

    def refunded_fen(self) -> int:
        return sum(fen for fen, state in self.refunds.values() if state == "done")


@pytest.fixture(scope="module")
async def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("money_out")) as settings_:
        yield settings_


async def take(people: People, provider: Faulty, step: str) -> None:
    match step:
        case "withdraw":
            assert (await withdraw(people)).word in ("withdrawing", "nothing_to_withdraw")
        case "worker":
            await people.rows("UPDATE outgoing SET next_at = now() WHERE state NOT IN ('done', 'failed')")
            await send(people)
        case "confirm" | "lapse":
            for no in provider.waiting():
                (provider.confirm if step == "confirm" else provider.lapse)(no)
        case "again" | "acknowledge":
            for row in await people.rows("SELECT no FROM unsent WHERE state = 'failed' ORDER BY no"):
                act = verbs.again if step == "again" else verbs.acknowledge
                with suppress(Unavailable):
                    await act(people.service, By("anna", ""), row["no"], "asked")
        case "refuses":
            provider.refuses = True
        case "all is well":
            provider.lost, provider.refuses = "", False
        case _:
            provider.lost = step


async def check(people: People, provider: Faulty) -> None:
    """What the provider has given is never more than was won; what the books say is that, or on its way."""
    balances = await people.balances()
    assert sum(balances.values()) == 0
    paid = provider.paid_fen() + provider.refunded_fen()
    held = sum(balances.get(name, 0) for name in ("user:1", "owed:refund", "owed:withdrawal", "owed:payout"))
    assert all(balances.get(name, 0) >= 0 for name in ("user:1", "owed:refund", "owed:withdrawal"))
    assert paid <= WORTH_FEN
    assert held <= WORTH_FEN
    open_ = await people.rows("SELECT no FROM outgoing WHERE kind = 'withdrawal' AND state NOT IN ('done', 'failed')")
    assert len(open_) <= 1


async def examine(shared: Settings, steps: list[str]) -> None:
    async with new_world(shared) as service:
        people, provider = People(service), Faulty()
        people.use(provider)
        await won(people)
        for step in steps:
            await take(people, provider, step)
            await check(people, provider)
        for _ in range(4):  # in the end everybody answers, and the user takes what there is
            for step in ("all is well", "worker", "withdraw", "confirm", "worker"):
                await take(people, provider, step)
        await check(people, provider)
        assert provider.paid_fen() + provider.refunded_fen() == WORTH_FEN
        assert await people.balances() == {}
        report = await reconcile(service, DAY)
        assert report is not None
        assert [one for one in report.differences if one.what != "bill_missing"] == []


@pytest.mark.long
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
async def test_the_same_sum_may_fail_a_hundred_times_and_is_paid_once(shared: Settings, steps: list[str]) -> None:
    async with asyncio.timeout(60):
        await examine(shared, steps)
