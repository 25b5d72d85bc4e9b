-- Every statement of the service, by name. Parameters are psycopg's.

-- create_round: The round of a day with its rules and seed, unless it exists.
INSERT INTO rounds (day, rules, seed, seed_hash)
VALUES (%(day)s, %(rules)s::jsonb, %(seed)s, sha256(%(seed)s))
ON CONFLICT (day) DO NOTHING

-- get_round: The row of a round.
SELECT * FROM rounds WHERE day = %(day)s

-- lock_settlement: Waits for the advisory lock under which a round is settled, voided or finished.
SELECT pg_advisory_xact_lock(%(lock)s)

-- live_rounds: Rounds whose keys may still be in Redis, oldest first.
SELECT * FROM rounds
WHERE finished_at IS NULL OR finished_at > now() - make_interval(secs => %(keep_seconds)s)
ORDER BY day

-- drained_shards: Shards of a round of which Postgres has drained entries.
SELECT shard FROM outbox_positions WHERE day = %(day)s

-- try_lease: Whether this transaction gets the lease of the shard.
SELECT pg_try_advisory_xact_lock(%(lock)s, %(shard)s) AS ours

-- wait_lease: Waits for the lease of the shard, and holds it until this transaction ends.
SELECT pg_advisory_xact_lock(%(lock)s, %(shard)s)

-- save_position: The position up to which a shard's outbox is in the books.
INSERT INTO outbox_positions (day, shard, last_id, entries) VALUES (%(day)s, %(shard)s, %(last_id)s, %(entries)s)
ON CONFLICT (day, shard) DO UPDATE SET last_id = excluded.last_id, entries = excluded.entries, drained_at = now()

-- positions: How far the outboxes of a round, or of users, are in the books.
SELECT shard, last_id, entries FROM outbox_positions WHERE day IS NOT DISTINCT FROM %(day)s::date

-- members_among: Those of some users who are members of a round.
SELECT uid FROM members WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[])

-- accepted_payments: The payments that made some users members of a round.
SELECT uid, order_no, transaction_id FROM payments
WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[]) AND outcome IN ('paid', 'paid_late')

-- closed_shards: The final totals of a round's shards.
SELECT * FROM closings WHERE day = %(day)s ORDER BY shard

-- stray_ranks: Ranks that more or fewer winners have than there are shards with so many winners.
SELECT count(*) AS ranks FROM (SELECT rank, count(*) AS winners FROM check_ins WHERE day = %(day)s GROUP BY rank) AS given
FULL JOIN (SELECT generate_series(1, winners) AS rank, count(*) AS winners FROM closings WHERE day = %(day)s GROUP BY 1) AS due
    ON due.rank = given.rank
WHERE due.winners IS DISTINCT FROM given.winners

-- ranks: Every winner of a round.
SELECT uid, rank FROM check_ins WHERE day = %(day)s ORDER BY rank, at_ms, uid

-- correct_ranks: Ranks of winners, where two servers gave the same ones.
UPDATE check_ins c SET rank = said.rank FROM unnest(%(uids)s::bigint[], %(ranks)s::int[]) AS said (uid, rank)
WHERE c.day = %(day)s AND c.uid = said.uid

-- correct_closing: What a shard said when it closed, where it had forgotten something.
UPDATE closings SET members = %(members)s, winners = %(winners)s, late = %(late)s, pool_fen = %(pool_fen)s
WHERE day = %(day)s AND shard = %(shard)s
  AND (members, winners, late, pool_fen) IS DISTINCT FROM (%(members)s, %(winners)s, %(late)s, %(pool_fen)s) RETURNING shard

-- count_books: Members and winners as the books have them.
SELECT (SELECT count(*) FROM members WHERE day = %(day)s) AS members,
       (SELECT count(*) FROM members WHERE day = %(day)s AND late) AS late,
       (SELECT coalesce(sum(stake_fen), 0)::bigint FROM members WHERE day = %(day)s) AS pool_fen,
       (SELECT count(*) FROM check_ins WHERE day = %(day)s) AS winners,
       (SELECT count(*) FROM members m WHERE day = %(day)s AND late AND NOT EXISTS
           (SELECT FROM check_ins c WHERE c.day = m.day AND c.uid = m.uid)) AS late_sleepers

-- set_state: Moves a round from its current state to the next.
UPDATE rounds SET state = %(to)s WHERE day = %(day)s AND state = %(from)s RETURNING day

-- take_carried: Takes the sums carried out of earlier rounds for this round's pot; each once.
WITH taken AS (
    UPDATE rounds SET carried_to = %(day)s
    WHERE day < %(day)s AND carried_out_fen > 0 AND carried_to IS NULL AND state IN ('settled', 'finished')
    RETURNING carried_out_fen)
SELECT coalesce(sum(carried_out_fen), 0)::bigint AS fen FROM taken

-- give_carried_back: Returns the sums that a void round had carried in, for the next round.
UPDATE rounds SET carried_to = NULL WHERE carried_to = %(day)s

-- save_split: The figures of the split, together with the manifest.
UPDATE rounds SET state = 'split', members = %(members)s, winners = %(winners)s, late = %(late)s,
    pool_fen = %(pool_fen)s, refunded_fen = %(refunded_fen)s, forfeited_fen = %(forfeited_fen)s, fee_fen = %(fee_fen)s,
    carried_in_fen = %(carried_in_fen)s, pot_fen = %(pot_fen)s, carried_out_fen = %(carried_out_fen)s,
    smallest_fen = %(smallest_fen)s, largest_fen = %(largest_fen)s
WHERE day = %(day)s AND state = 'closed' RETURNING day

-- refund_sleepers: Refunds members who did not check in: all, or the late ones.
INSERT INTO refunds (day, order_no, transaction_id, refund_no, uid, amount_fen, reason, at_ms)
SELECT p.day, p.order_no, p.transaction_id, refund_no(p.order_no, p.transaction_id), p.uid, p.amount_fen, %(reason)s, %(at_ms)s
FROM members m JOIN payments p ON p.day = m.day AND p.uid = m.uid AND p.outcome IN ('paid', 'paid_late')
WHERE m.day = %(day)s AND (m.late OR %(everybody)s)
  AND NOT EXISTS (SELECT FROM check_ins c WHERE c.day = m.day AND c.uid = m.uid)
ON CONFLICT DO NOTHING

-- refund_members: Refunds every member's stake.
INSERT INTO refunds (day, order_no, transaction_id, refund_no, uid, amount_fen, reason, at_ms)
SELECT day, order_no, transaction_id, refund_no(order_no, transaction_id), uid, amount_fen, %(reason)s, %(at_ms)s
FROM payments WHERE day = %(day)s AND outcome IN ('paid', 'paid_late')
ON CONFLICT DO NOTHING

-- manifest_page: A shard's packets from an index on, in chunks of one text each: a row each would take longer than pushing them.
SELECT min(index) AS first, count(*) AS packets, string_agg(fen::text, ' ' ORDER BY index) AS fens FROM packets
WHERE day = %(day)s AND shard = %(shard)s AND index >= %(first)s AND index < %(first)s::int + %(limit)s
GROUP BY (index - %(first)s::int) / %(chunk)s::int ORDER BY 1

-- manifest_sums: How many packets a shard has, and their sum.
SELECT shard, count(*) AS packets, sum(fen)::bigint AS fen FROM packets WHERE day = %(day)s GROUP BY shard

-- drop_manifest: Deletes the manifest of a void round.
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
    carried_out_fen = 0, smallest_fen = NULL, largest_fen = NULL
WHERE day = %(day)s AND state = 'voiding'

-- unclaimed: Winners without a claim.
SELECT c.uid FROM check_ins c LEFT JOIN claims l ON l.day = c.day AND l.uid = c.uid
WHERE c.day = %(day)s AND l.uid IS NULL ORDER BY c.uid LIMIT %(limit)s

-- sum_refunds: The sum of a round's refunds.
SELECT count(*) AS refunds, coalesce(sum(amount_fen), 0)::bigint AS fen FROM refunds WHERE day = %(day)s

-- list_quarantine: Callbacks with their decisions, newest first: all, or only those that wait for a decision.
SELECT encode(q.digest, 'hex') AS id, q.day, q.at_ms, q.channel, q.reason, q.order_no, q.raw,
       r.action, r.reason AS why, r.by_whom, (extract(epoch FROM r.at) * 1000)::bigint AS released_ms, r.amount_fen, r.refund_no
FROM quarantine q LEFT JOIN releases r ON r.digest = q.digest
WHERE NOT %(waiting)s OR r.digest IS NULL
ORDER BY q.at_ms DESC, q.digest LIMIT %(limit)s OFFSET %(offset)s

-- count_quarantine: The number of callbacks, and of those that wait for a decision.
SELECT total, total - (SELECT count(*) FROM releases) AS waiting FROM (SELECT count(*) AS total FROM quarantine) AS kept

-- get_quarantined: One callback with its decision, if any.
SELECT q.digest, q.day, q.at_ms AS kept_ms, q.channel, q.reason AS refused, q.order_no, q.raw,
       r.action, r.reason, r.by_whom, (extract(epoch FROM r.at) * 1000)::bigint AS at_ms, r.day AS refunded_in,
       r.transaction_id, r.amount_fen, r.refund_no
FROM quarantine q LEFT JOIN releases r ON r.digest = q.digest WHERE q.digest = %(digest)s

-- waiting_of_order: Callbacks of an order number that wait for a decision.
SELECT q.digest, q.raw FROM quarantine q LEFT JOIN releases r ON r.digest = q.digest
WHERE q.order_no = %(order_no)s AND q.channel = %(channel)s AND r.digest IS NULL ORDER BY q.digest LIMIT 1000

-- lock_releases: Waits for the lock under which quarantined callbacks are decided.
SELECT pg_advisory_xact_lock(%(lock)s)

-- save_release: What an operator decided.
INSERT INTO releases (digest, action, reason, by_whom, day, order_no, transaction_id, amount_fen, refund_no)
VALUES (%(digest)s, %(action)s, %(reason)s, %(by_whom)s, %(day)s, %(order_no)s, %(transaction_id)s, %(amount_fen)s, %(refund_no)s)

-- transaction_known: Payments and decisions of a channel's transaction, under any order number.
SELECT 'books' AS place, p.order_no, p.outcome AS known FROM payments p
WHERE p.transaction_id = %(transaction_id)s AND p.channel = %(channel)s
UNION ALL
SELECT 'release', r.order_no, r.action FROM releases r JOIN quarantine q ON q.digest = r.digest
WHERE r.transaction_id = %(transaction_id)s AND r.transaction_id <> '' AND q.channel = %(channel)s
LIMIT 100

-- dismissed: Payments that an operator dismissed and that are not in the books.
SELECT r.order_no, r.transaction_id, r.amount_fen FROM releases r
WHERE r.action = 'dismiss' AND r.transaction_id = ANY(%(transaction_ids)s::text[]) AND NOT EXISTS
    (SELECT FROM payments p WHERE p.order_no = r.order_no AND p.transaction_id = r.transaction_id)

-- steps: How many users took which step of a round, minute by minute.
SELECT minute_ms, step, sum(count)::bigint AS count FROM steps WHERE day = %(day)s GROUP BY 1, 2 ORDER BY 1, 2

-- count_steps: How many users of each shard took which step of a round.
SELECT shard, step, sum(count)::bigint AS count FROM steps WHERE day = %(day)s GROUP BY 1, 2

-- server_name: Which server answers: it is another one after a restart, a promotion or a restore.
SELECT pg_postmaster_start_time() AS started, inet_server_addr() AS address, inet_server_port() AS port

-- last_reconciliation: The latest reconciliation of a round.
SELECT (extract(epoch FROM at) * 1000)::bigint AS at_ms, differences, mended FROM reconciliations
WHERE day = %(day)s ORDER BY at DESC LIMIT 1

-- watch: Figures for operators over all rounds; each reads a partial index or a few days.
SELECT
    (SELECT count(*) FROM quarantine) - (SELECT count(*) FROM releases) AS quarantine_waiting,
    (SELECT count(*) FROM outgoing WHERE state IN ('owed', 'unknown', 'processing') AND attempts >= %(stuck)s) AS outgoing_stuck,
    (SELECT count(*) FROM reminders WHERE state = 'due') AS reminders_due,
    (SELECT coalesce(sum(jsonb_array_length(differences)), 0)::bigint FROM (
        SELECT DISTINCT ON (day) day, differences FROM reconciliations
        WHERE day >= %(today)s::date - 7 ORDER BY day, at DESC) AS newest) AS differences

-- watch_outgoing: Money on its way, and failed, over all rounds.
SELECT kind, state, count(*) AS count, coalesce(sum(amount_fen), 0)::bigint AS fen,
       (extract(epoch FROM now() - min(created_at)))::bigint AS oldest_seconds
FROM outgoing WHERE state IN ('owed', 'unknown', 'processing') GROUP BY 1, 2
UNION ALL
SELECT kind, state, count(*), coalesce(sum(amount_fen), 0)::bigint, (extract(epoch FROM now() - min(created_at)))::bigint
FROM outgoing WHERE state = 'failed' GROUP BY 1, 2
ORDER BY 1, 2

-- watch_rounds: The rounds that are not over.
SELECT * FROM rounds WHERE finished_at IS NULL ORDER BY day LIMIT 100

-- find_order: A user's order in a round.
SELECT * FROM orders WHERE day = %(day)s AND uid = %(uid)s

-- pool_balance: The balance of a round's pool account; 0 once the round has ended.
SELECT coalesce(sum(CASE WHEN to_account = 'pool:' || to_char(day, 'YYYY-MM-DD') THEN amount_fen
                         WHEN from_account = 'pool:' || to_char(day, 'YYYY-MM-DD') THEN -amount_fen ELSE 0 END), 0)::bigint AS fen
FROM transfers WHERE day = %(day)s

-- take_outgoing: Leases rows that are due to be sent or queried to this process.
WITH due AS (
    SELECT day, no, state AS was FROM outgoing
    WHERE state IN ('owed', 'unknown', 'processing') AND next_at <= now()
    ORDER BY next_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
UPDATE outgoing o SET attempts = attempts + 1, next_at = now() + make_interval(secs => %(lease_seconds)s),
    state = CASE due.was WHEN 'owed' THEN 'unknown' ELSE due.was END
FROM due WHERE o.day = due.day AND o.no = due.no
RETURNING o.day, o.no, o.kind, o.uid, o.amount_fen, o.order_no, o.transaction_id, o.attempts, due.was,
    (SELECT open_id FROM orders r WHERE r.day = o.day AND r.uid = o.uid) AS open_id,
    CASE o.kind WHEN 'refund' THEN
        (SELECT p.channel FROM payments p
         WHERE p.day = o.day AND p.order_no = o.order_no AND p.transaction_id = o.transaction_id)
    ELSE (SELECT p.channel FROM orders r JOIN payments p ON p.day = r.day AND p.order_no = r.order_no
         WHERE r.day = o.day AND r.uid = o.uid AND p.outcome IN ('paid', 'paid_late') LIMIT 1) END AS channel

-- end_outgoing: Records a final state.
UPDATE outgoing SET state = %(state)s, reason = %(reason)s, ended_at = now()
WHERE day = %(day)s AND no = %(no)s AND state NOT IN ('done', 'failed')

-- delay_outgoing: Records a state that is not final, and when to retry.
UPDATE outgoing SET state = %(state)s, reason = %(reason)s, next_at = now() + make_interval(secs => %(seconds)s)
WHERE day = %(day)s AND no = %(no)s AND state NOT IN ('done', 'failed')

-- count_outgoing: Count and sum of each state.
SELECT kind, state, count(*) AS count, coalesce(sum(amount_fen), 0)::bigint AS fen FROM outgoing
WHERE %(day)s::date IS NULL OR day = %(day)s GROUP BY kind, state ORDER BY kind, state

-- list_outgoing: Rows in one state, newest first; "stuck" means tried for a long time.
SELECT day, no, kind, uid, amount_fen, state, attempts, reason, order_no FROM outgoing
WHERE (%(day)s::date IS NULL OR day = %(day)s)
  AND (state = %(state)s OR (%(state)s = 'stuck' AND state IN ('owed', 'unknown', 'processing') AND attempts >= %(stuck)s))
ORDER BY day DESC, no LIMIT %(limit)s OFFSET %(offset)s

-- unpaid_orders_due: Orders without a payment that are due for a query to the channel.
SELECT o.order_no FROM orders o LEFT JOIN order_questions q ON q.day = o.day AND q.order_no = o.order_no
WHERE o.day = %(day)s AND o.at_ms <= %(now_ms)s - %(first)s AND coalesce(q.next_at_ms, 0) <= %(now_ms)s
  AND NOT EXISTS (SELECT FROM payments p WHERE p.day = o.day AND p.order_no = o.order_no)
ORDER BY coalesce(q.next_at_ms, o.at_ms) LIMIT %(limit)s

-- unpaid_orders: All orders of a round without a payment.
SELECT o.order_no FROM orders o
WHERE o.day = %(day)s AND NOT EXISTS (SELECT FROM payments p WHERE p.day = o.day AND p.order_no = o.order_no)
ORDER BY o.order_no

-- note_questions: Records the channel's answers; the delay of the next query doubles up to six hours, but ends at again_ms.
INSERT INTO order_questions (day, order_no, asked, next_at_ms, answer)
SELECT %(day)s, order_no, 1, least(%(now_ms)s + 240000, %(again_ms)s::bigint), answer
FROM unnest(%(order_nos)s::text[], %(answers)s::text[]) AS said (order_no, answer)
ON CONFLICT (day, order_no) DO UPDATE SET asked = order_questions.asked + 1, answer = excluded.answer,
    next_at_ms = least(%(again_ms)s::bigint,
        %(now_ms)s + least(21600000, 120000 * (2 ^ least(order_questions.asked + 1, 10))::bigint))

-- list_unanswered: Unpaid orders whose payment state the channel has not confirmed.
SELECT order_no, asked, next_at_ms FROM order_questions WHERE day = %(day)s AND answer = 'unknown'
ORDER BY order_no LIMIT %(limit)s OFFSET %(offset)s

-- mark_swept: The channel has been queried about the round's unpaid orders.
UPDATE rounds SET swept_at = now(), unanswered_orders = %(unanswered)s WHERE day = %(day)s

-- save_reconciliation: Stores the result of a reconciliation.
INSERT INTO reconciliations (day, differences, mended) VALUES (%(day)s, %(differences)s::jsonb, %(mended)s::jsonb)

-- unreconciled: Rounds that ended within a week and were not reconciled for a day, or for an hour if the bill was missing.
SELECT r.day FROM rounds r WHERE r.finished_at > now() - make_interval(days => 7)
  AND NOT EXISTS (SELECT FROM reconciliations c WHERE c.day = r.day AND c.at >= r.finished_at AND c.at > now()
      - make_interval(hours => CASE WHEN c.differences @> '[{"what": "bill_missing"}]' THEN 1 ELSE 24 END))
ORDER BY r.day

-- manifest: Every packet of a round, in the order of the split.
SELECT fen FROM packets WHERE day = %(day)s ORDER BY shard, index

-- stray_claims: Claims of a packet that is not in the manifest, or there with another sum.
SELECT c.uid, c.packet_fen, p.fen FROM claims c
LEFT JOIN packets p ON p.day = c.day AND p.shard = c.shard AND p.index = c.index
WHERE c.day = %(day)s AND p.fen IS DISTINCT FROM c.packet_fen ORDER BY c.uid LIMIT %(limit)s

-- payments_of_round: Every payment of a round, with any outcome.
SELECT order_no, transaction_id, amount_fen, paid_at_ms FROM payments WHERE day = %(day)s

-- outgoing_numbers: Every payout and refund of a round.
SELECT no, kind, state, amount_fen, ended_at FROM outgoing WHERE day = %(day)s

-- money_dates: The dates on which a round's money may have moved.
SELECT DISTINCT (to_timestamp(paid_at_ms / 1000) AT TIME ZONE %(zone)s)::date AS date FROM payments WHERE day = %(day)s
UNION
SELECT generate_series(first, least(last, first + 60), '1 day')::date FROM (
    SELECT DISTINCT (created_at AT TIME ZONE %(zone)s)::date AS first,
           (coalesce(ended_at, now()) AT TIME ZONE %(zone)s)::date AS last FROM outgoing WHERE day = %(day)s) AS spans

-- unqueued: Payouts and refunds that are owed but not queued, and queued but not owed.
SELECT coalesce(b.no, o.no) AS no, b.fen AS owed, o.amount_fen AS queued FROM (
    SELECT 'P' || to_char(day, 'YYYYMMDD') || uid AS no, stake_fen + packet_fen AS fen FROM claims WHERE day = %(day)s
    UNION ALL SELECT refund_no, amount_fen FROM refunds WHERE day = %(day)s) AS b
FULL JOIN (SELECT no, amount_fen FROM outgoing WHERE day = %(day)s) AS o ON o.no = b.no
WHERE b.fen IS DISTINCT FROM o.amount_fen ORDER BY 1 LIMIT %(limit)s

-- rebuild_users: The users of a round, for Redis.
SELECT o.uid, o.order_no, o.order_id, o.open_id, p.transaction_id, m.late, c.rank, l.packet_fen
FROM orders o
LEFT JOIN members m ON m.day = o.day AND m.uid = o.uid
LEFT JOIN payments p ON p.day = o.day AND p.order_no = o.order_no AND p.outcome IN ('paid', 'paid_late')
LEFT JOIN check_ins c ON c.day = o.day AND c.uid = o.uid
LEFT JOIN claims l ON l.day = o.day AND l.uid = o.uid
WHERE o.day = %(day)s ORDER BY o.uid

-- rebuild_payments: Refunded payments of existing orders, for Redis.
SELECT p.uid, p.order_no, p.transaction_id, p.outcome FROM payments p
JOIN orders o ON o.day = p.day AND o.uid = p.uid AND o.order_no = p.order_no
WHERE p.day = %(day)s AND p.outcome NOT IN ('paid', 'paid_late')

-- rebuild_packets: Every packet of a round, in the order of ranks, for Redis.
SELECT shard, fen FROM packets WHERE day = %(day)s ORDER BY shard, index

-- me: A user's sums in fen from the ledger, and days from the standings. A check-in that is not in the standings yet counts as a morning.
WITH own AS (SELECT kind, amount_fen, from_account, to_account FROM transfers WHERE uid = %(uid)s),
standing AS (SELECT * FROM standings WHERE uid = %(uid)s),
fresh AS (SELECT count(*) AS mornings FROM rounds r
          CROSS JOIN LATERAL (SELECT FROM check_ins c WHERE c.day = r.day AND c.uid = %(uid)s LIMIT 1) AS c
          WHERE r.tallied_at IS NULL AND r.state NOT IN ('voiding', 'void')
            AND NOT EXISTS (SELECT FROM standing s WHERE s.last_day >= r.day)),
latest AS (SELECT max(day) AS day FROM rounds WHERE tallied_at IS NOT NULL AND day < %(today)s)
SELECT (SELECT coalesce(sum(CASE kind WHEN 'stake' THEN amount_fen WHEN 'refund' THEN -amount_fen END), 0)::bigint FROM own) AS spend_money,
       (SELECT coalesce(sum(amount_fen), 0)::bigint FROM own WHERE kind = 'packet') AS income_money,
       (SELECT coalesce(max(amount_fen), 0)::bigint FROM own WHERE kind = 'packet') AS max_money,
       (SELECT count(*) FROM own WHERE kind = 'stake') AS join_num,
       (SELECT mornings FROM fresh) + coalesce((SELECT mornings FROM standing), 0) AS clock_day_num,
       coalesce((SELECT longest FROM standing), 0) AS long_day_num,
       coalesce((SELECT streak FROM standing, latest WHERE last_day >= day), 0) AS streak_day_num,
       (SELECT coalesce(sum(CASE 'user:' || %(uid)s WHEN to_account THEN amount_fen WHEN from_account THEN -amount_fen END), 0)::bigint
        FROM own) AS balance

-- history: A user's money events, newest first; payouts and refunds with their state.
SELECT t.kind, t.amount_fen, t.day, t.at_ms, o.state
FROM transfers t LEFT JOIN outgoing o ON o.day = t.day AND o.uid = t.uid
    AND (t.kind = 'payout' AND o.kind = 'payout'
         OR t.kind IN ('refund', 'unwanted') AND o.kind = 'refund' AND o.order_no || ':' || o.transaction_id = t.cause)
WHERE t.uid = %(uid)s AND t.kind NOT IN ('payout_sent', 'refund_sent')
ORDER BY t.at_ms DESC, t.day DESC, t.kind <> 'payout', t.kind, t.cause LIMIT %(limit)s OFFSET %(offset)s

-- count_history: The number of a user's money events.
SELECT count(*) AS total FROM transfers WHERE uid = %(uid)s AND kind NOT IN ('payout_sent', 'refund_sent')

-- find_payment: Whether a payment is in the books.
SELECT 1 AS found FROM payments WHERE day = %(day)s AND order_no = %(order_no)s AND transaction_id = %(transaction_id)s

-- count_quarantine_of: The number of callbacks quarantined through a round's first shard.
SELECT count(*) AS total FROM quarantine WHERE day = %(day)s

-- flags_used: Whether Redis must have flags of users: there is a switch, an acknowledgement, or a result.
SELECT EXISTS (SELECT FROM flags) OR EXISTS (SELECT FROM rounds WHERE tallied_uid > 0) AS used

-- rebuild_flags: The flags of all users, for Redis.
SELECT coalesce(f.uid, s.uid) AS uid, coalesce(f.remind, false) AS remind, s.last_day, f.acked_day
FROM flags f FULL JOIN standings s ON s.uid = f.uid

-- round_before: The previous round for a streak; void rounds are skipped.
SELECT max(day) AS day FROM rounds WHERE day < %(day)s AND state NOT IN ('voiding', 'void')

-- tally_waits_for: An earlier round with members that is not in the standings yet.
SELECT r.day FROM rounds r CROSS JOIN LATERAL (SELECT FROM members m WHERE m.day = r.day LIMIT 1) AS played
WHERE r.day < %(day)s AND r.tallied_at IS NULL AND r.state <> 'void' LIMIT 1

-- tally_page: Members after a uid, in order.
SELECT uid FROM members WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s

-- tally: Updates the standings of some members by a round; a round that is older than the standing changes nothing.
INSERT INTO standings (uid, last_day, streak, longest, mornings)
SELECT m.uid, m.day, (c.uid IS NOT NULL)::int, (c.uid IS NOT NULL)::int, (c.uid IS NOT NULL)::int
FROM members m LEFT JOIN check_ins c ON c.day = %(day)s AND c.uid = m.uid
WHERE m.day = %(day)s AND m.uid > %(after)s AND m.uid <= %(last)s ORDER BY m.uid
ON CONFLICT (uid) DO UPDATE SET
    last_day = excluded.last_day,
    mornings = standings.mornings + excluded.mornings,
    streak = CASE WHEN standings.last_day = %(previous)s THEN standings.streak * excluded.streak + excluded.streak ELSE excluded.streak END,
    longest = greatest(standings.longest,
        CASE WHEN standings.last_day = %(previous)s THEN standings.streak * excluded.streak + excluded.streak ELSE excluded.streak END)
WHERE standings.last_day < excluded.last_day

-- save_tally: The last member of a round who is in the standings.
UPDATE rounds SET tallied_uid = %(last)s WHERE day = %(day)s

-- save_talents: The longest streak and the first check-in of a round; ties go to the earlier check-in.
INSERT INTO talents (day, longest_uid, longest_days, earliest_uid, earliest_ms)
SELECT %(day)s, longest.uid, longest.streak, earliest.uid, earliest.at_ms FROM (SELECT 1) AS one
LEFT JOIN (SELECT c.uid, s.streak FROM check_ins c JOIN standings s ON s.uid = c.uid AND s.last_day = c.day
           WHERE c.day = %(day)s ORDER BY s.streak DESC, c.at_ms, c.rank, c.uid LIMIT 1) AS longest ON true
LEFT JOIN (SELECT uid, at_ms FROM check_ins WHERE day = %(day)s ORDER BY at_ms, rank, uid LIMIT 1) AS earliest ON true
ON CONFLICT (day) DO UPDATE SET longest_uid = excluded.longest_uid, longest_days = excluded.longest_days,
    earliest_uid = excluded.earliest_uid, earliest_ms = excluded.earliest_ms

-- mark_tallied: The whole round is in the standings.
UPDATE rounds SET tallied_at = now() WHERE day = %(day)s AND tallied_at IS NULL

-- uncounted: Settled rounds that are not in the standings or the incomes yet, oldest first.
SELECT day FROM rounds WHERE state IN ('settled', 'finished') AND (tallied_at IS NULL OR credited_at IS NULL) ORDER BY day

-- count_claims: The number of claims in the books.
SELECT count(*) AS claims FROM claims WHERE day = %(day)s

-- credit_page: Winners after a uid, in order.
SELECT uid FROM claims WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s

-- credit: Adds the packets of some winners to their incomes.
INSERT INTO incomes (uid, income_fen)
SELECT uid, packet_fen FROM claims WHERE day = %(day)s AND uid > %(after)s AND uid <= %(last)s AND packet_fen > 0 ORDER BY uid
ON CONFLICT (uid) DO UPDATE SET income_fen = incomes.income_fen + excluded.income_fen

-- save_credit: The last winner of a round who is in the incomes.
UPDATE rounds SET credited_uid = %(last)s WHERE day = %(day)s

-- save_luckiest: The largest packet of a round, if it is above 0; ties go to the earlier check-in.
INSERT INTO talents (day, luckiest_uid, luckiest_fen)
SELECT l.day, l.uid, l.packet_fen FROM claims l JOIN check_ins c ON c.day = l.day AND c.uid = l.uid
WHERE l.day = %(day)s AND l.packet_fen > 0 ORDER BY l.packet_fen DESC, c.at_ms, c.rank, c.uid LIMIT 1
ON CONFLICT (day) DO UPDATE SET luckiest_uid = excluded.luckiest_uid, luckiest_fen = excluded.luckiest_fen

-- mark_credited: The whole round is in the incomes.
UPDATE rounds SET credited_at = now() WHERE day = %(day)s AND credited_at IS NULL

-- talents: Those of the last settled round before a day.
SELECT t.*, l.nickname AS longest_nickname, l.mobile AS longest_mobile, e.nickname AS earliest_nickname,
    e.mobile AS earliest_mobile, k.nickname AS luckiest_nickname, k.mobile AS luckiest_mobile
FROM rounds r JOIN talents t ON t.day = r.day
LEFT JOIN profiles l ON l.uid = t.longest_uid
LEFT JOIN profiles e ON e.uid = t.earliest_uid
LEFT JOIN profiles k ON k.uid = t.luckiest_uid
WHERE r.tallied_at IS NOT NULL AND r.day < %(today)s ORDER BY r.day DESC LIMIT 1

-- board: Users by income, largest first.
SELECT i.uid, i.income_fen, p.nickname, p.mobile
FROM (SELECT uid, income_fen FROM incomes ORDER BY income_fen DESC, uid LIMIT %(limit)s OFFSET %(offset)s) AS i
LEFT JOIN profiles p ON p.uid = i.uid ORDER BY i.income_fen DESC, i.uid

-- count_board: The number of users on the board, up to its last place.
SELECT count(*) AS total FROM (SELECT FROM incomes LIMIT %(depth)s) AS shown

-- packets_page: A page of a round's packets in the order of the split; each shard has a contiguous range of places.
SELECT p.fen FROM (
    SELECT shard, winners, (sum(winners) OVER (ORDER BY shard) - winners)::bigint AS first FROM closings WHERE day = %(day)s) AS s
JOIN packets p ON p.day = %(day)s AND p.shard = s.shard
    AND p.index >= %(offset)s::bigint - s.first AND p.index < %(offset)s::bigint + %(limit)s::bigint - s.first
WHERE s.first < %(offset)s::bigint + %(limit)s::bigint AND s.first + s.winners > %(offset)s::bigint
ORDER BY p.shard, p.index

-- queue_reminders: Queues members with the switch on and no check-in in the books, each once.
INSERT INTO reminders (day, uid)
SELECT m.day, m.uid FROM members m JOIN flags f ON f.uid = m.uid AND f.remind
WHERE m.day = %(day)s AND NOT EXISTS (SELECT FROM check_ins c WHERE c.day = m.day AND c.uid = m.uid)
ON CONFLICT DO NOTHING

-- mark_reminded: The round's reminders are queued.
UPDATE rounds SET reminded_at = now() WHERE day = %(day)s AND state = 'open' AND reminded_at IS NULL RETURNING day

-- take_reminders: Leases reminders that are due to this process.
WITH due AS (
    SELECT day, uid FROM reminders WHERE day = %(day)s AND state = 'due' AND next_at <= now()
    ORDER BY next_at, uid LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
UPDATE reminders r SET attempts = attempts + 1, next_at = now() + make_interval(secs => %(lease_seconds)s)
FROM due WHERE r.day = due.day AND r.uid = due.uid
RETURNING r.day, r.uid, r.attempts, (SELECT open_id FROM orders o WHERE o.day = r.day AND o.uid = r.uid) AS open_id

-- end_reminders: Records a final state of some reminders.
UPDATE reminders SET state = %(state)s WHERE day = %(day)s AND uid = ANY(%(uids)s) AND state = 'due'

-- delay_reminder: Records when to retry a reminder.
UPDATE reminders SET next_at = now() + make_interval(secs => %(seconds)s) WHERE day = %(day)s AND uid = %(uid)s AND state = 'due'

-- expire_reminders: Expires unsent reminders of past rounds, and deletes old ones.
WITH gone AS (DELETE FROM reminders WHERE day < %(day)s - 30)
UPDATE reminders SET state = 'expired' WHERE day < %(day)s AND state = 'due'

-- upsert_profiles: Updates users' profiles from arrays; an empty text changes nothing.
INSERT INTO profiles (uid, open_id, mobile, nickname, at_ms)
SELECT * FROM unnest(%(uid)s::bigint[], %(open_id)s::text[], %(mobile)s::text[], %(nickname)s::text[], %(at_ms)s::bigint[])
ON CONFLICT (uid) DO UPDATE SET
    open_id = coalesce(nullif(excluded.open_id, ''), profiles.open_id),
    mobile = coalesce(nullif(excluded.mobile, ''), profiles.mobile),
    nickname = coalesce(nullif(excluded.nickname, ''), profiles.nickname),
    at_ms = excluded.at_ms
WHERE excluded.at_ms >= profiles.at_ms

-- upsert_switch: The reminder switch as last set.
INSERT INTO flags (uid, remind, switched_at_ms) VALUES (%(uid)s, %(remind)s, %(at_ms)s)
ON CONFLICT (uid) DO UPDATE SET remind = excluded.remind, switched_at_ms = excluded.switched_at_ms
WHERE excluded.switched_at_ms >= flags.switched_at_ms

-- upsert_ack: The latest round whose result the user has seen.
INSERT INTO flags (uid, acked_day) VALUES (%(uid)s, %(day)s)
ON CONFLICT (uid) DO UPDATE SET acked_day = greatest(flags.acked_day, excluded.acked_day)

-- migrations: What has been applied to this database.
SELECT name, checksum FROM migrations

-- server: What the start check judges: the server, its settings in effect here, and where this role may create tables.
SELECT current_setting('server_version_num')::int AS version_num, current_setting('server_version') AS version,
       pg_is_in_recovery() AS standby, current_setting('server_encoding') AS server_encoding,
       current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_user::text AS role, current_database()::text AS database, current_schema()::text AS schema,
       current_setting('search_path') AS search_path,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create

-- rights: Of each table: whether this role may read and write it, and whether it has the rights of its owner.
SELECT name, pg_get_userbyid(relowner)::text AS owner, pg_has_role(relowner, 'USAGE') AS owns,
       has_table_privilege(pg_class.oid, 'SELECT') AND has_table_privilege(pg_class.oid, 'INSERT')
       AND has_table_privilege(pg_class.oid, 'UPDATE') AND has_table_privilege(pg_class.oid, 'DELETE') AS may_write
FROM unnest(%(tables)s::text[]) AS name JOIN pg_class ON pg_class.oid = to_regclass(name)
