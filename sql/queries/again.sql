-- Payouts and refunds that have failed: who sees to them, and what is sent again. Parameters are psycopg's.

-- sum_failed: How many of a kind have failed and nobody has seen to, their sum, and when that was asked.
SELECT count(*) AS count, coalesce(sum(amount_fen), 0)::bigint AS fen, clock_timestamp() AS at FROM unsent
WHERE kind = %(kind)s AND state = 'failed' AND handled IS NULL

-- failed_page: The next of them after a number, of those that were owed by then.
SELECT day, no FROM unsent
WHERE kind = %(kind)s AND state = 'failed' AND handled IS NULL AND created_at <= %(until)s AND (no, day) > (%(after_no)s, %(after_day)s)
ORDER BY no, day LIMIT %(limit)s

-- find_failed: The round of a failed payout or refund.
SELECT day FROM unsent WHERE no = %(no)s AND state = 'failed' ORDER BY day DESC LIMIT 1

-- get_failed: A failed payout or refund, with its number at the provider and its channel.
SELECT o.day, o.no, coalesce(o.sent_as, o.no) AS sent_as, o.kind, o.uid, o.amount_fen, o.order_no, o.again, o.handled, o.reason,
    CASE o.kind WHEN 'refund' THEN
        (SELECT p.channel FROM payments p
         WHERE p.day = %(day)s AND p.order_no = o.order_no AND p.transaction_id = o.transaction_id)
    ELSE (SELECT p.channel FROM orders r JOIN payments p ON p.day = r.day AND p.order_no = r.order_no
         WHERE r.day = %(day)s AND r.uid = o.uid ORDER BY p.outcome IN ('paid', 'paid_late') DESC LIMIT 1) END AS channel
FROM outgoing o WHERE o.day = %(day)s AND o.no = %(no)s AND o.state = 'failed'

-- handle_failed: Marks a failed row as sent again, or as seen to; no row: it is so already.
UPDATE outgoing SET handled = %(handled)s
WHERE day = %(day)s AND no = %(no)s AND state = 'failed' AND (handled IS NULL OR (handled, %(handled)s) = ('acknowledged', 'again'))
RETURNING no

-- queue_again: Queues a failed row once more. A payout has a new number at the provider, a refund keeps its own.
INSERT INTO outgoing (day, no, kind, uid, amount_fen, order_no, transaction_id, again, again_of, sent_as)
SELECT day, %(new)s, kind, uid, amount_fen, order_no, transaction_id, again + 1, no,
       CASE kind WHEN 'refund' THEN coalesce(sent_as, no) END
FROM outgoing WHERE day = %(day)s AND no = %(no)s

-- get_again: What is sent in place of a failed row.
SELECT day, no, coalesce(sent_as, no) AS sent_as, kind, uid, amount_fen, state FROM outgoing
WHERE day = %(day)s AND again_of = %(no)s
