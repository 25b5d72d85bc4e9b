"""The data of what is happening now: for operators, load balancers, and development."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from clock.domain.rounds import Phase


class Latency(Struct):
    """In ms, of the last moment; null where nothing was answered."""

    p50: float | None
    p95: float | None
    p99: float | None


class VerbTraffic(Struct):
    per_second: float
    latency_ms: Latency


class Traffic(Struct):
    """Of all API processes."""

    processes: int
    per_second: float
    failed_per_second: float
    latency_ms: Latency
    verbs: dict[str, VerbTraffic]
    batches_per_second: float
    batch_users: Annotated[float, Meta(description="Users that one call of a script serves")]
    largest_batch: int
    connections: int
    fullest: Annotated[float, Meta(description="Of the connections that a process can take, the fullest has this part")]
    bad_signatures: Annotated[int, Meta(description="Callbacks refused for their signature, in five minutes")]
    ahead_ms: Annotated[dict[str, int], Meta(description="By host, how far its clock is ahead of Redis'")]


class Totals(Struct):
    """A round's counters in Redis; sums in fen."""

    state: str
    orders: int
    members: int
    winners: int
    late: int
    pool_fen: int
    published: int
    published_fen: int
    claimed: int
    claimed_fen: int
    refused_payments: int
    quarantined: int


class Lag(Struct):
    """`behind` misses `count` users of a shard at a step."""

    day: str
    shard: int
    step: str
    behind: Literal["books", "redis"]
    count: int


class Clocks(Struct):
    """How far the clocks are apart."""

    at_ms: int
    ahead_ms: dict[str, int]
    off: Annotated[list[str], Meta(description="Clocks that stand alone: what cannot be taken back waits")]


class Room(Struct):
    """What grows: bytes, connections, locks, transaction ids."""

    used: int
    most: Annotated[int, Meta(description="How much there can be; 0: not known")]


class OnItsWay(Struct):
    """Money that has not arrived."""

    kind: Literal["payout", "refund", "withdrawal"]
    state: str
    count: int
    fen: int
    oldest_seconds: int


class WatchedWitness(Struct):
    """A witness of the log of statements."""

    witness: Annotated[str, Meta(description="Its name")]
    said: Annotated[str, Meta(description="Why it has not signed; empty: it has")]
    contradicts: Annotated[bool, Meta(description="It says that it has seen another log")]
    unsigned_seconds: Annotated[int, Meta(description="For how long it lacks a checkpoint")]


class Alarm(Struct):
    """Something that needs a person: a word (docs/operations.md has them all), and the figures that belong to it."""

    code: str
    count: int | UnsetType = UNSET
    seconds: int | UnsetType = UNSET
    fen: int | UnsetType = UNSET
    percent: int | UnsetType = UNSET
    replicas: int | UnsetType = UNSET
    day: str | UnsetType = UNSET
    clocks: dict[str, int] | UnsetType = UNSET
    host: str | UnsetType = UNSET
    ahead_ms: int | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    witness: str | UnsetType = UNSET
    said: str | UnsetType = UNSET
    table: str | UnsetType = UNSET
    month: str | UnsetType = UNSET
    per_second: float | UnsetType = UNSET
    runbook: Annotated[str | UnsetType, Meta(description="Where its paragraph of the runbook is")] = UNSET


class Live(Struct):
    """The whole service. Redis' figures are blank while `redis` is false, those of the books while `postgres` is."""

    redis: bool
    postgres: bool
    worker: Annotated[bool, Meta(description="A worker has been heard of in the last ten seconds")]
    replicas: int
    replicas_wanted: int
    outbox_entries: Annotated[int, Meta(description="Entries that are not in Postgres yet")]
    outbox_oldest_ms: int
    differing: list[Lag]
    clocks: Clocks | None
    disk_failing: bool
    disk_free: Annotated[float | None, Meta(description="Part of the data directory's file system")]
    room: Annotated[dict[str, Room], Meta(description="What is known of the room for what grows")]
    dead_rows: Annotated[int, Meta(description="Of the table that needs vacuuming the most; 0: none needs it")]
    dead_rows_table: str
    days_without: Annotated[int, Meta(description="Days of the next month for whose rows there is no partition")]
    first_without: str
    months_due: Annotated[list[str], Meta(description="`YYYY-MM`, to be archived, oldest first")]
    channels_silent: Annotated[dict[str, int], Meta(description="By channel, seconds without an answer")]
    traffic: Traffic
    rounds: Annotated[dict[str, Totals], Meta(description="`yesterday` and `today`")]
    days: Annotated[dict[str, str], Meta(description="Their dates")]
    states: Annotated[dict[str, Phase], Meta(description="By date, of the rounds that are not over")]
    settlement_late_ms: int
    late_day: str
    draw_awaited_ms: Annotated[int, Meta(description="For how long a draw is out that a sealed round does not have")]
    awaited_day: str
    draws_failed: Annotated[int, Meta(description="Rounds that are not over and were split equal, for want of a draw")]
    failed_day: str
    unanswered_orders: int
    quarantine_waiting: int
    outgoing: list[OnItsWay]
    outgoing_stuck: int
    reminders_due: int
    events_oldest_seconds: Annotated[int, Meta(description="How long the oldest event waits for its receiver")]
    events_given_up: Annotated[int, Meta(description="Events given up in the last day")]
    promises: Annotated[int, Meta(description="Users who were told what the books could not take")]
    promises_day: Annotated[str, Meta(description="The first of their rounds")]
    log_waiting_seconds: Annotated[int, Meta(description="How long a statement waits to be taken into the log")]
    witnesses: list[WatchedWitness]
    differences: int
    alarms: Annotated[list[Alarm], Meta(description="The worst first")]
    now_ms: Annotated[int | None, Meta(description="The game's clock; null: not known yet")]
    timezone: str


class Alive(Struct):
    status: Literal["ok"]


class Durability(Struct):
    """What Redis is set to; `unknown`: it does not say."""

    mode: Literal["fsync", "replica"] | UnsetType = UNSET
    replicas: int | UnsetType = UNSET
    appendonly: str | UnsetType = UNSET
    appendfsync: str | UnsetType = UNSET
    maxmemory_policy: str | UnsetType = field(name="maxmemory-policy", default=UNSET)
    no_appendfsync_on_rewrite: str | UnsetType = field(name="no-appendfsync-on-rewrite", default=UNSET)


class Backlog(Struct):
    entries: int
    oldest_ms: int


class Ready(Struct):
    """Whether the process should get traffic. Redis alone decides."""

    ready: bool
    redis: bool
    postgres: bool
    schema: Annotated[bool, Meta(description="The database has exactly this version's migrations")]
    worker: bool
    durability: Durability
    outbox: Backlog | UnsetType = UNSET


class Token(Struct):
    token: Annotated[str, Meta(description="For `Authorization: Bearer`")]


class Moved(Struct):
    now_ms: Annotated[int, Meta(description="The game's clock, ms since the epoch")]
