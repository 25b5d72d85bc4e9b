"""A round under faults: every process killed, replies lost, Valkey lost and rebuilt, and nothing acknowledged lost.

``make faults`` plays many rounds. A failure prints the seed that replays the same faults.
"""

import pytest

from tests.faults.proxy import VERB_OF_SHA
from tests.faults.report import play, text_of
from tests.faults.schedule import CALLS, PHASES, SMALL, schedule
from tests.faults.stack import NAMES

SEED = 20261123


@pytest.mark.long
async def test_nothing_acknowledged_is_lost_or_paid_twice_in_a_round_of_faults() -> None:
    played = await play(SEED, "small")
    said = text_of(played)
    assert not played.journal.failed, said
    assert not played.injector.failed, said
    assert all(played.injector.injected[f"kill -9 {name}"] == SMALL.kills for name in NAMES), said
    assert sum(played.stack.armed.hits.values()) >= 10, said
    (line,) = played.compared
    assert line.endswith("compared"), said
    for answer in ("join ordered", "pay paid", "pay refund_due", "check-in checked_in", "claim claimed"):
        assert played.journal.acknowledged[answer], said


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
