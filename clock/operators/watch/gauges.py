"""What was seen, for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from clock.domain.rounds import STEPS
from clock.operators.watch.alarms import behind
from clock.operators.watch.seen import Watched

KINDS, STATES = ("payout", "refund", "withdrawal"), ("owed", "unknown", "processing", "failed")


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def measured(seen: Watched) -> Iterator[GaugeMetricFamily]:
    """What was seen, for Prometheus. Every API process says the same of the whole service: take ``max``."""
    yield _gauge("clock_redis_up", "Whether Redis answers", seen.redis)
    yield _gauge("clock_postgres_up", "Whether Postgres answers", seen.postgres)
    if seen.redis:
        yield _gauge("clock_worker_up", "Whether a worker has been heard of in the last ten seconds", seen.worker)
        yield _gauge("clock_replicas", "Replicas of Redis", seen.replicas)
        yield _gauge("clock_replicas_wanted", "Replicas that an answer waits for", seen.replicas_wanted)
        yield _gauge("clock_connections", "Connections of clients to all API processes", seen.traffic["connections"])
        yield _gauge(
            "clock_connections_fullest", "Of what one process can take, the fullest has", seen.traffic["fullest"]
        )
        yield _gauge(
            "clock_bad_signatures", "Callbacks refused for their signature, 5 min", seen.traffic["bad_signatures"]
        )
        yield _gauge("clock_disk_failing", "Whether Redis could not write its file", seen.disk_failing)
        silent = GaugeMetricFamily("clock_channel_silent_seconds", "Since when it has not answered", labels=["channel"])
        for channel, seconds in seen.channels_silent.items():
            silent.add_metric([channel], seconds)
        host = GaugeMetricFamily("clock_host_ahead_seconds", "How far an API host's clock is ahead", labels=["host"])
        for name, ms in seen.traffic["ahead_ms"].items():
            host.add_metric([name], ms / 1000)
        yield from (silent, host)
        yield _gauge("clock_outbox_entries", "Entries that are not in Postgres yet", seen.outbox_entries)
        yield _gauge("clock_outbox_oldest_seconds", "How long the oldest of them waits", seen.outbox_oldest_ms / 1000)
        for part in ("redis", "books"):
            users = behind(seen, part)[1]["count"]
            yield _gauge(f"clock_{part}_behind", f"Users of a step that {part} miss", users)
        if seen.clocks:
            ahead = GaugeMetricFamily(
                "clock_ahead_seconds", "How far a clock is ahead of the middle one", labels=["of"]
            )
            for name, ms in seen.clocks.ahead_ms.items():
                ahead.add_metric([name], ms / 1000)
            yield ahead
            yield _gauge(
                "clock_clocks_off", "Clocks that stand alone: what cannot be taken back waits", len(seen.clocks.off)
            )
        yield from _of_rounds(seen)
    yield from _of_rooms(seen)
    if seen.disk_free is not None:
        yield _gauge("clock_disk_free", "Part of the data directory's file system that is free", seen.disk_free)
    if seen.postgres:
        late_s = seen.settlement_late_ms / 1000
        yield _gauge("clock_settlement_late_seconds", "Since when the oldest due settlement waits", late_s)
        yield _gauge("clock_quarantine_waiting", "Quarantined callbacks without a decision", seen.quarantine_waiting)
        yield _gauge("clock_promises", "Users who were told what the books could not take", seen.promises)
        yield _gauge("clock_outgoing_stuck", "Payouts and refunds that were tried for hours", seen.outgoing_stuck)
        yield _gauge("clock_reminders_due", "Reminders that wait to be sent", seen.reminders_due)
        oldest_s = seen.events_oldest_seconds
        yield _gauge("clock_events_oldest_seconds", "How long the oldest event waits for its receiver", oldest_s)
        yield _gauge("clock_events_given_up", "Events given up in the last day", seen.events_given_up)
        yield _gauge("clock_unanswered_orders", "Orders settled without an answer", seen.unanswered_orders)
        yield _gauge("clock_reconcile_differences", "In the newest comparisons of a week", seen.differences)
        yield _gauge("clock_days_without_partition", "Days of the next month that lack one", seen.days_without)
        yield _gauge("clock_months_due", "Months that are to be archived", len(seen.months_due))
        yield _gauge("clock_dead_rows", "Of a table that vacuuming does not keep up with", seen.dead_rows)
        yield from _of_proofs(seen)
        yield from _of_outgoing(seen)


def _of_rooms(seen: Watched) -> Iterator[GaugeMetricFamily]:
    used = GaugeMetricFamily("clock_room_used", "Bytes, connections, locks, transaction ids in use", labels=["of"])
    part = GaugeMetricFamily("clock_room_part", "Which part that is of all, where it is known", labels=["of"])
    for name, room in seen.room.items():
        used.add_metric([name], room.used)
        if room.most:
            part.add_metric([name], room.part)
    yield from (used, part)


def _of_rounds(seen: Watched) -> Iterator[GaugeMetricFamily]:
    users = GaugeMetricFamily("clock_round_users", "Users who took a step of a round", labels=["round", "step"])
    pool = GaugeMetricFamily("clock_round_pool_fen", "Stakes of a round's members", labels=["round"])
    packets = GaugeMetricFamily("clock_round_packets_published", "Packets that can be claimed", labels=["round"])
    for name, sums in seen.rounds.items():
        for step in STEPS:
            users.add_metric([name, step.name], getattr(sums, step.counter))
        pool.add_metric([name], sums.pool_fen)
        packets.add_metric([name], sums.published)
    yield from (users, pool, packets)


def _of_proofs(seen: Watched) -> Iterator[GaugeMetricFamily]:
    awaited_s = seen.draw_awaited_ms / 1000
    yield _gauge("clock_draw_awaited_seconds", "Since when the draw that a round waits for is out", awaited_s)
    yield _gauge("clock_draws_failed", "Rounds that are not over and have no draw: split equal", seen.draws_failed)
    yield _gauge("clock_log_waiting_seconds", "How long a statement waits for the log", seen.log_waiting_seconds)
    unsigned_s = max((one["unsigned_seconds"] for one in seen.witnesses), default=0)
    yield _gauge("clock_log_unsigned_seconds", "How long a checkpoint waits for the slowest witness", unsigned_s)
    contradict = sum(one["contradicts"] for one in seen.witnesses)
    yield _gauge("clock_log_contradicted", "Witnesses that have seen another log", contradict)


def _of_outgoing(seen: Watched) -> Iterator[GaugeMetricFamily]:
    names = ["kind", "state"]
    count = GaugeMetricFamily("clock_outgoing", "Payouts and refunds that have not arrived", labels=names)
    fen = GaugeMetricFamily("clock_outgoing_fen", "Their sum", labels=names)
    oldest = GaugeMetricFamily(
        "clock_outgoing_oldest_seconds", "How long ago the oldest of them was owed", labels=names
    )
    found = {(one["kind"], one["state"]): one for one in seen.outgoing}
    for kind in KINDS:
        for state in STATES:
            one = found.get((kind, state), {"count": 0, "fen": 0, "oldest_seconds": 0})
            count.add_metric([kind, state], one["count"])
            fen.add_metric([kind, state], one["fen"])
            oldest.add_metric([kind, state], max(0, one["oldest_seconds"]))
    yield from (count, fen, oldest)
