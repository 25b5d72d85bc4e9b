"""Where the money goes: packets, fee, refunds, and what is carried into the next round."""

from dataclasses import dataclass
from typing import Any

import pytest

from clock.config import Settings
from tests.conftest import DAY
from tests.flow.settlement.stage import AFTER, BEFORE, Crowd, finished, manifest, published, refunds, settled
from tests.model.world import forgetful, new_world


@dataclass(frozen=True)
class Case:
    crowd: Crowd
    rules: dict[str, Any]
    refunded_fen: int = 0
    forfeited_fen: int = 0
    fee_fen: int = 0
    carried_out_fen: int = 0
    packets: tuple[int, ...] | None = None
    """Sorted, where the rules leave no choice."""


CASES = {
    "an empty round settles to nothing": Case(Crowd(), {}, packets=()),
    "the sleepers' stakes are shared": Case(Crowd(winners=3, sleepers=4), {}, forfeited_fen=400),
    "everybody checked in: the stake comes back": Case(Crowd(winners=4), {}, packets=(0, 0, 0, 0)),
    "one winner takes the pot": Case(Crowd(winners=1, sleepers=3), {}, forfeited_fen=300, packets=(300,)),
    "equal packets, odd fen one each": Case(
        Crowd(winners=3, sleepers=1), {"split": "equal"}, forfeited_fen=100, packets=(33, 33, 34)
    ),
    "fewer fen than winners": Case(
        Crowd(winners=5, sleepers=1), {"fee_bps": 9_700}, forfeited_fen=100, fee_fen=97, packets=(0, 0, 1, 1, 1)
    ),
    "nobody checked in, refund": Case(Crowd(sleepers=3, late_sleepers=1), {"fee_bps": 500}, refunded_fen=400),
    "nobody checked in, carry": Case(
        Crowd(sleepers=3, late_sleepers=1),
        {"nobody": "carry"},
        refunded_fen=100,
        forfeited_fen=300,
        carried_out_fen=300,
    ),
    "late members who slept are refunded, not forfeited": Case(
        Crowd(winners=1, late_winners=1, sleepers=2, late_sleepers=3), {}, refunded_fen=300, forfeited_fen=200
    ),
    "only late members slept: nothing is forfeited": Case(
        Crowd(winners=2, late_sleepers=2), {"fee_bps": 5_000}, refunded_fen=200, packets=(0, 0)
    ),
    "the fee is of forfeited money, rounded down": Case(
        Crowd(winners=2, sleepers=1), {"fee_bps": 199}, forfeited_fen=100, fee_fen=1
    ),
    "lucky winners have a part on top": Case(
        Crowd(winners=3, sleepers=3),
        {"split": "equal", "lucky_count": 1, "lucky_bps": 5_000},
        forfeited_fen=300,
        packets=(50, 50, 200),
    ),
    "the cap cuts, and what fits nowhere is carried": Case(
        Crowd(winners=2, sleepers=3),
        {"packet_cap_fen": 120},
        forfeited_fen=300,
        carried_out_fen=60,
        packets=(120, 120),
    ),
}


@pytest.mark.parametrize("shards", [1, 5])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_where_the_money_goes(settings: Settings, case: Case, shards: int) -> None:
    async with forgetful(settings), new_world(settings, shards=shards, **case.rules) as service:
        row = await settled(service, DAY, case.crowd)
        assert (row["members"], row["winners"]) == (len(case.crowd.everybody), len(case.crowd.awake))
        assert row["late"] == len(case.crowd.late)
        for name in ("refunded_fen", "forfeited_fen", "fee_fen", "carried_out_fen"):
            assert row[name] == getattr(case, name), name
        packets = await published(service, DAY)
        assert packets == await manifest(service, DAY)
        assert case.packets is None or tuple(sorted(packets)) == case.packets
        late_sleepers = case.crowd.everybody[len(case.crowd.everybody) - case.crowd.late_sleepers :]
        whole = not case.crowd.awake and not case.carried_out_fen
        assert await refunds(service, DAY) == list(case.crowd.everybody if whole else late_sleepers)
        await finished(service, DAY)


async def test_the_pot_that_nobody_won_goes_into_the_next_round_and_on_until_somebody_wins(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, nobody="carry", fee_bps=1_000) as service:
        first = await settled(service, BEFORE, Crowd(sleepers=2))
        assert (first["fee_fen"], first["carried_out_fen"]) == (20, 180)
        empty = await settled(service, DAY, Crowd())
        assert (empty["carried_in_fen"], empty["fee_fen"], empty["carried_out_fen"]) == (180, 0, 180)
        last = await settled(service, AFTER, Crowd(winners=1, sleepers=1))
        assert (last["carried_in_fen"], last["fee_fen"], last["carried_out_fen"]) == (180, 10, 0)
        assert await manifest(service, AFTER) == [270]


async def test_what_was_carried_is_taken_once(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, nobody="carry") as service:
        assert (await settled(service, BEFORE, Crowd(sleepers=2)))["carried_out_fen"] == 200
        assert (await settled(service, DAY, Crowd(winners=1)))["carried_in_fen"] == 200
        assert (await settled(service, AFTER, Crowd(winners=1)))["carried_in_fen"] == 0


async def test_what_did_not_fit_under_the_cap_is_in_the_next_pot(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, packet_cap_fen=150) as service:
        assert (await settled(service, BEFORE, Crowd(winners=1, sleepers=3)))["carried_out_fen"] == 150
        row = await settled(service, DAY, Crowd(winners=2, sleepers=1))
        assert (row["carried_in_fen"], row["pot_fen"], row["carried_out_fen"]) == (150, 250, 0)
