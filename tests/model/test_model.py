"""The real clock against the model, over games that Hypothesis makes up: every answer, every total, every table.

``MODEL_EXAMPLES=5000 pytest tests/model`` plays that many games, however long it takes. Without it, a slow machine
plays fewer. A failure prints the game, shrunk, and how to replay it.
"""

import os
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from time import monotonic

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from clock.config import Settings
from clock.service import Service
from tests.conftest import DAY
from tests.model import model as m
from tests.model.commands import CheckIn, Claim, Command, Join, Jump, Look, Operate, Outage, Paid, Pay, PayUnknown
from tests.model.play import Table
from tests.model.world import exact_waits, forgetful, new_world, plan_bonus

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "45"))
SECONDS = float("inf") if "MODEL_EXAMPLES" in os.environ else 50.0
AT_LEAST = 10
DAYS = 3

UIDS = (1, 2, 3, 4, 5, 6, 2**53 - 1)
BOUNDARIES = ("00:00", "05:00", "08:00", "08:05", "21:00", "24:00")
WAITS = (0, 0, 0, 125, 4_875, 5_000, 60_000)


Moment = tuple[str, int]
"""A time of day and the milliseconds after it."""

EDGES: tuple[Moment, ...] = (("05:00", -1), ("05:00", 0), ("08:00", -1), ("08:00", 0), ("08:00", 125), ("08:00", 5_000))


@dataclass(frozen=True)
class Day:
    """How most people spend the day on which they join, and the morning after it."""

    join: frozenset[int]
    late: frozenset[int]
    late_at: Moment
    late_paid: Paid
    wake: frozenset[int]
    edge: frozenset[int]
    """Who checks in just when it opens or closes."""
    edge_at: Moment
    waited_ms: int
    claim: frozenset[int]
    settle: Moment | None
    finish: bool
    twice: bool
    """Everybody sends everything twice at once, and once more a minute later."""


@dataclass(frozen=True)
class Extra:
    """A command at an instant ``offset_ms`` from a boundary, on the ``day``-th day."""

    day: int
    boundary: str
    offset_ms: int
    command: Command


@dataclass(frozen=True)
class Game:
    law: m.Law
    days: tuple[Day, ...]
    extras: tuple[Extra, ...]


uid = st.sampled_from(UIDS)
uids = st.frozensets(uid)
taps = st.lists(uid, min_size=1, max_size=4).map(tuple)

laws = st.builds(
    m.Law,
    stake_fen=st.sampled_from((100, 1, 777)),
    split=st.sampled_from(("random", "equal")),
    nobody=st.sampled_from(("refund", "carry")),
    fee_bps=st.sampled_from((0, 1_234, 10_000)),
    packet_cap_fen=st.sampled_from((0, 60, 1)),
    lucky_count=st.sampled_from((0, 2)),
    lucky_bps=st.just(0),
    shards=st.sampled_from((1, 1, 8)),
    join_opens=st.sampled_from(("00:00", "06:00")),
    join_closes=st.sampled_from(("24:00", "21:00")),
    bonus_fen=st.sampled_from((0, 1, 5_003)),
).map(lambda law: m.Law(**{**asdict(law), "lucky_bps": 2_500 if law.lucky_count else 0}))

days = st.builds(
    Day,
    join=uids,
    late=uids,
    late_at=st.sampled_from((("06:00", 0), *EDGES)),
    late_paid=st.sampled_from(("in time", "in time", "as joining closed")),
    wake=uids,
    edge=uids,
    edge_at=st.sampled_from(EDGES),
    waited_ms=st.sampled_from(WAITS),
    claim=uids,
    settle=st.sampled_from((("08:05", 0), ("08:05", -1), ("11:00", 0), None)),
    finish=st.booleans(),
    twice=st.booleans(),
)

payments = st.builds(
    Pay,
    uid=uid,
    back=st.sampled_from((0, 1, 1, 2)),
    transaction=st.sampled_from((1, 1, 1, 2, None)),
    right_amount=st.sampled_from((True, True, True, False)),
    right_buyer=st.sampled_from((True, True, True, False)),
    paid=st.sampled_from(("now", "missing", "unreadable", "future", "in time", "as joining closed", "late")),
    waited_ms=st.sampled_from(WAITS),
    copies=st.sampled_from((1, 1, 2, 3)),
)

commands: st.SearchStrategy[Command] = st.one_of(
    payments,
    payments,
    st.builds(Join, uids=taps, account=st.sampled_from((0, 1)), complete=st.sampled_from((True, True, False))),
    st.builds(CheckIn, uids=taps, waited_ms=st.sampled_from(WAITS)),
    st.builds(Claim, uids=taps),
    st.builds(Look, uid=uid),
    st.builds(PayUnknown, uid=uid, what=st.sampled_from(("text", "tail", "user"))),
    st.builds(
        Operate,
        verb=st.sampled_from(("settle", "settle", "finish", "finish", "void", "drain")),
        back=st.sampled_from((0, 1, 1, 2)),
    ),
)

outages = st.builds(
    Outage,
    # Less than whole minutes: the test takes some of it, as touches go by the real clock.
    lost_ms=st.sampled_from([500, *(minutes * 60_000 - 20_000 for minutes in (1, 5, 30, 59, 60, 90, 240))]),
    first=st.one_of(
        st.builds(CheckIn, uids=taps, waited_ms=st.sampled_from(WAITS)),
        st.builds(Pay, uid=uid, back=st.just(1), paid=st.just("in time")),
        st.builds(Look, uid=uid),
        st.builds(Operate, verb=st.just("settle")),
    ),
)

jumps = st.builds(
    Jump,
    ahead_ms=st.sampled_from((-86_400_000, -28_800_000, -90_000, -5_001, 5_001, 90_000, 28_800_000, 86_400_000)),
    during=st.one_of(st.builds(CheckIn, uids=taps, waited_ms=st.sampled_from(WAITS)), st.builds(Claim, uids=taps)),
)

troubles = st.one_of(
    st.builds(
        Extra,
        day=st.sampled_from((1, 1, 2)),
        boundary=st.sampled_from(("05:00", "08:00", "08:00", "08:05")),
        # Never at the very boundary: touches go by the real clock, which goes on meanwhile.
        offset_ms=st.sampled_from((-3_600_000, -1_800_000, -30_000, -10_000, 30_000, 1_800_000)),
        command=outages,
    ),
    st.builds(
        Extra,
        day=st.sampled_from((1, 1, 2)),
        boundary=st.sampled_from(BOUNDARIES),
        offset_ms=st.sampled_from((-60_000, -1, 0, 60_000)),
        command=jumps,
    ),
)

extras = st.builds(
    Extra,
    day=st.sampled_from((0, 1, 1, 2, 2, 3)),
    boundary=st.sampled_from(BOUNDARIES),
    offset_ms=st.sampled_from((-1, 0, 1, 60_000, -60_000)),
    command=commands,
)

games = st.builds(
    Game,
    law=laws,
    days=st.lists(days, min_size=2, max_size=DAYS).map(tuple),
    extras=st.tuples(st.lists(extras, max_size=20), st.lists(troubles, max_size=4)).map(
        lambda both: (*both[0], *both[1])
    ),
)

Script = list[tuple[int, Command]]


class Budget:
    """Whether there is time for another game; always, once one has failed and is being shrunk."""

    def __init__(self) -> None:
        self.until = monotonic() + SECONDS
        self.played = 0
        self.failed = False

    def is_spent(self) -> bool:
        return not self.failed and self.played >= AT_LEAST and monotonic() > self.until


@pytest.fixture
def budget() -> Budget:
    return Budget()


def ordinary(day: date, plan: Day) -> Script:
    """What people do who read the rules, and what the worker does."""
    morning, copies = day + timedelta(days=1), 1 + plan.twice

    def crowd(group: frozenset[int]) -> tuple[int, ...]:
        return tuple(sorted(group)) * copies

    evening, get_up = m.instant(day, "20:00"), m.instant(morning, "07:00")
    late, edge = (m.instant(morning, moment[0]) + moment[1] for moment in (plan.late_at, plan.edge_at))
    script: Script = [(evening, Join(crowd(plan.join | plan.late)))]
    script += [(evening, Pay(one, copies=copies)) for one in sorted(plan.join - plan.late)]
    script += [(late, Pay(one, 1, paid=plan.late_paid, waited_ms=plan.waited_ms)) for one in sorted(plan.late)]
    script += [(get_up, CheckIn(crowd(plan.wake))), (edge, CheckIn(crowd(plan.edge), plan.waited_ms))]
    if plan.settle is not None:
        due = m.instant(morning, plan.settle[0]) + plan.settle[1]
        script += [(due, Operate("settle")), (due, Claim(crowd(plan.claim)))]
    if plan.finish:
        script += [(m.instant(morning, "24:00"), Operate("finish", back=2))]
    again = [(at_ms + m.MINUTE_MS, command) for at_ms, command in script] if plan.twice else []
    return script + again


def script_of(game: Game) -> Script:
    """All commands in the order of time."""
    script: Script = []
    for number, plan in enumerate(game.days):
        script += ordinary(DAY + timedelta(days=number), plan)
    for extra in game.extras:
        at_ms = m.instant(DAY + timedelta(days=min(extra.day, len(game.days))), extra.boundary) + extra.offset_ms
        script.append((at_ms, extra.command))
    first = m.instant(DAY, "00:00")
    return sorted((step for step in script if step[0] >= first), key=lambda step: step[0])


@pytest.mark.long
@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(game=games)
async def test_every_answer_every_total_and_every_table_is_the_models(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, budget: Budget, game: Game
) -> None:
    if budget.is_spent():
        return
    exact_waits(monkeypatch)
    try:
        rules = asdict(game.law)
        bonus_fen = rules.pop("bonus_fen")  # not of the environment: it is planned
        async with forgetful(settings), new_world(settings, touched=False, **rules) as service:
            await plan_bonus(service, DAY - timedelta(days=2), bonus_fen)
            await play(service, game)
    except BaseException:
        budget.failed = True
        raise
    budget.played += 1


async def play(service: Service, game: Game) -> None:
    table = Table(service, game.law, DAY, len(game.days))
    for at_ms, command in script_of(game):
        await table.play(at_ms, command)
    await table.finish_all()
    await table.compare_totals()
    await table.compare_books()
    await table.compare_money()
