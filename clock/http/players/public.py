"""Public reads, without a token: rounds, talents, board. Other users appear with a nickname and a masked number."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any

import msgspec
from litestar.params import QueryParameter

from clock.books.months import has_left
from clock.domain.outcomes import Answer
from clock.domain.rounds import ENDED_STATES, SEALED_STATES, SETTLED_STATES, phase
from clock.domain.shapes import masked
from clock.fair.statements import FAILED, KINDS
from clock.proofs import statements
from clock.proofs.statements import Written
from clock.rounds.recorded import find, recorded
from clock.service import Service
from clock.tlog import reading

DEPTH = 10_000
"""The last place of the board, which bounds the cost of a page."""

SUMMARY_KEPT_S = 1
"""The guest's home counts down in seconds."""
SUMS = (
    *("refunded", "forfeited", "fee", "carried_in", "bonus", "pot"),
    *("carried_out", "bonus_back", "smallest", "largest"),
)
"""Of a round that has ended, in fen."""

KEPT_S = 60
"""What changes once a day."""

PacketLimit = Annotated[int, QueryParameter(ge=1, le=10_000)]


def person(nickname: str | None, mobile: str | None) -> dict[str, Any]:
    """A user as others see them; a nickname that contains the user's number shows it masked."""
    name, number = nickname or "", mobile or ""
    return {"nickname": name.replace(number, masked(number)) if number else name, "mobile": masked(number)}


async def talents(service: Service) -> Answer:
    """The talents of the last settled round; each ``None`` if there is none or it is not known yet."""
    today = service.asking.calendar.day_at(service.time.now_ms())
    row = await service.store.one("talents", today=today)
    shown: dict[str, Any] = {"round": row["day"].isoformat() if row else None}
    for who, field, column in (
        ("longest", "days", "longest_days"),
        ("luckiest", "money", "luckiest_fen"),
        ("earliest", "checked_in_at", "earliest_ms"),
    ):
        found = row is not None and row[f"{who}_uid"] is not None
        shown[who] = (
            {**person(row[f"{who}_nickname"], row[f"{who}_mobile"]), field: row[column]} if row and found else None
        )
    return Answer("ok", shown)


async def board(service: Service, page: int, limit: int) -> Answer:
    """The first :data:`DEPTH` users by income; ties go to the smaller uid."""
    first = (page - 1) * limit
    count = await service.store.one("count_board", depth=DEPTH) or {"total": 0}
    shown = max(0, min(limit, DEPTH - first))
    found = await service.store.all("board", limit=shown, offset=first) if shown else []
    items = [
        {"rank": first + i, **person(row["nickname"], row["mobile"]), "income_money": row["income_fen"]}
        for i, row in enumerate(found, 1)
    ]
    return Answer("ok", {"total": count["total"], "items": items})


async def figures(service: Service, day: date) -> Answer:
    """A round; sums in fen, ``None`` until they are final."""
    row = await service.store.one("get_round", day=day)
    if row is None:
        return Answer("not_found")
    round_ = recorded(row)
    ended, counted = round_.state in ENDED_STATES, row
    if not ended and round_.state not in SEALED_STATES:
        live = await service.asking.totals.get(day, round_.rules.shards)
        counted = {**row, **{name: getattr(live, name) for name in ("members", "winners", "late", "pool_fen")}}
    return Answer(
        "ok",
        {
            "day": day.isoformat(),
            "state": phase(round_.state, round_.at, service.time.now_ms()),
            "rules": msgspec.to_builtins(round_.rules),
            "members": counted["members"],
            "winners": counted["winners"],
            "late": counted["late"],
            "pool": counted["pool_fen"],
            **{name: row[f"{name}_fen"] if ended else None for name in SUMS},
            "packets": (0 if row["state"] == "void" else row["winners"]) if ended else None,
            "extensions": [
                {name: one[name] for name in ("cause", "reason", "since_ms", "by_ms", "shards", "asleep")}
                for one in await service.store.all("list_extensions", day=day)
            ],
            "seed_hash": row["seed_hash"].hex(),
            "seed": row["seed"].hex() if ended else None,
            "drawn": round_.packet_seed.hex() if round_.state in SETTLED_STATES else None,
            "archived": ended and await has_left(service.store, day),
        },
    )


def figures_kept_s(answer: Answer) -> int:
    """How long anybody may keep a round's figures: until it has ended they change with every check-in."""
    return KEPT_S if answer.data.get("seed") else SUMMARY_KEPT_S


async def packets(service: Service, day: date, page: int, limit: int) -> Answer:
    """A settled round's packets in fen, in the order of the split (``docs/split.md``)."""
    row = await service.store.one("get_round", day=day)
    if row is None:
        return Answer("not_found")
    if row["state"] == "void":
        return Answer("ok", {"total": 0, "items": []})
    if row["state"] not in ENDED_STATES:
        return Answer("not_settled")
    if await has_left(service.store, day):
        return Answer("archived")
    found = await service.store.all("packets_page", day=day, limit=limit, offset=(page - 1) * limit)
    return Answer("ok", {"total": row["winners"], "items": [packet["fen"] for packet in found]})


async def proof(service: Service, day: date) -> Answer:
    """A round's signed statements, the keys that have signed them, where they are in the log, and what they do not
    prove. P has the seed, and is not shown before the round is settled."""
    round_ = await find(service.store, day)
    if round_ is None:
        return Answer("not_found")
    said = await statements.find(service.store, day)
    shown = {kind: said.notes.get(kind) for kind in KINDS}
    if round_.state not in ENDED_STATES:
        shown["published"] = None
    places = {kind: one for kind, one in (await reading.logged(service.store, day)).items() if shown[kind]}
    notes = [*filter(None, shown.values()), *(one["note"] for one in places.values())]
    return Answer(
        "ok",
        {
            "round": day.isoformat(),
            "keys": await statements.keys_of(service.store, notes),
            "statements": shown,
            "logged": {kind: _place(places.get(kind)) for kind in KINDS},
            "witnesses": _witnesses(service, places),
            "missing": list(_unproved(said, shown, places)),
        },
    )


def _place(one: dict[str, Any] | None) -> dict[str, Any] | None:
    """Of a statement in the log."""
    if one is None:
        return None
    return {**{name: one[name] for name in ("index", "size", "path")}, "checkpoint": one["note"] + one["lines"]}


def _witnesses(service: Service, places: dict[str, dict[str, Any]]) -> list[str]:
    """Those that are asked now, and those that have signed where the statements are: an old round keeps its proof when
    its witness has retired, or has a new key."""
    signed = [key for one in places.values() for key in one["witnesses"]]
    return list(dict.fromkeys([*service.witnessing.keys, *signed]))


def _unproved(said: Written, shown: dict[str, str | None], places: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What the statements that are shown do not prove, with their ``places`` in the log."""
    if not shown["opened"]:
        yield "statements"
    if not shown["opened"] or said.opened.draw is None:
        yield "beacon"
    if shown["published"] and said.published.beacon in FAILED:
        yield "draw"
    last = next((kind for kind in ("void", "closed", "opened") if shown[kind]), "opened")
    if last not in places or not places[last]["lines"]:
        yield "witnesses"


def proof_kept_s(answer: Answer) -> int:
    """How long anybody may keep a round's statements: until the last one is out there may be another, and until each
    is in the log and one of the witnesses has signed that, its place and that signature."""
    shown, places = answer.data.get("statements", {}), answer.data.get("logged", {})
    names = [key.partition("+")[0] for key in answer.data.get("witnesses", ())]
    checkpoints = [place["checkpoint"] if (place := places[kind]) else "" for kind, note in shown.items() if note]
    waits = not all(checkpoints) or (
        names and not all(any(f"\n— {name} " in one for name in names) for one in checkpoints)
    )
    return KEPT_S if (shown.get("published") or shown.get("void")) and not waits else SUMMARY_KEPT_S
