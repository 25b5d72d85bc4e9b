"""The data of answers to players, to payment channels, and to anybody."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from clock.domain.rounds import Campaign

Switch = Literal[0, 1]


class Nothing(Struct):
    """No data."""


class SummaryRules(Struct):
    """The rules and instants of the shown round. A client computes nothing from anything else."""

    stake_fen: Annotated[int, Meta(description="What a member pays, in fen")]
    join_opens_ms: Annotated[int, Meta(description="When joining opens, ms since the epoch")]
    join_closes_ms: Annotated[int, Meta(description="When joining closes, ms since the epoch")]
    check_in_opens_ms: Annotated[int, Meta(description="When check-in opens, ms since the epoch")]
    check_in_closes_ms: Annotated[
        int, Meta(description="When check-in closes for this user, extensions included, ms since the epoch")
    ]
    extended_s: Annotated[int, Meta(description="By how many seconds check-in is longer, after an outage; mostly 0")]
    settle_ms: Annotated[int, Meta(description="When settlement is due and claiming opens, ms since the epoch")]
    claim_closes_ms: Annotated[int, Meta(description="When claiming closes, ms since the epoch")]
    split: Annotated[Literal["random", "equal"], Meta(description="How the pot is split into packets")]
    nobody: Annotated[
        Literal["refund", "carry"],
        Meta(description="If nobody checks in: every stake is refunded, or the pot is carried into the next round"),
    ]
    fee_bps: Annotated[int, Meta(description="Fee on forfeited stakes, in basis points")]
    packet_cap_fen: Annotated[int, Meta(description="No packet is above it, in fen; 0: no cap")]
    lucky_count: Annotated[int, Meta(description="Winners who share the lucky part; 0: none")]
    lucky_bps: Annotated[int, Meta(description="The lucky part of the pot, in basis points")]
    timezone: Annotated[str, Meta(description="The zone of the round's dates")]
    remind_at_ms: Annotated[int | None, Meta(description="When reminders are sent, ms since the epoch; null: none are")]
    campaign: Annotated[Campaign | None, Meta(description="What a day of other rules is called")]
    bonus_fen: Annotated[int, Meta(description="What the house adds to the pot, in fen")]


class OpenOrder(Struct):
    """The caller's order that is not paid yet."""

    order_no: str
    amount: Annotated[int, Meta(description="To pay, in fen")]
    state: Annotated[
        Literal["open", "checking"], Meta(description="`checking`: a payment of it has come and is looked into")
    ]


class SummaryYesterday(Struct):
    """The caller in the round whose check-in day is today."""

    round: Annotated[str, Meta(description="YYYY-MM-DD")]
    clock_status: Annotated[Literal[0, 1, 2], Meta(description="0 not joined, 1 joined, 2 checked in")]
    red_status: Annotated[Literal[0, 1, 2], Meta(description="0 no packet, 1 a packet to claim, 2 claimed")]
    state: Annotated[
        Literal["open", "settled", "void"], Meta(description="`open`: not settled yet. `void`: called off")
    ]


class Result(Struct):
    """The result of the caller's last round, until it is acknowledged. Money is in fen."""

    round: Annotated[str, Meta(description="YYYY-MM-DD")]
    clock_status: Annotated[Literal[0, 1, 2], Meta(description="0 not joined, 1 joined, 2 checked in")]
    money: Annotated[int, Meta(description="The caller's packet")]
    stake: Annotated[int, Meta(description="What came back of the stake; 0: it is forfeited")]
    total: Annotated[int, Meta(description="Both")]
    sleepers: Annotated[int, Meta(description="Members who did not check in")]
    extended_s: Annotated[int, Meta(description="By how many seconds check-in was longer")]
    claimed: Annotated[Switch, Meta(description="1 if the packet was claimed")]
    void: Annotated[Switch, Meta(description="1 if the round was called off: every stake is refunded")]


class NextRound(Struct):
    """The next round, if its rules differ from those of the shown one."""

    round: Annotated[str, Meta(description="YYYY-MM-DD")]
    rules: SummaryRules
    campaign: Campaign | None


class Home(Struct):
    """The home page: one round's figures, countdowns, and the caller in that round. Until 08:05 a member of yesterday's
    round sees that one, everybody else today's."""

    is_remind: Annotated[Switch, Meta(description="The caller's reminder switch")]
    clock_status: Annotated[
        Literal[0, 1, 2], Meta(description="The caller in the shown round: 0 not joined, 1 joined, 2 checked in")
    ]
    user_num: Annotated[int, Meta(description="Members of the shown round")]
    clock_user_num: Annotated[int, Meta(description="Members who have checked in")]
    clock_money: Annotated[int, Meta(description="The pool of the shown round, in fen")]
    clock_time: Annotated[int, Meta(description="Seconds to the opening of check-in; 0 once it is open")]
    red_time: Annotated[int, Meta(description="Seconds to settlement, for yesterday's members before it; else 0")]
    zero_time: Annotated[int, Meta(description="Seconds to the end of joining, if today's round is shown; else 0")]
    is_start: Annotated[Switch, Meta(description="1 if the caller could join now, as far as the round goes")]
    is_alert: Annotated[Switch, Meta(description="1 while the caller has a result that is not acknowledged")]
    yest_money: Annotated[int, Meta(description="The pool of yesterday's round, in fen")]
    round: Annotated[str, Meta(description="The shown round, YYYY-MM-DD")]
    seed_hash: Annotated[str, Meta(description="SHA-256 of the round's seed, in hexadecimal")]
    server_time: Annotated[int, Meta(description="The service's clock, ms since the epoch, for countdowns")]
    rules: SummaryRules
    page: Annotated[str, Meta(description="The version of the players' page that the service has now")]
    way: Annotated[
        Literal["push", "pull"],
        Meta(
            description="How winnings leave: all by a transfer; or the stake as a refund, the packet into the balance"
        ),
    ]
    order: OpenOrder | None
    yesterday: SummaryYesterday | None
    result: Result | None
    next: NextRound | None


class Summary(Struct):
    summary: Home


class PayWith(Struct):
    """What the client hands to whoever can pay; or the path where it gets that."""

    channel: Annotated[str, Meta(description="The payment channel of the order")]
    order_no: str | UnsetType = UNSET
    amount: Annotated[int | UnsetType, Meta(description="To pay, in fen")] = UNSET
    call: Annotated[
        Literal["/api/pay"] | UnsetType, Meta(description="Where the channel has to be asked what the client needs")
    ] = UNSET


class Ordered(Struct):
    """The order, to be paid. Paying makes the user a member."""

    order_id: Annotated[int, Meta(description="Unique, below 2^53")]
    order_no: Annotated[
        str, Meta(description="At most 32 letters and digits", examples=["TTC0eb00000000001yUTrR3KipTq7"])
    ]
    amount: Annotated[int, Meta(description="To pay, in fen")]
    pay: PayWith


class CheckInStatus(Struct):
    is_check_in: Annotated[Switch, Meta(description="1 if the caller has checked in today")]


class Receipt(Struct):
    """The service's signed promise that a stake, or a check-in, is in the round; docs/fair.md has the formats."""

    leaf: Annotated[str, Meta(description="What is promised; the same text is a leaf of the round's tree")]
    index: Annotated[int, Meta(description="Of the leaf in its batch, from 0")]
    size: Annotated[int, Meta(description="Leaves of the batch")]
    path: Annotated[list[str], Meta(description="Hashes in hexadecimal, from the leaf up (RFC 6962)")]
    note: Annotated[str, Meta(description="The signed note with the root of the batch")]


class Pool(Struct):
    money: Annotated[int, Meta(description="The pool of the round, in fen")]
    receipt: Annotated[Receipt | UnsetType, Meta(description="With `checked_in`, if it was asked for")] = UNSET


class Paid(Struct):
    receipt: Annotated[Receipt | UnsetType, Meta(description="If it was asked for")] = UNSET


class Assign(Struct):
    """What the winner gets."""

    money: Annotated[int, Meta(description="The packet, in fen")]
    stake: Annotated[int, Meta(description="The stake that comes back, in fen")]
    total: Annotated[int, Meta(description="Both, in fen")]


class Claimed(Struct):
    assign: Assign


class Remind(Struct):
    is_remind: Annotated[Switch, Meta(description="The reminder switch as it is now")]


class Alert(Struct):
    is_alert: Annotated[Switch, Meta(description="0: no result waits to be seen")]


class PaymentData(Struct):
    """What the client hands to the provider: docs/channels.md has it for each channel."""

    channel: str
    pay: dict[str, Any]


class WhyRefused(Struct):
    why: Annotated[str, Meta(description="What the provider says, for people")]


class Withdrawal(Struct):
    """A balance on its way to its user."""

    no: Annotated[str, Meta(description="`W`, uid, `N` and a count")]
    amount: Annotated[int, Meta(description="In fen")]
    state: Annotated[
        Literal["owed", "unknown", "processing", "done", "failed"],
        Meta(description="How far the provider is; what has failed is in the balance again"),
    ]
    confirm: Annotated[
        dict[str, Any] | UnsetType, Meta(description="What the client needs where the user has to confirm")
    ] = UNSET


class Withdrawing(Struct):
    withdrawal: Withdrawal


class BelowMinimum(Struct):
    balance: Annotated[int, Meta(description="In fen")]
    minimum: Annotated[int, Meta(description="In fen")]


class Info(Struct):
    """A user's sums, from the ledger."""

    spend_money: Annotated[int, Meta(description="Stakes paid, less refunds, in fen")]
    income_money: Annotated[int, Meta(description="All packets, in fen")]
    max_money: Annotated[int, Meta(description="The largest packet, in fen")]
    join_num: Annotated[int, Meta(description="Rounds joined")]
    clock_day_num: Annotated[int, Meta(description="Mornings checked in")]
    long_day_num: Annotated[int, Meta(description="The longest streak, in days")]
    streak_day_num: Annotated[int, Meta(description="The streak as it is now, in days")]
    balance: Annotated[int, Meta(description="What could not be delivered and is kept for the user, in fen")]


class WayOut(Struct):
    """How the balance leaves."""

    minimum_fen: Annotated[int, Meta(description="It can be withdrawn from here on")]
    way: Annotated[Literal["push", "pull"], Meta(description="As in the summary")]
    open: Annotated[Withdrawal | None, Meta(description="The withdrawal that is on its way")]
    reason: Annotated[str, Meta(description="Why money could not be delivered last; mostly empty")]


class Me(Struct):
    info: Info
    withdraw: WayOut


MoneyKind = Literal[
    "stake",
    "payment",
    "stake_back",
    "packet",
    "payout",
    "refund",
    "unwanted",
    "returned",
    "payout_failed",
    "refund_failed",
    "sent_again",
    "stake_refund",
    "withdrawal",
    "withdrawal_failed",
    "made_good",
    "made_good_sent",
]


class HistoryItem(Struct):
    """One movement of the user's money."""

    title: Annotated[str, Meta(description="For people, in the language of the request")]
    money: Annotated[int, Meta(description="In fen: positive is received")]
    round: Annotated[str, Meta(description="YYYY-MM-DD")]
    created_at: Annotated[int, Meta(description="ms since the epoch")]
    kind: Annotated[MoneyKind, Meta(description="What has moved; all lines add up to the balance")]
    state: Annotated[
        Literal["owed", "unknown", "processing", "done", "failed"] | None,
        Meta(description="Of payouts and refunds: how far the provider is"),
    ]
    no: Annotated[
        str | None, Meta(description="Of a payment and what becomes of it: its order's number; of a payout: its own")
    ]


class History(Struct):
    total: Annotated[int, Meta(description="Movements on all pages")]
    items: Annotated[list[HistoryItem], Meta(description="Newest first")]
    archived: Annotated[int, Meta(description="Movements of archived rounds; `total` is without them")]


class MyMorning(Struct):
    clock_status: Annotated[Literal[0, 1, 2], Meta(description="0 not joined, 1 joined, 2 checked in")]
    red_status: Annotated[Literal[0, 1, 2], Meta(description="0 no packet, 1 a packet to claim, 2 claimed")]


class Yesterday(Struct):
    """The caller in the round whose check-in day is today."""

    yesterday: MyMorning


class Place(Struct):
    place: Annotated[
        int | None, Meta(description="Which packet of the round's list is the caller's, from 1; null: none")
    ]


class Longest(Struct):
    nickname: str
    mobile: Annotated[str, Meta(description="Masked", examples=["138****0007"])]
    days: Annotated[int, Meta(description="The streak")]


class Luckiest(Struct):
    nickname: str
    mobile: Annotated[str, Meta(description="Masked")]
    money: Annotated[int, Meta(description="The largest packet, in fen")]


class Earliest(Struct):
    nickname: str
    mobile: Annotated[str, Meta(description="Masked")]
    checked_in_at: Annotated[int, Meta(description="ms since the epoch")]


class Talents(Struct):
    """The best of the last settled round; null if there is none yet."""

    round: Annotated[str | None, Meta(description="YYYY-MM-DD")]
    longest: Longest | None
    luckiest: Luckiest | None
    earliest: Earliest | None


class BoardItem(Struct):
    rank: Annotated[int, Meta(description="From 1")]
    nickname: str
    mobile: Annotated[str, Meta(description="Masked")]
    income_money: Annotated[int, Meta(description="All packets, in fen")]


class Board(Struct):
    total: Annotated[int, Meta(description="Users on all pages, at most 10,000")]
    items: list[BoardItem]


class RoundRules(Struct):
    """A round's snapshot of the rules. Times of day are HH:MM in `timezone`."""

    timezone: str
    stake_fen: int
    split: Literal["random", "equal"]
    nobody: Annotated[Literal["refund", "carry"], Meta(description="What happens if nobody checks in")]
    fee_bps: Annotated[int, Meta(description="Fee on forfeited stakes, in basis points")]
    packet_cap_fen: Annotated[int, Meta(description="0: no cap")]
    lucky_count: int
    lucky_bps: int
    shards: Annotated[int, Meta(description="Parts of the round; a user is always in the same one")]
    join_opens: str
    join_closes: str
    check_in_opens: Annotated[str, Meta(description="On the day after the round's date, like the times below")]
    check_in_closes: str
    settle_at: str
    claim_closes: str
    order_prefix: str
    bonus_fen: Annotated[int, Meta(description="What the house adds to the pot")]
    campaign: Campaign | None
