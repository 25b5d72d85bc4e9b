-- Every statement of the service, by name. Parameters are psycopg's.

-- create_round: The round of a day with its rules and seed, unless it exists.
INSERT INTO rounds (day, rules, seed, seed_hash)
VALUES (%(day)s, %(rules)s::jsonb, %(seed)s, sha256(%(seed)s))
ON CONFLICT (day) DO NOTHING

-- get_round: Everything that is recorded of a round.
SELECT * FROM rounds WHERE day = %(day)s

-- lock_settlement: Waits until nobody else settles, voids or finishes a round.
SELECT pg_advisory_xact_lock(%(lock)s)

-- live_rounds: Rounds whose keys may still be in Redis, oldest first.
SELECT day, rules, state, finished_at FROM rounds
WHERE finished_at IS NULL OR finished_at > now() - make_interval(secs => %(keep_seconds)s)
ORDER BY day

-- drained_shards: Shards of a round of which Postgres has read something.
SELECT shard FROM outbox_positions WHERE day = %(day)s

-- try_lease: Whether this transaction may drain the shard.
SELECT pg_try_advisory_xact_lock(%(lock)s, %(shard)s) AS ours

-- wait_lease: Until nobody else drains the shard, and nobody does before this transaction ends.
SELECT pg_advisory_xact_lock(%(lock)s, %(shard)s)

-- save_position: How far a shard's outbox is in the books.
INSERT INTO outbox_positions (day, shard, last_id) VALUES (%(day)s, %(shard)s, %(last_id)s)
ON CONFLICT (day, shard) DO UPDATE SET last_id = excluded.last_id, drained_at = now()

-- closed_shards: What the shards of a round said when they closed.
SELECT * FROM closings WHERE day = %(day)s ORDER BY shard

-- count_books: Members and winners as the books have them.
SELECT (SELECT count(*) FROM members WHERE day = %(day)s) AS members,
       (SELECT count(*) FROM members WHERE day = %(day)s AND late) AS late,
       (SELECT coalesce(sum(stake_fen), 0)::bigint FROM members WHERE day = %(day)s) AS pool_fen,
       (SELECT count(*) FROM check_ins WHERE day = %(day)s) AS winners,
       (SELECT count(*) FROM members m WHERE day = %(day)s AND late AND NOT EXISTS
           (SELECT FROM check_ins c WHERE c.day = m.day AND c.uid = m.uid)) AS late_sleepers

-- set_state: The next step of a round, from the step that it is at.
UPDATE rounds SET state = %(to)s WHERE day = %(day)s AND state = %(from)s RETURNING day

-- take_carried: What earlier rounds could not give to anybody, for this one's pot; each once.
WITH taken AS (
    UPDATE rounds SET carried_to = %(day)s
    WHERE day < %(day)s AND carried_out_fen > 0 AND carried_to IS NULL AND state IN ('settled', 'finished')
    RETURNING carried_out_fen)
SELECT coalesce(sum(carried_out_fen), 0)::bigint AS fen FROM taken

-- give_carried_back: A voided round leaves what it had taken to the next one.
UPDATE rounds SET carried_to = NULL WHERE carried_to = %(day)s

-- save_split: The figures of the split, together with the manifest.
UPDATE rounds SET state = 'split', members = %(members)s, winners = %(winners)s, late = %(late)s,
    pool_fen = %(pool_fen)s, refunded_fen = %(refunded_fen)s, forfeited_fen = %(forfeited_fen)s, fee_fen = %(fee_fen)s,
    carried_in_fen = %(carried_in_fen)s, pot_fen = %(pot_fen)s, carried_out_fen = %(carried_out_fen)s
WHERE day = %(day)s AND state = 'closed' RETURNING day

-- refund_sleepers: Gives their stakes back to members who did not check in: all, or the late ones.
INSERT INTO refunds (day, order_no, transaction_id, refund_no, uid, amount_fen, reason, at_ms)
SELECT p.day, p.order_no, p.transaction_id, refund_no(p.order_no, p.transaction_id), p.uid, p.amount_fen, %(reason)s, %(at_ms)s
FROM members m JOIN payments p ON p.day = m.day AND p.uid = m.uid AND p.outcome IN ('paid', 'paid_late')
WHERE m.day = %(day)s AND (m.late OR %(everybody)s)
  AND NOT EXISTS (SELECT FROM check_ins c WHERE c.day = m.day AND c.uid = m.uid)
ON CONFLICT DO NOTHING

-- refund_members: Gives every member's stake back.
INSERT INTO refunds (day, order_no, transaction_id, refund_no, uid, amount_fen, reason, at_ms)
SELECT day, order_no, transaction_id, refund_no(order_no, transaction_id), uid, amount_fen, %(reason)s, %(at_ms)s
FROM payments WHERE day = %(day)s AND outcome IN ('paid', 'paid_late')
ON CONFLICT DO NOTHING

-- manifest_page: A shard's packets from an index on, in order, as one text: a row each would take longer than pushing them.
SELECT string_agg(fen::text, ' ' ORDER BY index) AS fens FROM packets
WHERE day = %(day)s AND shard = %(shard)s AND index >= %(first)s AND index < %(first)s::int + %(limit)s HAVING count(*) > 0

-- manifest_sums: How many packets a shard has, and their sum.
SELECT shard, count(*) AS packets, sum(fen)::bigint AS fen FROM packets WHERE day = %(day)s GROUP BY shard

-- packets_range: The smallest and the largest packet of a round.
SELECT count(*) AS packets, coalesce(sum(fen), 0)::bigint AS fen, coalesce(min(fen), 0) AS smallest, coalesce(max(fen), 0) AS largest
FROM packets WHERE day = %(day)s

-- drop_manifest: A voided round has none.
DELETE FROM packets WHERE day = %(day)s

-- mark_settled: Claiming is open.
UPDATE rounds SET state = 'settled', settled_at = now() WHERE day = %(day)s AND state = 'published'

-- mark_finished: Every winner has been credited; keys expire from here on.
UPDATE rounds SET state = CASE state WHEN 'settled' THEN 'finished' ELSE state END, finished_at = now()
WHERE day = %(day)s AND state IN ('settled', 'void') AND finished_at IS NULL

-- start_voiding: From any state before claiming could open.
UPDATE rounds SET state = 'voiding', void_reason = %(reason)s
WHERE day = %(day)s AND state IN ('open', 'closed', 'split') RETURNING day

-- mark_void: Every stake is owed back.
UPDATE rounds SET state = 'void', settled_at = now(), members = %(members)s, winners = %(winners)s, late = %(late)s,
    pool_fen = %(pool_fen)s, refunded_fen = %(pool_fen)s, forfeited_fen = 0, fee_fen = 0, carried_in_fen = 0, pot_fen = 0,
    carried_out_fen = 0
WHERE day = %(day)s AND state = 'voiding'

-- unclaimed: Winners without a claim.
SELECT c.uid FROM check_ins c LEFT JOIN claims l ON l.day = c.day AND l.uid = c.uid
WHERE c.day = %(day)s AND l.uid IS NULL ORDER BY c.uid LIMIT %(limit)s

-- sum_claims: What was claimed, and whether each claim is a packet of the manifest.
SELECT count(*) AS claims, coalesce(sum(c.packet_fen), 0)::bigint AS packets_fen,
       count(*) FILTER (WHERE p.fen IS DISTINCT FROM c.packet_fen) AS strays,
       count(*) FILTER (WHERE c.by = 'system') AS by_system
FROM claims c LEFT JOIN packets p ON p.day = c.day AND p.shard = c.shard AND p.index = c.index
WHERE c.day = %(day)s

-- sum_refunds: What is owed back.
SELECT count(*) AS refunds, coalesce(sum(amount_fen), 0)::bigint AS fen FROM refunds WHERE day = %(day)s

-- list_quarantine: Newest first.
SELECT encode(digest, 'hex') AS id, day, at_ms, channel, reason, order_no, raw FROM quarantine
ORDER BY at_ms DESC, digest LIMIT %(limit)s OFFSET %(offset)s

-- count_quarantine: How many there are.
SELECT count(*) AS total FROM quarantine

-- find_order: Who ordered what.
SELECT * FROM orders WHERE day = %(day)s AND uid = %(uid)s

-- ping: Does Postgres answer?
SELECT 1 AS ok

-- pool_balance: What a round's pool account holds; 0 once everything has gone where it belongs.
SELECT coalesce(sum(CASE WHEN to_account = 'pool:' || to_char(day, 'YYYY-MM-DD') THEN amount_fen
                         WHEN from_account = 'pool:' || to_char(day, 'YYYY-MM-DD') THEN -amount_fen ELSE 0 END), 0)::bigint AS fen
FROM transfers WHERE day = %(day)s

-- take_outgoing: What is due to be sent or asked about, for this process alone until the lease ends.
WITH due AS (
    SELECT day, no, state AS was FROM outgoing
    WHERE state IN ('owed', 'unknown', 'processing') AND next_at <= now()
    ORDER BY next_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
UPDATE outgoing o SET attempts = attempts + 1, next_at = now() + make_interval(secs => %(lease_seconds)s),
    state = CASE due.was WHEN 'owed' THEN 'unknown' ELSE due.was END
FROM due WHERE o.day = due.day AND o.no = due.no
RETURNING o.day, o.no, o.kind, o.uid, o.amount_fen, o.order_no, o.transaction_id, o.attempts, due.was,
    (SELECT open_id FROM orders r WHERE r.day = o.day AND r.uid = o.uid) AS open_id,
    (SELECT p.channel FROM orders r JOIN payments p ON p.day = r.day AND p.order_no = r.order_no
     WHERE r.day = o.day AND r.uid = o.uid
       AND CASE o.kind WHEN 'refund' THEN p.transaction_id = o.transaction_id ELSE p.outcome IN ('paid', 'paid_late') END
     LIMIT 1) AS channel

-- end_outgoing: What became of it, for good.
UPDATE outgoing SET state = %(state)s, reason = %(reason)s, ended_at = now()
WHERE day = %(day)s AND no = %(no)s AND state NOT IN ('done', 'failed')

-- delay_outgoing: It is not ended; when to look again.
UPDATE outgoing SET state = %(state)s, reason = %(reason)s, next_at = now() + make_interval(secs => %(seconds)s)
WHERE day = %(day)s AND no = %(no)s AND state NOT IN ('done', 'failed')

-- count_outgoing: How much is in which state.
SELECT kind, state, count(*) AS count, coalesce(sum(amount_fen), 0)::bigint AS fen FROM outgoing
WHERE %(day)s::date IS NULL OR day = %(day)s GROUP BY kind, state ORDER BY kind, state

-- list_outgoing: In one state, newest first; "stuck" is what was tried for a long time.
SELECT day, no, kind, uid, amount_fen, state, attempts, reason, order_no FROM outgoing
WHERE (state = %(state)s OR (%(state)s = 'stuck' AND state IN ('owed', 'unknown', 'processing') AND attempts >= %(stuck)s))
ORDER BY day DESC, no LIMIT %(limit)s OFFSET %(offset)s

-- unpaid_orders_due: Orders without a payment that the channel should be asked about now.
SELECT o.order_no FROM orders o LEFT JOIN order_questions q ON q.day = o.day AND q.order_no = o.order_no
WHERE o.day = %(day)s AND o.at_ms <= %(now_ms)s - %(first)s AND coalesce(q.next_at_ms, 0) <= %(now_ms)s
  AND NOT EXISTS (SELECT FROM payments p WHERE p.day = o.day AND p.order_no = o.order_no)
ORDER BY coalesce(q.next_at_ms, o.at_ms) LIMIT %(limit)s

-- unpaid_orders: All orders of a round without a payment.
SELECT o.order_no FROM orders o
WHERE o.day = %(day)s AND NOT EXISTS (SELECT FROM payments p WHERE p.day = o.day AND p.order_no = o.order_no)
ORDER BY o.order_no

-- note_questions: What the channel said; the next question waits twice as long as the last one, up to six hours, or until again_ms.
INSERT INTO order_questions (day, order_no, asked, next_at_ms, answer)
SELECT %(day)s, order_no, 1, least(%(now_ms)s + 240000, %(again_ms)s::bigint), answer
FROM unnest(%(order_nos)s::text[], %(answers)s::text[]) AS said (order_no, answer)
ON CONFLICT (day, order_no) DO UPDATE SET asked = order_questions.asked + 1, answer = excluded.answer,
    next_at_ms = least(%(again_ms)s::bigint,
        %(now_ms)s + least(21600000, 120000 * (2 ^ least(order_questions.asked + 1, 10))::bigint))

-- list_unanswered: Unpaid orders of which the channel could not say whether they are paid.
SELECT order_no, asked, next_at_ms FROM order_questions WHERE day = %(day)s AND answer = 'unknown'
ORDER BY order_no LIMIT %(limit)s OFFSET %(offset)s

-- mark_swept: The channel has been asked about the round's unpaid orders.
UPDATE rounds SET swept_at = now(), unanswered_orders = %(unanswered)s WHERE day = %(day)s

-- save_reconciliation: What the comparison found.
INSERT INTO reconciliations (day, differences, mended) VALUES (%(day)s, %(differences)s::jsonb, %(mended)s::jsonb)

-- unreconciled: Finished rounds that nobody has compared since they ended; where the bill was missing, hourly again.
SELECT r.day FROM rounds r WHERE r.finished_at > now() - make_interval(days => 7)
  AND NOT EXISTS (SELECT FROM reconciliations c WHERE c.day = r.day AND c.at >= r.finished_at
      AND (c.at > now() - make_interval(hours => 1) OR NOT c.differences @> '[{"what": "bill_missing"}]'))
ORDER BY r.day

-- manifest: Every packet of a round, in the order of the split.
SELECT fen FROM packets WHERE day = %(day)s ORDER BY shard, index

-- stray_claims: Claims of a packet that the manifest does not have, or has with another sum.
SELECT c.uid, c.packet_fen, p.fen FROM claims c
LEFT JOIN packets p ON p.day = c.day AND p.shard = c.shard AND p.index = c.index
WHERE c.day = %(day)s AND p.fen IS DISTINCT FROM c.packet_fen ORDER BY c.uid LIMIT %(limit)s

-- payments_of_round: Every payment taken, whatever became of it.
SELECT order_no, transaction_id, amount_fen FROM payments WHERE day = %(day)s

-- outgoing_numbers: Everything on its way out.
SELECT no, kind, state, amount_fen FROM outgoing WHERE day = %(day)s

-- money_dates: The dates on which a round's money may have come in or gone out.
SELECT DISTINCT (to_timestamp(paid_at_ms / 1000) AT TIME ZONE %(zone)s)::date AS date FROM payments WHERE day = %(day)s
UNION
SELECT generate_series(first, least(last, first + 60), '1 day')::date FROM (
    SELECT DISTINCT (created_at AT TIME ZONE %(zone)s)::date AS first,
           (coalesce(ended_at, now()) AT TIME ZONE %(zone)s)::date AS last FROM outgoing WHERE day = %(day)s) AS spans

-- unqueued: What the books owe and nobody sends, and what is sent without being owed.
SELECT coalesce(b.no, o.no) AS no, b.fen AS owed, o.amount_fen AS queued FROM (
    SELECT 'P' || to_char(day, 'YYYYMMDD') || uid AS no, stake_fen + packet_fen AS fen FROM claims WHERE day = %(day)s
    UNION ALL SELECT refund_no, amount_fen FROM refunds WHERE day = %(day)s) AS b
FULL JOIN (SELECT no, amount_fen FROM outgoing WHERE day = %(day)s) AS o ON o.no = b.no
WHERE b.fen IS DISTINCT FROM o.amount_fen ORDER BY 1 LIMIT %(limit)s

-- rebuild_users: Everything that Redis knew of a round's users.
SELECT o.uid, o.order_no, o.order_id, o.open_id, p.transaction_id, m.late, c.uid IS NOT NULL AS checked_in, l.packet_fen
FROM orders o
LEFT JOIN members m ON m.day = o.day AND m.uid = o.uid
LEFT JOIN payments p ON p.day = o.day AND p.order_no = o.order_no AND p.outcome IN ('paid', 'paid_late')
LEFT JOIN check_ins c ON c.day = o.day AND c.uid = o.uid
LEFT JOIN claims l ON l.day = o.day AND l.uid = o.uid
WHERE o.day = %(day)s ORDER BY o.uid

-- rebuild_payments: Payments that were answered with a refund.
SELECT uid, order_no, transaction_id, outcome FROM payments
WHERE day = %(day)s AND outcome NOT IN ('paid', 'paid_late')

-- rebuild_packets: Packets that nobody has claimed, in the order in which a shard hands them out.
SELECT p.shard, p.fen FROM packets p LEFT JOIN claims l ON l.day = p.day AND l.shard = p.shard AND l.index = p.index
WHERE p.day = %(day)s AND l.uid IS NULL ORDER BY p.shard, p.index

-- me: A user's sums from the ledger, and days from the check-ins; fen.
WITH own AS (SELECT kind, amount_fen, from_account, to_account FROM transfers WHERE uid = %(uid)s),
days AS (SELECT day, day - (row_number() OVER (ORDER BY day))::int AS run FROM check_ins WHERE uid = %(uid)s)
SELECT (SELECT coalesce(sum(CASE kind WHEN 'stake' THEN amount_fen WHEN 'refund' THEN -amount_fen END), 0)::bigint FROM own) AS spend_money,
       (SELECT coalesce(sum(amount_fen), 0)::bigint FROM own WHERE kind = 'packet') AS income_money,
       (SELECT coalesce(max(amount_fen), 0)::bigint FROM own WHERE kind = 'packet') AS max_money,
       (SELECT count(*) FROM own WHERE kind = 'stake') AS join_num,
       (SELECT count(*) FROM days) AS clock_day_num,
       (SELECT coalesce(max(length), 0) FROM (SELECT count(*) AS length FROM days GROUP BY run) AS runs) AS long_day_num,
       (SELECT coalesce(sum(CASE 'user:' || %(uid)s WHEN to_account THEN amount_fen WHEN from_account THEN -amount_fen END), 0)::bigint
        FROM own) AS balance

-- history: A user's money events, newest first; payouts and refunds with their state.
SELECT t.kind, t.amount_fen, t.day, t.at_ms, o.state
FROM transfers t LEFT JOIN outgoing o ON o.day = t.day AND o.uid = t.uid
    AND (t.kind = 'payout' AND o.kind = 'payout'
         OR t.kind IN ('refund', 'unwanted') AND o.kind = 'refund' AND o.order_no || ':' || o.transaction_id = t.cause)
WHERE t.uid = %(uid)s AND t.kind NOT IN ('payout_sent', 'refund_sent')
ORDER BY t.at_ms DESC, t.day DESC, t.kind, t.cause LIMIT %(limit)s OFFSET %(offset)s

-- count_history: How many there are.
SELECT count(*) AS total FROM transfers WHERE uid = %(uid)s AND kind NOT IN ('payout_sent', 'refund_sent')

-- find_payment: Whether a payment is in the books.
SELECT 1 AS found FROM payments WHERE day = %(day)s AND order_no = %(order_no)s AND transaction_id = %(transaction_id)s

-- count_quarantine_of: How many callbacks a round's first shard has kept aside.
SELECT count(*) AS total FROM quarantine WHERE day = %(day)s
