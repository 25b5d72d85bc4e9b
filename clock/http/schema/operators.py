"""The data of answers to operators, except what is happening now (:mod:`clock.http.schema.live`)."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from clock.domain.rounds import Phase, State, Windows
from clock.http.schema.persons import HANDLED, Handled, MovementKind, MovementState
from clock.http.schema.players import RoundRules


class OfRound(Struct):
    day: Annotated[str, Meta(description="The round, YYYY-MM-DD")]


class BooksDiffer(Struct):
    """Redis and the books contradict each other; nothing was done."""

    day: str
    difference: Annotated[str, Meta(description="For people")]


class Working(Struct):
    """Work that a worker does, or will do: asking again joins it."""

    kind: Annotated[str, Meta(examples=["settle", "void", "reconcile"])]
    about: Annotated[str, Meta(description="A day, a month, a kind of money, or nothing")]
    state: Literal["waiting", "running", "ended"]
    step: Annotated[str, Meta(description="A word; empty before the first")]
    done: Annotated[int | None, Meta(description="How much of the step is done")]
    total: Annotated[int | None, Meta(description="Of how much, where that is known")]


class LongWork(Working):
    """A piece of long work."""

    id: int
    asked_by: str
    asked_ms: Annotated[int, Meta(description="ms since the epoch")]
    holder: Annotated[str | None, Meta(description="The process that does it, or did it last")]
    began_ms: Annotated[int | None, Meta(description="ms since the epoch")]
    beat_ms: Annotated[int | None, Meta(description="When the holder was last heard of, ms since the epoch")]
    ended_ms: Annotated[int | None, Meta(description="ms since the epoch")]
    word: Annotated[str | None, Meta(description="How it has ended")]
    alive: Annotated[bool, Meta(description="It runs, and its holder was heard of in the last 30 s")]


class LongWorks(Struct):
    items: Annotated[list[LongWork], Meta(description="What has not ended, then what has, newest first")]


class RoundExtension(Struct):
    """Why check-in was longer, by whom, and for how many who had not checked in."""

    cause: Literal["outage", "operator"]
    reason: str
    by_whom: str
    since_ms: Annotated[int, Meta(description="ms since the epoch")]
    by_ms: Annotated[int, Meta(description="How much longer, in ms")]
    shards: int
    asleep: int


class Difference(Struct):
    """`one` and `other` are what two places say of `subject`."""

    what: str
    subject: str
    one: str
    other: str


class Compared(Struct):
    """The newest reconciliation."""

    at_ms: Annotated[int, Meta(description="ms since the epoch")]
    differences: list[Difference]
    mended: Annotated[list[str], Meta(description="Payments that the bill had and the books have now")]


class OperatorsRound(Struct):
    """Every figure of a round; sums in fen. Live ones come from Redis, final ones from the books."""

    day: str
    state: Phase
    step: Annotated[State, Meta(description="How far settling or voiding is")]
    at: Windows
    rules: RoundRules
    members: int
    winners: int
    late: Annotated[int, Meta(description="Members who paid after check-in had opened")]
    pool: int
    forfeited: int | None
    fee: int | None
    carried_in: int | None
    carried_out: int | None
    bonus: Annotated[int | None, Meta(description="What the house has added")]
    bonus_back: Annotated[int | None, Meta(description="What went back to the house")]
    pot: int | None
    packets: int | None
    packets_published: int
    packets_published_fen: int
    packets_claimed: int
    packets_claimed_fen: int
    refunds: Annotated[int | None, Meta(description="null: archived")]
    refunds_fen: Annotated[int | None, Meta(description="null: archived")]
    archived: Annotated[bool, Meta(description="The rows of the round are in files alone")]
    unanswered_orders: Annotated[int | None, Meta(description="Unpaid orders about which the channel gave no answer")]
    outbox_depth: Annotated[int, Meta(description="Entries that are not in Postgres yet")]
    seed_hash: str
    seed: Annotated[str | None, Meta(description="In hexadecimal; null until the round has ended")]
    draw_ms: Annotated[int | None, Meta(description="When the draw of its beacon is out; null: it has no beacon")]
    draw: Annotated[
        str | None,
        Meta(
            description="The draw's signature in hexadecimal, or why the round is split equal: `missing` (not had in "
            "time), `late` (it was closed only when the draw was out); null until it is decided"
        ),
    ]
    drawn: Annotated[str | None, Meta(description="What packets follow from, in hexadecimal; null until it is settled")]
    can_be_void: Annotated[bool, Meta(description="Whether it can be called off now: its draw is not known")]
    void_reason: str | None
    extensions: list[RoundExtension]
    reconciled: Compared | None
    work: Annotated[list[LongWork], Meta(description="What has not ended, then what has, newest first")]


class StepTotals(Struct):
    ordered: int
    paid: int
    checked_in: int
    claimed: int


class Steps(Struct):
    """How many users took each step, minute by minute."""

    day: str
    steps: Annotated[list[str], Meta(description="The names of the columns after the first")]
    minutes: Annotated[list[list[int]], Meta(description="Rows: the minute in ms since the epoch, then a count a step")]
    totals: StepTotals


class Report(Struct):
    """A comparison of Redis, books, ledger, manifest and the provider's bill."""

    day: str
    differences: list[Difference]
    mended: Annotated[list[str], Meta(description="Payments that the bill had and the books have now")]
    bill_lines: Annotated[int | None, Meta(description="null: no platform is configured that could be asked")]


class Reports(Struct):
    reports: list[Report]


class LastReport(Struct):
    """The newest comparison of a round."""

    day: str
    at_ms: Annotated[int, Meta(description="ms since the epoch")]
    differences: list[Difference]
    mended: list[str]


class LastReports(Struct):
    reports: Annotated[list[LastReport], Meta(description="One, or none if there was no comparison")]


class OutgoingCount(Struct):
    kind: MovementKind
    state: str
    count: int
    fen: int


class OutgoingItem(Struct):
    """A refund, a payout or a withdrawal."""

    day: str
    no: str
    sent_as: Annotated[str, Meta(description="The number that the provider knows")]
    kind: MovementKind
    uid: int
    amount_fen: int
    state: MovementState
    attempts: int
    reason: Annotated[str | None, Meta(description="What the provider said last")]
    order_no: str | None
    again: Annotated[int, Meta(description="How often it had failed before")]
    handled: Annotated[Handled | None, Meta(description=HANDLED)]


class OutgoingPage(Struct):
    counts: Annotated[list[OutgoingCount], Meta(description="By kind and state")]
    items: Annotated[list[OutgoingItem], Meta(description="Those in the state that was asked for, newest round first")]


class UnansweredItem(Struct):
    order_no: str
    asked: Annotated[int, Meta(description="How often the channel was asked")]
    next_at_ms: Annotated[int | None, Meta(description="When it is asked again, ms since the epoch")]


class UnansweredPage(Struct):
    items: list[UnansweredItem]


class EventItem(Struct):
    """An event for hosts; `data` is as in the outgoing call of that type."""

    id: Annotated[str, Meta(description="The `webhook-id`")]
    day: Annotated[str, Meta(description="The round, YYYY-MM-DD")]
    type: str
    at_ms: Annotated[int, Meta(description="When it happened, ms since the epoch")]
    state: Literal["due", "sent", "given_up"]
    attempts: int
    reason: Annotated[str | None, Meta(description="Why it was not taken, or by whom and why it is sent again")]
    data: dict[str, Any]
    due_since_ms: int | None
    next_at_ms: Annotated[int | None, Meta(description="When it is sent next, ms since the epoch")]
    ended_at_ms: Annotated[int | None, Meta(description="When it was sent or given up, ms since the epoch")]


class EventsPage(Struct):
    items: Annotated[list[EventItem], Meta(description="Newest first; kept for 30 days")]


class EventDue(Struct):
    id: str


class Released(Struct):
    """The decision about a quarantined callback."""

    action: Literal["refund", "dismiss"]
    why: Annotated[str, Meta(description="The operator's reason")]
    by_whom: str
    released_ms: Annotated[int, Meta(description="ms since the epoch")]
    amount_fen: int | None
    refund_no: str | None
    refund_state: Annotated[str | None, Meta(description="How far the provider is with it")]


class QuarantinedItem(Struct):
    """A signed callback that was not credited."""

    id: Annotated[str, Meta(description="SHA-256 in hexadecimal, for releasing it")]
    day: str
    at_ms: Annotated[int, Meta(description="When it came, ms since the epoch")]
    channel: str
    reason: Annotated[str, Meta(description="The check that it failed")]
    order_no: str
    raw: Annotated[str, Meta(description="The body as it came")]
    transaction_id: str
    amount: Annotated[int | None, Meta(description="In fen; null if it cannot be read")]
    why_not: Annotated[str, Meta(description="Why its payment cannot be refunded; empty if it can")]
    released: Released | None


class QuarantinePage(Struct):
    total: Annotated[int, Meta(description="Callbacks on all pages")]
    waiting: Annotated[int, Meta(description="Of all callbacks, those without a decision")]
    items: Annotated[list[QuarantinedItem], Meta(description="Newest first")]


class Decision(Struct):
    """The first decision about a quarantined callback: it stands."""

    id: str
    action: Literal["refund", "dismiss"]
    reason: str
    order_no: str
    transaction_id: str | None
    amount_fen: int | None
    refund_no: Annotated[str | None, Meta(description="The number under which it is refunded")]
    by: str
    at_ms: Annotated[int, Meta(description="ms since the epoch")]
    day: Annotated[str | None, Meta(description="The round in whose books the refund is")]


class CannotRelease(Struct):
    why: Annotated[str, Meta(description="A word", examples=["accepted", "refunded", "unreadable"])]
