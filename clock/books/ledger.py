"""The ledger: one table of rules says which rows move money from which account to which.

Accounts: ``channel:<name>`` the provider (negative: it holds money of ours) · ``pool:<day>`` a round ·
``user:<uid>`` due to a user and not sent · ``owed:refund``, ``owed:payout``, ``owed:withdrawal`` on the way out ·
``fee`` · ``carry`` between rounds · ``subsidy`` what the house adds to pots (negative: so much was won) ·
``made_good`` what it pays because Redis had forgotten something (negative). A transfer takes from one and gives to
another, so every transaction sums to zero.
"""

from datetime import date
from typing import LiteralString, NamedTuple

from psycopg import sql
from psycopg.rows import DictRow

from clock.books.store import Connection, unless_there


class Rule(NamedTuple):
    """SQL expressions over one row of ``table``; ``cause`` is unique within day and kind."""

    table: LiteralString
    kind: LiteralString
    from_account: LiteralString
    to_account: LiteralString
    amount_fen: LiteralString
    cause: LiteralString
    when: LiteralString = "true"


CHANNEL: LiteralString = "'channel:' || channel"
POOL: LiteralString = "{pool}"
"""A constant of each statement; computing it from each row's day would be slow."""
USER: LiteralString = "'user:' || uid"
PAYMENT: LiteralString = "order_no || ':' || transaction_id"
ACCEPTED: LiteralString = "outcome IN ('paid', 'paid_late')"
BY_SETTLEMENT: LiteralString = "reason IN ('late_member', 'nobody', 'void')"
SETTLED: LiteralString = "settled"
NUMBERED: LiteralString = "uid || ':' || number"
STAKE_REFUND: LiteralString = "refund_no(stake_order_no, stake_transaction_id)"

RULES = (
    # table       kind             from             to               fen                       cause      when
    Rule("payments", "stake", CHANNEL, POOL, "amount_fen", PAYMENT, ACCEPTED),
    Rule("payments", "unwanted", CHANNEL, "'owed:refund'", "amount_fen", PAYMENT, f"NOT {ACCEPTED}"),
    Rule("claims", "stake_back", POOL, USER, "stake_fen", "uid::text"),
    Rule("claims", "packet", POOL, USER, "packet_fen", "uid::text"),
    Rule("claims", "payout", USER, "'owed:payout'", "stake_fen + packet_fen", "uid::text", "stake_order_no IS NULL"),
    Rule("claims", "stake_refund", USER, "'owed:refund'", "stake_fen", STAKE_REFUND, "stake_order_no IS NOT NULL"),
    Rule("made_good", "made_good", "'made_good'", USER, "amount_fen", NUMBERED),
    Rule("made_good", "made_good_sent", USER, "'owed:payout'", "amount_fen", NUMBERED),
    Rule("refunds", "refund", POOL, "'owed:refund'", "amount_fen", PAYMENT, BY_SETTLEMENT),
    Rule("rounds", "fee", POOL, "'fee'", "fee_fen", "'settlement'", SETTLED),
    Rule("rounds", "carry_in", "'carry'", POOL, "carried_in_fen", "'settlement'", SETTLED),
    Rule("rounds", "carry_out", POOL, "'carry'", "carried_out_fen", "'settlement'", SETTLED),
    Rule("rounds", "bonus", "'subsidy'", POOL, "bonus_fen", "'settlement'"),
    Rule("rounds", "bonus_back", POOL, "'subsidy'", "bonus_back_fen", "'settlement'"),
    Rule("outgoing", "payout_sent", "'owed:payout'", CHANNEL, "amount_fen", "no", "kind = 'payout' AND state = 'done'"),
    Rule("outgoing", "refund_sent", "'owed:refund'", CHANNEL, "amount_fen", "no", "kind = 'refund' AND state = 'done'"),
    Rule(
        "outgoing", "payout_failed", "'owed:payout'", USER, "amount_fen", "no", "kind = 'payout' AND state = 'failed'"
    ),
    Rule(
        "outgoing", "refund_failed", "'owed:refund'", USER, "amount_fen", "no", "kind = 'refund' AND state = 'failed'"
    ),
    Rule("outgoing", "withdrawal", USER, "'owed:withdrawal'", "amount_fen", "no", "kind = 'withdrawal'"),
    Rule(
        "outgoing",
        "withdrawal_sent",
        "'owed:withdrawal'",
        CHANNEL,
        "amount_fen",
        "no",
        "kind = 'withdrawal' AND state = 'done'",
    ),
    Rule(
        "outgoing",
        "withdrawal_failed",
        "'owed:withdrawal'",
        USER,
        "amount_fen",
        "no",
        "kind = 'withdrawal' AND state = 'failed'",
    ),
    Rule("outgoing", "sent_again", USER, "'owed:' || kind", "amount_fen", "no", "again > 0"),
)


ROUND = sql.SQL(
    "(SELECT day, NULL::bigint AS uid, state IN ('settled', 'finished') AS settled, fee_fen, carried_in_fen,"
    " carried_out_fen, CASE WHEN state = 'sealed' OR state = 'voiding' AND salt_key IS NOT NULL THEN 0"
    " ELSE bonus_fen END AS bonus_fen, bonus_back_fen,"
    " (extract(epoch FROM coalesce(settled_at, now())) * 1000)::bigint AS at_ms FROM rounds)"
)
"""``rounds`` as a source of transfers. The bonus is promised when a round is sealed, and given when it is split; a
round with statements is not called off after that."""


WITH_CHANNEL = sql.SQL(
    "(SELECT o.day, o.no, o.kind, o.uid, o.amount_fen, o.state, o.again,"
    " coalesce(o.channel, r.channel, m.channel) AS channel FROM outgoing o"
    " LEFT JOIN payments r ON o.kind = 'refund' AND r.day = {day} AND r.order_no = o.order_no"
    " AND r.transaction_id = o.transaction_id"
    " LEFT JOIN (SELECT j.uid, coalesce(min(p.channel) FILTER (WHERE p.outcome IN ('paid', 'paid_late')),"
    " min(p.channel)) AS channel FROM orders j JOIN payments p ON p.day = {day} AND p.order_no = j.order_no"
    " WHERE j.day = {day} GROUP BY j.uid) m ON o.kind = 'payout' AND m.uid = o.uid WHERE o.day = {day})"
)
"""``outgoing`` of a day with the channel through which each goes, as a source of transfers. Joined, not looked up row
by row: there are a million."""


def parts(rule: Rule, day: date) -> dict[str, sql.Composable]:
    """The SQL of a rule for the rows of one day, by name of the part."""
    pool = sql.Literal(f"pool:{day}")
    return {
        "day": sql.Literal(day),
        "kind": sql.Literal(rule.kind),
        "cause": sql.SQL(rule.cause),
        "from_account": sql.SQL(rule.from_account).format(pool=pool),
        "to_account": sql.SQL(rule.to_account).format(pool=pool),
        "amount": sql.SQL(rule.amount_fen),
        "when": sql.SQL(rule.when),
    }


def postings(table: str, source: sql.Composable, day: date) -> list[sql.Composed]:
    """The statements that post the rows of ``source`` (columns of ``table``, plus ``uid``, ``at_ms``), all unposted."""
    return [
        sql.SQL(
            "INSERT INTO transfers (day, kind, cause, uid, from_account, to_account, amount_fen, at_ms) "
            "SELECT day, {kind}, {cause}, uid, {from_account}, {to_account}, {amount}, at_ms "
            "FROM {source} AS source WHERE day = {day} AND {amount} > 0 AND {when}"
        ).format(source=source, **parts(rule, day))
        for rule in RULES
        if rule.table == table
    ]


async def post(connection: Connection, table: str, day: date, source: sql.Composable | None = None) -> None:
    """Post the rows of ``source``, or of the table itself. Idempotent."""
    for posting in postings(table, source or sql.Identifier(table), day):
        await connection.execute(unless_there(posting))


async def post_settlement(connection: Connection, day: date) -> None:
    """Post what a round's row says, each once: the bonus from the split on, fee and carry when it is settled."""
    await post(connection, "rounds", day, ROUND)


async def post_outgoing(connection: Connection, day: date, channel: str, state: str, numbers: list[str]) -> None:
    """Post payouts and refunds that are final or are sent again. Numbers that are not in ``state`` now are ignored."""
    source = sql.SQL(
        "(SELECT o.day, o.no, o.kind, o.uid, o.amount_fen, o.state, o.again, {} AS channel,"
        " (extract(epoch FROM now()) * 1000)::bigint AS at_ms"
        " FROM outgoing o WHERE o.day = {} AND o.no = ANY({}) AND o.state = {})"
    ).format(*(sql.Literal(value) for value in (channel, day, numbers, state)))
    await post(connection, "outgoing", day, source)


async def unposted(connection: Connection, rule: Rule, day: date, most: int) -> list[DictRow]:
    """Differences between a rule's rows and its transfers, by cause: rows without a transfer, transfers without a row,
    and pairs with different values: ``books`` and ``ledger`` in fen, ``accounts`` and ``posted``."""
    sources = {"rounds": ROUND, "outgoing": WITH_CHANNEL.format(day=sql.Literal(day))}
    statement = sql.SQL(
        "SELECT coalesce(b.cause, l.cause) AS cause, b.fen AS books, l.fen AS ledger, b.accounts,"
        " l.accounts AS posted"
        " FROM (SELECT {cause} AS cause, {amount} AS fen, {from_account} || ' to ' || {to_account} AS accounts"
        "  FROM {source} AS source WHERE day = {day} AND {amount} > 0 AND {when}) b"
        " FULL JOIN (SELECT cause, amount_fen AS fen, from_account || ' to ' || to_account AS accounts"
        "  FROM transfers WHERE day = {day} AND kind = {kind}) l ON l.cause = b.cause"
        " WHERE (b.fen, b.accounts) IS DISTINCT FROM (l.fen, l.accounts) ORDER BY 1 LIMIT {most}"
    ).format(
        source=sources.get(rule.table, sql.Identifier(rule.table)),
        most=sql.Literal(most),
        **parts(rule, day),
    )
    return await (await connection.execute(statement)).fetchall()
