"""Which faults happen when: a pure function of the seed and the size of the run, so that a seed replays them."""

import random
from collections import defaultdict
from typing import Literal

import msgspec

from tests.faults.proxy import STEPS
from tests.faults.stack import Topology, names_of

Phase = Literal["evening", "midnight", "morning", "claims"]

PHASES: tuple[Phase, ...] = ("evening", "midnight", "morning", "claims")
"""Of each round, in the order in which they are played; at midnight the round before is finished."""

CALLS: dict[Phase, tuple[str, ...]] = {
    "evening": ("join", "pay", "status", "profile", "drained", "commit", "order"),
    "midnight": ("claim", "finish", "commit", "drained", "xrange"),
    "morning": ("check_in", "pay", "status", "commit", "drained"),
    "claims": ("claim", "close", "publish", "settle", "commit", "drained", "xrange"),
}
"""The calls whose requests and replies are lost in a phase, because they happen in it."""

LOSSES = ("lose_reply", "lose_request", "refuse")


class Fault(msgspec.Struct, frozen=True):
    at_s: float
    """Seconds from the beginning of the phase."""
    kind: str
    what: str = ""
    seconds: float = 0
    """How long it lasts, where it lasts."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    rounds: int
    users: int
    """Of each round."""
    phase_s: float
    """How long the load of a phase is spread."""
    kills: int
    """Of each process, in all."""
    others: int
    """How often each other kind of fault happens."""
    away_s: float
    """How long Postgres is away, once."""
    bound_s: float
    """The whole run takes no longer."""
    absences: int = 1
    """Rounds that no worker is there to settle in time."""
    topology: Topology = "one"
    moves: int = 0
    """Slots that go to another primary."""
    swallows: int = 0
    """How often a network is cut without a word."""


SMALL = Size(rounds=1, users=240, phase_s=5, kills=2, others=1, away_s=4, bound_s=240)
LONG = Size(rounds=8, users=500, phase_s=18, kills=27, others=8, away_s=60, bound_s=1500, absences=3)

SIZES: dict[tuple[str, Topology], Size] = {
    ("small", "one"): SMALL,
    ("long", "one"): LONG,
    ("small", "cluster"): msgspec.structs.replace(SMALL, topology="cluster", moves=2, swallows=2),
    ("long", "cluster"): msgspec.structs.replace(LONG, topology="cluster", rounds=6, absences=2, moves=12, swallows=12),
}


class Schedule(msgspec.Struct, frozen=True):
    seed: int
    size: Size
    phases: dict[tuple[int, Phase], list[Fault]]
    absent: frozenset[int]
    """Rounds without a worker from 07:55 to 09:00."""


def schedule(seed: int, size: Size) -> Schedule:
    chance = random.Random(f"faults {seed}")
    places = [(number, phase) for number in range(size.rounds) for phase in PHASES]
    phases: dict[tuple[int, Phase], list[Fault]] = defaultdict(list)

    def put(place: tuple[int, Phase], kind: str, what: str = "", seconds: float = 0) -> None:
        phases[place].append(Fault(round(chance.uniform(0, size.phase_s), 3), kind, what, seconds))

    for name in names_of(size.topology):
        for place in _spread(chance, places, size.kills):
            put(place, "kill", name, round(chance.uniform(0, 1.5), 3))
    for place in places:
        for call in CALLS[place[1]]:
            # Every call of a phase loses a reply in every round; now and then something else happens to it.
            at_s = 0 if call in STEPS else round(chance.uniform(0, size.phase_s / 2), 3)
            phases[place].append(Fault(at_s, "lose_reply", call))
            if chance.random() < 0.5:
                put(place, chance.choice(LOSSES), call)
        for one in _troubles(chance):
            phases[place].append(Fault(0, "trouble", one))
    for kind in ("cut", "kill_api_process", "out_of_memory", "freeze_valkey"):
        for place in _spread(chance, places, size.others):
            lasts = chance.uniform(5.5, 7) if kind == "freeze_valkey" else chance.uniform(0.5, 2)
            put(place, kind, seconds=round(lasts, 3))
    for place in _spread(chance, [one for one in places if one[1] == "morning"], max(1, size.others // 2)):
        put(place, "api_away", seconds=round(chance.uniform(6, 9), 3))
    for place in _spread(chance, [one for one in places if one[1] in ("evening", "morning")], 1):
        phases[place].append(Fault(1, "postgres_away", seconds=size.away_s))
    for place in _spread(chance, places, max(1, size.others // 3)):
        put(place, "lose_redis")
    for kind, times in (("move_slot", size.moves), ("swallow", size.swallows)):
        for place in _spread(chance, places, times):
            put(place, kind, seconds=round(chance.uniform(0, 1) if kind == "move_slot" else chance.uniform(1, 6), 3))
    for faults in phases.values():
        faults.sort(key=lambda fault: fault.at_s)
    absent = frozenset(chance.sample(range(size.rounds), min(size.rounds, size.absences)))
    return Schedule(seed, size, dict(phases), absent)


def _spread(chance: random.Random, places: list[tuple[int, Phase]], count: int) -> list[tuple[int, Phase]]:
    """``count`` places, every one about equally often."""
    found: list[tuple[int, Phase]] = []
    while len(found) < count:
        found += chance.sample(places, len(places))
    return found[:count]


def _troubles(chance: random.Random) -> list[str]:
    """What the provider's callbacks, and its answers to the service, suffer in a phase."""
    knobs = [
        "callback_twice=0.3",
        "callback_lost=0.1",
        "callback_forged=0.2",
        "callback_delay_ms=1500",
        "time_out_after=0.25",
        "time_out_before=0.15",
        "processing=0.3",
        "lapses=0.03",
    ]
    return [",".join(chance.sample(knobs, chance.randint(3, len(knobs))))]
