-- A round's books for the accountant, page by page after a key in one or two columns. Parameters are psycopg's.

-- export_orders: Orders by user, with what became of them. Laterally: a join would read the whole round for each page.
SELECT o.uid, o.order_no, o.order_id, o.amount_fen, o.at_ms, m.late, m.at_ms AS member_ms, c.at_ms AS checked_in_ms,
       l.packet_fen, l.at_ms AS claimed_ms
FROM (SELECT * FROM orders WHERE day = %(day)s AND uid > %(first)s
      ORDER BY uid LIMIT %(limit)s) AS o
LEFT JOIN LATERAL (SELECT late, at_ms FROM members WHERE day = %(day)s AND uid = o.uid LIMIT 1) AS m ON true
LEFT JOIN LATERAL (SELECT at_ms FROM check_ins WHERE day = %(day)s AND uid = o.uid LIMIT 1) AS c ON true
LEFT JOIN LATERAL (SELECT packet_fen, at_ms FROM claims WHERE day = %(day)s AND uid = o.uid LIMIT 1) AS l ON true
ORDER BY o.uid

-- export_payments: Payments by order and transaction.
SELECT uid, order_no, transaction_id, channel, amount_fen, paid_at_ms, at_ms, outcome
FROM payments WHERE day = %(day)s AND (order_no, transaction_id) > (%(first)s, %(second)s)
ORDER BY order_no, transaction_id LIMIT %(limit)s

-- export_outgoing: Payouts or refunds by number.
SELECT o.no, o.uid, coalesce(o.sent_as, o.no) AS sent_as, o.order_no, o.transaction_id, o.amount_fen, o.state, o.reason,
       o.again_of, (extract(epoch FROM o.created_at) * 1000)::bigint AS at_ms, (extract(epoch FROM o.ended_at) * 1000)::bigint AS ended_ms
FROM outgoing o WHERE o.day = %(day)s AND o.kind = %(kind)s AND o.no > %(first)s ORDER BY o.no LIMIT %(limit)s

-- export_ledger: Transfers by kind and cause.
SELECT kind, cause, uid, from_account, to_account, amount_fen, at_ms FROM transfers
WHERE day = %(day)s AND (kind, cause) > (%(first)s, %(second)s)
ORDER BY kind, cause LIMIT %(limit)s
