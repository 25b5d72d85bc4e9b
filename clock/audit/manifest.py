"""What was drawn against the seed, the beacon and C; the manifest against that and against the packets in Redis."""

import asyncio
from collections import defaultdict
from contextlib import aclosing
from typing import Any

from clock.audit.rebuild import PIECES
from clock.audit.report import Difference, Report
from clock.domain import progress
from clock.domain.rounds import PUBLISHED_STATES, SPLIT_STATES
from clock.domain.split import split
from clock.fair.statements import NONE, drawn_from, signature_in
from clock.game import keys
from clock.proofs import statements
from clock.rounds.recorded import Recorded
from clock.service import Service


async def compare_packets(service: Service, round_: Recorded, here: list[int], report: Report) -> None:
    """``here``: the shards that are in Redis. Raises :class:`~clock.domain.outcomes.Unavailable`."""
    if round_.state not in SPLIT_STATES:
        return
    day, store = round_.day, service.store
    await _compare_drawn(service, round_, report)
    expected = (
        await asyncio.to_thread(split, round_.packet_seed, round_.pot_fen, round_.winners, round_.packet_rules)
    ).packets_fen
    place, as_drawn = 0, True
    counted: dict[int, int] = defaultdict(int)
    others: set[int] = set()
    async with aclosing(store.pages("packet_pieces", PIECES, day=day, piece=keys.PIECE)) as pages:
        async for page in pages:
            for piece in page:
                drawn = expected[place : place + piece["packets"]]
                as_drawn = as_drawn and piece["fens"] == " ".join(map(str, drawn))
                place += piece["packets"]
                counted[piece["shard"]] += piece["packets"]
            if round_.state in PUBLISHED_STATES:
                others |= await _others(service, round_, [piece for piece in page if piece["shard"] in here])
            progress.at("reconcile_packets", place, round_.winners)
    for shard in sorted(others):
        report.differences.append(
            Difference("packets", f"shard {shard}", "Redis has others", f"{counted[shard]} packets")
        )
    if not as_drawn or place != len(expected):
        sums = await store.all("manifest_sums", day=day)
        books = f"{sum(one['fen'] for one in sums)} fen in {place}"
        report.differences.append(Difference("manifest", str(day), books, f"{sum(expected)} by the seed"))


async def _compare_drawn(service: Service, round_: Recorded, report: Report) -> None:
    """What was drawn follows from the seed, the signature of the draw and C, and P says the same of all of them."""
    if round_.salt_key is None:
        return
    said, had = await statements.find(service.store, round_.day), round_.draw or NONE
    if absent := [kind for kind in ("closed", "published") if kind not in said.texts]:
        report.differences.append(Difference("drawn", str(round_.day), "no statement", ", ".join(absent)))
        return
    drawn = drawn_from(round_.seed, signature_in(had), said.texts["closed"]).hex()
    expected = {"drawn": drawn, "beacon": had, "split": round_.packet_rules.mode}
    found = [("books", "drawn", round_.packet_seed.hex())]
    found += [("P", name, getattr(said.published, name)) for name in expected]
    for where, name, value in found:
        if value != expected[name]:
            report.differences.append(
                Difference("drawn", f"{name} of {round_.day}", f"{where} {value}", expected[name])
            )


async def _others(service: Service, round_: Recorded, page: list[dict[str, Any]]) -> set[int]:
    """Shards of which a list of packets is another in Redis."""
    pipe = service.redis.pipeline(transaction=False)
    for piece in page:
        name = keys.piece(keys.name(round_.day, piece["shard"], "packets"), piece["piece"])
        pipe.execute_command("LRANGE", name, 0, -1)
    lists = await pipe.execute() if page else []
    return {
        piece["shard"] for piece, found in zip(page, lists, strict=True) if b" ".join(found) != piece["fens"].encode()
    }
