"""A round under faults: every process killed, replies lost, Valkey lost and rebuilt, and nothing acknowledged lost.

``make faults`` plays many rounds. A failure prints the seed that replays the same faults.
"""

import pytest

from tests.faults.proxy import VERB_OF_SHA
from tests.faults.report import play, text_of
from tests.faults.schedule import CALLS, PHASES, SIZES, SMALL, schedule
from tests.faults.stack import NAMES, Topology, names_of

SEED = 20261123


@pytest.mark.long
@pytest.mark.parametrize("topology", ["one", "cluster"])
async def test_nothing_acknowledged_is_lost_or_paid_twice_in_a_round_of_faults(topology: Topology) -> None:
    played = await play(SEED, "small", topology)
    size, injected, said = SIZES["small", topology], played.injector.injected, text_of(played)
    assert not played.journal.failed, said
    assert not played.injector.failed, said
    assert all(injected[f"kill -9 {name}"] == size.kills for name in names_of(topology)), said
    assert injected["slot moved key by key"] + injected["slot moved at once"] == size.moves, said
    assert injected["network cut, swallows"] == size.swallows, said
    assert sum(played.stack.armed.hits.values()) >= 10, said
    (line,) = played.compared
    assert line.endswith("compared"), said
    for answer in ("join ordered", "pay paid", "pay refund_due", "check-in checked_in", "claim claimed"):
        assert played.journal.acknowledged[answer], said
    winners = [one for told in played.journal.told.values() for one in told.values() if one.is_winner]
    assert all(one.promised for one in winners if not one.edge), "a winner has no receipt"


def test_what_is_lost_is_a_call_that_the_service_makes() -> None:
    """A script, by its verb; or what the drain reads and commits."""
    assert {call for calls in CALLS.values() for call in calls} <= {*VERB_OF_SHA.values(), "xrange", "commit"}


def test_a_seed_always_makes_the_same_schedule() -> None:
    assert schedule(7, SMALL) == schedule(7, SMALL)
    assert schedule(7, SMALL) != schedule(8, SMALL)
    planned = [fault for faults in schedule(7, SMALL).phases.values() for fault in faults]
    assert {place[1] for place in schedule(7, SMALL).phases} == set(PHASES)
    for name in NAMES:
        assert sum(fault.kind == "kill" and fault.what == name for fault in planned) == SMALL.kills


def test_the_long_run_on_a_cluster_has_its_share_of_each_fault() -> None:
    planned = [fault for faults in schedule(7, SIZES["long", "cluster"]).phases.values() for fault in faults]
    assert sum((fault.kind, fault.what) == ("kill", "valkey") for fault in planned) >= 25
    assert sum(fault.kind == "move_slot" for fault in planned) >= 10
    assert sum(fault.kind == "swallow" for fault in planned) >= 10
