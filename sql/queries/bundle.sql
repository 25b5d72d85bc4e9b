-- What an auditor takes home of a round. Parameters are psycopg's; `billed` is the table of bill.sql.

-- bundle_ledger: A round's transfers in an order that is the same under any collation.
SELECT kind, cause, uid, from_account, to_account, amount_fen, at_ms FROM transfers
WHERE day = %(day)s ORDER BY kind COLLATE "C", cause COLLATE "C"

-- bundle_stakes: Each stake in the order of its tree, its payment in the books, and the line of that in its channel's bill.
-- An order that two stakes name is one payment: the first has it. A channel has bills up to a date.
SELECT shard, uid, order_no, stake_fen, channel, transaction_id, billed_fen,
       CASE WHEN transaction_id IS NULL THEN 'unpaid' WHEN nth > 1 THEN 'shared' WHEN billed_fen = stake_fen THEN 'billed'
            WHEN billed_fen IS NOT NULL THEN 'amount'
            WHEN (to_timestamp(paid_at_ms / 1000) AT TIME ZONE %(zone)s)::date < whole_until THEN 'not_billed'
            ELSE 'no_bill' END AS found
FROM (
    SELECT shard_of(m.uid, %(shards)s::bigint) AS shard, m.uid, o.order_no, m.stake_fen, p.channel, p.transaction_id, p.paid_at_ms,
           b.amount_fen::bigint AS billed_fen, c.whole_until, row_number() OVER (PARTITION BY o.order_no ORDER BY m.uid) AS nth
    FROM members m JOIN orders o ON o.day = %(day)s AND o.uid = m.uid
    LEFT JOIN payments p ON p.day = %(day)s AND p.order_no = o.order_no AND p.outcome IN ('paid', 'paid_late')
    LEFT JOIN billed b ON b.kind = 'payment' AND b.channel = p.channel AND b.order_no = p.order_no AND b.no = p.transaction_id
    LEFT JOIN unnest(%(channels)s::text[], %(untils)s::date[]) AS c (channel, whole_until) ON c.channel = p.channel
    WHERE m.day = %(day)s) AS joined
ORDER BY shard, uid

-- bundle_lines: The round's lines of all bills, and what the books have of each: of a payment that is no stake its outcome.
WITH dismissed AS (SELECT DISTINCT order_no, transaction_id FROM releases WHERE action = 'dismiss'),
moved AS (SELECT DISTINCT coalesce(sent_as, no) AS no FROM outgoing WHERE day = %(day)s),
staked AS (SELECT DISTINCT o.order_no FROM members m JOIN orders o ON o.day = %(day)s AND o.uid = m.uid WHERE m.day = %(day)s)
SELECT b.channel, b.kind, b.no, b.order_no, b.amount_fen::bigint AS amount_fen, b.at_ms,
       CASE WHEN b.kind <> 'payment' THEN CASE WHEN moved.no IS NULL THEN 'not_moved' ELSE 'moved' END
            WHEN p.outcome IN ('paid', 'paid_late') THEN CASE WHEN staked.order_no IS NULL THEN 'no_stake' ELSE 'stake' END
            WHEN p.outcome IS NOT NULL THEN p.outcome
            WHEN dismissed.order_no IS NOT NULL THEN 'dismissed' ELSE 'none' END AS books
FROM billed b
LEFT JOIN payments p ON p.day = %(day)s AND b.kind = 'payment' AND p.order_no = b.order_no AND p.transaction_id = b.no
LEFT JOIN staked ON staked.order_no = b.order_no
LEFT JOIN moved ON b.kind <> 'payment' AND moved.no = b.no
LEFT JOIN dismissed ON dismissed.order_no = b.order_no AND dismissed.transaction_id = b.no
ORDER BY b.channel COLLATE "C", b.kind COLLATE "C", b.no COLLATE "C", b.order_no COLLATE "C"
