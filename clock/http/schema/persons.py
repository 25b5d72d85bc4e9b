"""The data of answers to operators about persons, about what operators did, and about what is sent again."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from clock.game.events import PaymentOutcome
from clock.http.schema.players import Info

MovementKind = Literal["payout", "refund", "withdrawal"]
MovementState = Literal["owed", "unknown", "processing", "done", "failed"]
Handled = Literal["again", "acknowledged", "withdrawn", "returned"]
HANDLED = "Of a failed one: sent again, seen to, withdrawn by its user since, or in the balance as it should be"


class Person(Struct):
    uid: int
    nickname: str | None
    mobile: Annotated[str, Meta(description="Masked, except for who may move money")]
    open_id: str | None
    last_day: Annotated[str | None, Meta(description="The last round in the standings, YYYY-MM-DD")]


class Persons(Struct):
    items: Annotated[list[Person], Meta(description="At most 20")]
    archived: Annotated[str | None, Meta(description="The archived month (YYYY-MM) of an order with that number")]


class PersonsRound(Struct):
    """What a user did in a round; instants in ms since the epoch."""

    day: str
    order_no: str
    amount_fen: int
    open_id: str
    ordered_ms: int
    stake_fen: int | None
    late: bool | None
    member_ms: int | None
    checked_in_ms: int | None
    rank: Annotated[int | None, Meta(description="Among the winners of the shard, from 1")]
    packet_fen: int | None
    claimed_by: Literal["user", "system"] | None
    claimed_ms: int | None


class PersonsPayment(Struct):
    day: str
    order_no: str
    transaction_id: str
    amount_fen: int
    paid_at_ms: int
    at_ms: Annotated[int, Meta(description="When it was heard of, ms since the epoch")]
    outcome: PaymentOutcome
    channel: str


class PersonsOutgoing(Struct):
    """A payout, a refund or a withdrawal."""

    day: str
    no: str
    sent_as: Annotated[str, Meta(description="The number that the provider knows")]
    kind: MovementKind
    amount_fen: int
    state: MovementState
    attempts: int
    reason: str | None
    order_no: str | None
    again: Annotated[int, Meta(description="How often it had failed before")]
    handled: Annotated[Handled | None, Meta(description=HANDLED)]
    at_ms: int
    ended_ms: int | None


class PersonsCallback(Struct):
    """A quarantined callback."""

    id: str
    day: str
    at_ms: int
    reason: str
    order_no: str
    action: Annotated[Literal["refund", "dismiss"] | None, Meta(description="The decision; null: it waits for one")]


class Story(Struct):
    """A user, and 30 rounds, the newest first."""

    person: Person
    info: Info
    rounds: list[PersonsRound]
    payments: list[PersonsPayment]
    outgoing: list[PersonsOutgoing]
    quarantine: list[PersonsCallback]
    more: Annotated[bool, Meta(description="There are older rounds: ask for the next page")]
    archived: Annotated[list[str], Meta(description="Months (YYYY-MM) whose rows are in files alone")]


class Shared(Struct):
    """Users with the same mobile or openId."""

    what: Literal["mobile", "open_id"]
    uid: int
    others: Annotated[list[int], Meta(description="At most 5")]


class Clockwork(Struct):
    """Checks in within the same second of the minute again and again."""

    uid: int
    second: int
    times: int
    first_day: str
    last_day: str


class Lookalikes(Struct):
    """It decides nothing."""

    looked: Annotated[int, Meta(description="Members looked at")]
    mornings: Annotated[int, Meta(description="Rounds that clockwork was looked for in")]
    shared: list[Shared]
    clockwork: list[Clockwork]
    after: Annotated[int | None, Meta(description="Where to go on; null: that was all")]


class ActItem(Struct):
    """What an operator did."""

    id: int
    at_ms: int
    who: Annotated[str, Meta(description="The `sub` of the token, or the system's user and host")]
    address: str
    act: str
    about: Annotated[str, Meta(description="A day, a number or an id")]
    detail: Annotated[dict[str, Any], Meta(description="The rest of what decides it")]
    reason: str
    amount_fen: int | None
    word: Annotated[str | None, Meta(description="What became of it; null: not known")]
    ended_ms: int | None
    waits: Annotated[bool, Meta(description="For a second name")]


class Acts(Struct):
    items: Annotated[list[ActItem], Meta(description="Newest first")]


class SecondName(Struct):
    """Nothing is done yet: another operator has to do the same within 24 hours."""

    act: int


class SentAgain(Struct):
    """What is sent in place of the failed one."""

    day: str
    no: str
    sent_as: str
    kind: Literal["payout", "refund"]
    uid: int
    amount_fen: int
    state: MovementState


class AllSentAgain(Struct):
    """How many ended with which word."""

    kind: Literal["payout", "refund"]
    sent_again: int
    not_final: Annotated[int, Meta(description="The provider does not say that the number has failed")]
    balance_short: Annotated[int, Meta(description="The money is not in the user's balance any more")]
    archived: Annotated[int, Meta(description="Their month is being archived")]
    unavailable: Annotated[int, Meta(description="The provider does not say what became of them")]
    internal: Annotated[int, Meta(description="A bug: the worker's log has the reason")]


class AllAcknowledged(Struct):
    kind: Literal["payout", "refund"]
    acknowledged: int


class NotFinal(Struct):
    said: Annotated[str, Meta(description="What the provider says of the number")]


class Acknowledged(Struct):
    no: str


class Kept(Struct):
    """What of a user is kept, and why."""

    place: Literal["books", "orders", "quarantine", "redis", "acts"]
    why: Annotated[
        Literal[
            "accounting",
            "accountability",
            "archiving",
            "decision_open",
            "money_open",
            "round_in_memory",
            "round_open",
        ],
        Meta(description="A word of docs/retention.md"),
    ]
    count: int
    day: Annotated[str | None, Meta(description="The round, YYYY-MM-DD")]
    until: Annotated[str | None, Meta(description="A date, or what has to happen first; null: as long as the books")]


class Forgotten(Struct):
    """What was emptied, by place, and what is kept."""

    uid: int
    replaced: dict[str, int]
    kept: list[Kept]
