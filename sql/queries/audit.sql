-- Rebuilding, reconciling, counting. Parameters are psycopg's.

-- compare_all: This transaction joins all rows of a day: nothing is looked up row by row, however few Postgres expects. It
-- may be idle for long: it holds no lock that others wait for.
SELECT set_config('enable_nestloop', 'off', true), set_config('idle_in_transaction_session_timeout', '0', true)

-- rebuild_users: Users of a round, for Redis: all, or some.
SELECT o.uid, o.order_no, o.order_id, o.open_id, p.transaction_id, m.late, c.rank, l.packet_fen
FROM orders o
LEFT JOIN members m ON m.day = o.day AND m.uid = o.uid
LEFT JOIN payments p ON p.day = o.day AND p.order_no = o.order_no AND p.outcome IN ('paid', 'paid_late')
LEFT JOIN check_ins c ON c.day = o.day AND c.uid = o.uid
LEFT JOIN claims l ON l.day = o.day AND l.uid = o.uid
WHERE o.day = %(day)s AND (%(uids)s::bigint[] IS NULL OR o.uid = ANY(%(uids)s))

-- rebuild_payments: Refunded payments of existing orders, for Redis: all, or those of some orders.
SELECT p.uid, p.order_no, p.transaction_id, p.outcome FROM payments p
JOIN orders o ON o.day = p.day AND o.uid = p.uid AND o.order_no = p.order_no
WHERE p.day = %(day)s AND p.outcome NOT IN ('paid', 'paid_late')
  AND (%(order_nos)s::text[] IS NULL OR p.order_no = ANY(%(order_nos)s))

-- rebuild_checking: Refused payments of a round's unpaid orders, for Redis: all, or those of some users; whether each
-- waits for a decision.
SELECT o.uid, o.order_no, q.raw, bool_or(r.digest IS NULL) AS waits
FROM orders o JOIN quarantine q ON q.order_no = o.order_no LEFT JOIN releases r ON r.digest = q.digest
WHERE o.day = %(day)s AND q.day >= %(day)s AND q.reason IN ('amount_mismatch', 'transaction_missing', 'buyer_mismatch')
  AND (%(uids)s::bigint[] IS NULL OR o.uid = ANY(%(uids)s))
  AND NOT EXISTS (SELECT FROM members m WHERE m.day = o.day AND m.uid = o.uid)
GROUP BY o.uid, o.order_no, q.raw

-- packet_pieces: Every packet of a round in the order of ranks, as Redis has them: one text of fen for each list.
SELECT shard, index / %(piece)s::int AS piece, count(*) AS packets, string_agg(fen::text, ' ' ORDER BY index) AS fens
FROM packets WHERE day = %(day)s GROUP BY 1, 2 ORDER BY 1, 2

-- flags_used: Whether Redis must have flags of users: there is a switch, an acknowledgement, or a result.
SELECT EXISTS (SELECT FROM flags) OR EXISTS (SELECT FROM rounds WHERE tallied_uid > 0 OR (state = 'void' AND members > 0)) AS used

-- rebuild_flags: The flags of all users, for Redis.
SELECT coalesce(f.uid, s.uid) AS uid, coalesce(f.remind, false) AS remind, s.last_day, f.acked_day
FROM flags f FULL JOIN standings s ON s.uid = f.uid

-- rebuild_flags_of_void: The flags of users whose latest result is a void round, for Redis.
SELECT m.uid, coalesce(f.remind, false) AS remind, m.day AS last_day, f.acked_day
FROM members m LEFT JOIN flags f ON f.uid = m.uid LEFT JOIN standings s ON s.uid = m.uid
WHERE m.day = %(day)s AND coalesce(s.last_day < m.day, true)

-- count_steps: How many users of each shard took which step of a round.
SELECT shard, step, sum(count)::bigint AS count FROM steps WHERE day = %(day)s GROUP BY 1, 2

-- server_name: Which server answers: it is another one after a restart, a promotion or a restore.
SELECT pg_postmaster_start_time() AS started, inet_server_addr() AS address, inet_server_port() AS port

-- unreconciled: Rounds that ended within a week and were not reconciled for a day, or for an hour if the bill was missing.
SELECT r.day FROM rounds r WHERE r.finished_at > now() - make_interval(days => 7)
  AND NOT EXISTS (SELECT FROM reconciliations c WHERE c.day = r.day AND c.at >= r.finished_at AND c.at > now()
      - make_interval(hours => CASE WHEN c.differences @> '[{"what": "bill_missing"}]' THEN 1 ELSE 24 END))
ORDER BY r.day

-- save_reconciliation: Stores the result of a reconciliation.
INSERT INTO reconciliations (day, differences, mended) VALUES (%(day)s, %(differences)s::jsonb, %(mended)s::jsonb)

-- stray_claims: Claims of another packet than that of the winner's rank, or with another sum than the manifest has. Found
-- first and limited then: with a limit Postgres would expect to find that many soon, and look rows up one by one.
WITH found AS MATERIALIZED (
    SELECT c.uid, c.packet_fen, p.fen FROM claims c
    LEFT JOIN check_ins i ON i.day = c.day AND i.uid = c.uid
    LEFT JOIN packets p ON p.day = c.day AND p.shard = c.shard AND p.index = i.rank - 1
    WHERE c.day = %(day)s AND (p.fen IS DISTINCT FROM c.packet_fen OR c.index <> p.index))
SELECT * FROM found ORDER BY uid LIMIT %(limit)s

-- unqueued: Payouts and refunds that are owed but not queued, and queued but not owed.
SELECT coalesce(b.no, o.no) AS no, b.fen AS owed, o.amount_fen AS queued FROM (
    SELECT 'P' || to_char(day, 'YYYYMMDD') || uid AS no, stake_fen + packet_fen AS fen FROM claims
        WHERE day = %(day)s AND stake_order_no IS NULL
    UNION ALL SELECT refund_no(stake_order_no, stake_transaction_id), stake_fen FROM claims
        WHERE day = %(day)s AND stake_order_no IS NOT NULL
    UNION ALL SELECT cause, amount_fen FROM transfers WHERE day = %(day)s AND kind = 'withdrawal'
    UNION ALL SELECT refund_no, amount_fen FROM refunds WHERE day = %(day)s
    UNION ALL SELECT 'P' || to_char(day, 'YYYYMMDD') || uid || 'G' || number, amount_fen FROM made_good WHERE day = %(day)s
    UNION ALL SELECT a.no, f.amount_fen FROM outgoing a
        JOIN outgoing f ON f.day = a.day AND f.no = a.again_of AND f.handled = 'again' AND (f.kind, f.uid) = (a.kind, a.uid)
        WHERE a.day = %(day)s) AS b
FULL JOIN (SELECT no, amount_fen FROM outgoing WHERE day = %(day)s) AS o ON o.no = b.no
WHERE b.fen IS DISTINCT FROM o.amount_fen ORDER BY 1 LIMIT %(limit)s
