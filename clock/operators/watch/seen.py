"""What is seen of the whole service, from outside any request."""

from typing import Any

import msgspec

from clock.audit.counts import Lag
from clock.game.gametime import Verdict
from clock.game.totals import Totals
from clock.operators.live import add_up
from clock.operators.watch.room import Used


class Watched(msgspec.Struct, kw_only=True):
    """What was seen. Postgres' part keeps its zeros, and Redis' its, where ``postgres`` or ``redis`` is false."""

    redis: bool = False
    postgres: bool = False
    worker: bool = False
    replicas: int = 0
    replicas_wanted: int = 0
    outbox_entries: int = 0
    outbox_oldest_ms: int = 0
    differing: list[Lag] = []
    """Where Redis and the books count differently, by the worker's last comparison."""
    clocks: Verdict | None = None
    """How far the clocks are apart, by a worker's last comparison."""
    disk_failing: bool = False
    """Redis could not write its file."""
    disk_free: float | None = None
    """Part of the file system with ``CLOCK_DATA_DIR`` that is free, where there is one."""
    room: dict[str, Used] = {}
    """What grows, by :data:`clock.operators.watch.room.ROOMS`, where it is known."""
    dead_rows: int = 0
    """Of the table that needs vacuuming the most."""
    dead_rows_table: str = ""
    days_without: int = 0
    """Of the next month, days for whose rows a table of the books has no partition; the first of them."""
    first_without: str = ""
    months_due: list[str] = []
    """``YYYY-MM``, older than ``CLOCK_KEEP_MONTHS``, that can be archived, oldest first."""
    channels_silent: dict[str, int] = {}
    """Payment channels that do not answer the worker, and for how many seconds."""
    traffic: dict[str, Any] = msgspec.field(default_factory=lambda: add_up([]))
    """Of all API processes, by :func:`clock.operators.live.traffic`."""
    rounds: dict[str, Totals] = {}
    """``yesterday`` and ``today``."""
    days: dict[str, str] = {}
    states: dict[str, str] = {}
    settlement_late_ms: int = 0
    late_day: str = ""
    draw_awaited_ms: int = 0
    """For how long a beacon's draw is out that a sealed round does not have; its day."""
    awaited_day: str = ""
    draws_failed: int = 0
    """Rounds with winners that are not over and were split equal, because their draw was missing or they were closed
    too late; the first of them."""
    failed_day: str = ""
    unanswered_orders: int = 0
    quarantine_waiting: int = 0
    outgoing: list[dict[str, Any]] = []
    """By kind and state, what has not arrived: ``count``, ``fen``, ``oldest_seconds``."""
    outgoing_stuck: int = 0
    reminders_due: int = 0
    events_oldest_seconds: int = 0
    """How long the oldest event waits to be taken by its receiver."""
    events_given_up: int = 0
    """In the last day."""
    promises: int = 0
    """Users who were told what the books could not take, and whom nobody has seen to; the first of their rounds."""
    promises_day: str = ""
    log_waiting_seconds: int = 0
    """How long the oldest statement waits to be taken into the log."""
    witnesses: list[dict[str, Any]] = []
    """Of each that the settings name: ``witness``, for how long it lacks a checkpoint (``unsigned_seconds``), why
    (``said``), and whether it says that it has seen another log (``contradicts``)."""
    differences: int = 0
    """Of the newest comparison of each round of the last week."""
