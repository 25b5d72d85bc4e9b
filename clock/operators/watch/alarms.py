"""What needs a person, of all that was seen."""

from collections.abc import Iterator
from typing import Any

from clock.game.gametime import Verdict
from clock.operators.watch.room import FULL, ROOMS, Used
from clock.operators.watch.seen import Watched

OUTBOX_OLD_MS = 10_000
SETTLEMENT_LATE_MS = 120_000
DRAW_AWAITED_MS = 60_000
DISK_FREE = 0.1
HOST_AHEAD_MS = 20_000
"""Tokens have a minute of leeway, signatures five."""
BAD_SIGNATURES = 10
"""In five minutes: a secret was changed on one side, or somebody forges callbacks."""
SILENT_SECONDS = 60
EVENTS_OLD_SECONDS = 600
LOG_WAITING_SECONDS = 60
WITNESS_SECONDS = 3_600
"""A checkpoint that a witness has not signed for so long."""


def alarms(seen: Watched) -> list[dict[str, Any]]:
    """What needs a person, the worst first: a word, the figures that belong to it, and its paragraph of the runbook."""
    failed = sum(one["count"] for one in seen.outgoing if one["state"] == "failed")
    failed_fen = sum(one["fen"] for one in seen.outgoing if one["state"] == "failed")
    free = 1.0 if seen.disk_free is None else seen.disk_free
    failing, connections, fullest = (seen.traffic[name] for name in ("failed_per_second", "connections", "fullest"))
    found: list[tuple[bool, dict[str, Any]]] = [
        (not seen.redis, {"code": "redis_away"}),
        (not seen.postgres, {"code": "postgres_away"}),
        (seen.redis and not seen.worker, {"code": "worker_away"}),
        (seen.redis and seen.replicas < seen.replicas_wanted, {"code": "replica_short", "replicas": seen.replicas}),
        (bool(seen.clocks and seen.clocks.off), {"code": "clocks_differ", "clocks": _off(seen.clocks)}),
        *(behind(seen, part) for part in ("redis", "books")),
        (seen.differences > 0, {"code": "books_differ", "count": seen.differences}),
        (seen.promises > 0, {"code": "promises", "count": seen.promises, "day": seen.promises_day}),
        *_contradicted(seen),
        (
            seen.settlement_late_ms > SETTLEMENT_LATE_MS,
            {"code": "settlement_late", "day": seen.late_day, "seconds": seen.settlement_late_ms // 1000},
        ),
        (
            seen.draw_awaited_ms > DRAW_AWAITED_MS,
            {"code": "draw_awaited", "day": seen.awaited_day, "seconds": seen.draw_awaited_ms // 1000},
        ),
        (seen.draws_failed > 0, {"code": "draw_failed", "count": seen.draws_failed, "day": seen.failed_day}),
        (
            seen.outbox_oldest_ms > OUTBOX_OLD_MS,
            {"code": "outbox_old", "count": seen.outbox_entries, "seconds": seen.outbox_oldest_ms // 1000},
        ),
        (
            seen.days_without > 0,
            {"code": "partitions_missing", "count": seen.days_without, "day": seen.first_without},
        ),
        (seen.disk_failing, {"code": "disk_failing"}),
        (free < DISK_FREE, {"code": "disk_low", "percent": round(100 * free)}),
        *_of_rooms(seen),
        *_of_hosts(seen),
        (
            seen.traffic["bad_signatures"] >= BAD_SIGNATURES,
            {"code": "bad_signatures", "count": seen.traffic["bad_signatures"]},
        ),
        *(
            (seconds > SILENT_SECONDS, {"code": "channel_silent", "channel": channel, "seconds": seconds})
            for channel, seconds in seen.channels_silent.items()
        ),
        (fullest > FULL, {"code": "connections", "count": connections, "percent": round(fullest * 100)}),
        (failing > 0, {"code": "failing", "per_second": failing}),
        (failed > 0, {"code": "money_failed", "count": failed, "fen": failed_fen}),
        (seen.outgoing_stuck > 0, {"code": "money_stuck", "count": seen.outgoing_stuck}),
        (
            seen.events_oldest_seconds > EVENTS_OLD_SECONDS,
            {"code": "events_waiting", "seconds": seen.events_oldest_seconds},
        ),
        (seen.events_given_up > 0, {"code": "events_given_up", "count": seen.events_given_up}),
        *_of_log(seen),
        (seen.quarantine_waiting > 0, {"code": "quarantine", "count": seen.quarantine_waiting}),
        (seen.unanswered_orders > 0, {"code": "unanswered", "count": seen.unanswered_orders}),
    ]
    return [{**alarm, "runbook": f"/ops/runbook#{alarm['code']}"} for rings, alarm in found if rings]


def _contradicted(seen: Watched) -> Iterator[tuple[bool, dict[str, Any]]]:
    """For each witness that has seen a log which this one does not continue."""
    for one in seen.witnesses:
        yield one["contradicts"], {"code": "log_contradicted", "witness": one["witness"], "said": one["said"]}


def _of_log(seen: Watched) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Statements that wait to be taken in, and witnesses that do not sign."""
    waits = {"code": "log_waiting", "seconds": seen.log_waiting_seconds}
    yield seen.log_waiting_seconds > LOG_WAITING_SECONDS, waits
    for one in seen.witnesses:
        silent = one["unsigned_seconds"] > WITNESS_SECONDS and not one["contradicts"]
        about = {"witness": one["witness"], "seconds": one["unsigned_seconds"], "said": one["said"]}
        yield silent, {"code": "witness_silent", **about}


def _of_rooms(seen: Watched) -> Iterator[tuple[bool, dict[str, Any]]]:
    """What grows is called by its own name; dead rows by the table that has them, months by the oldest."""
    for name, rings_from in ROOMS.items():
        room = seen.room.get(name, Used(0, 0))
        alarm = {"code": name, "percent": round(100 * room.part), "count": room.used}
        yield room.part > rings_from, alarm
    due = {"code": "archive_due", "count": len(seen.months_due), "month": min(seen.months_due, default="")}
    yield bool(seen.months_due), due
    yield seen.dead_rows > 0, {"code": "dead_rows", "count": seen.dead_rows, "table": seen.dead_rows_table}


def _of_hosts(seen: Watched) -> Iterator[tuple[bool, dict[str, Any]]]:
    """``host_clock`` for each host of API processes whose clock is off: it judges tokens and signatures by it."""
    for host, ahead_ms in seen.traffic["ahead_ms"].items():
        yield abs(ahead_ms) > HOST_AHEAD_MS, {"code": "host_clock", "host": host, "ahead_ms": ahead_ms}


def _off(verdict: Verdict | None) -> dict[str, int]:
    """By how many ms each clock that stands alone is ahead."""
    return {name: verdict.ahead_ms[name] for name in verdict.off} if verdict else {}


def behind(seen: Watched, part: str) -> tuple[bool, dict[str, Any]]:
    """``redis_behind`` or ``books_behind``, with the first day and the most users of a step."""
    found = [one for one in seen.differing if one.behind == part]
    users: dict[str, int] = {}
    for one in found:
        users[one.step] = users.get(one.step, 0) + one.count
    day = min((one.day for one in found), default="")
    return bool(found), {"code": f"{part}_behind", "day": day, "count": max(users.values(), default=0)}
