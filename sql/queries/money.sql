-- Money on its way: unpaid orders, payouts and refunds. Parameters are psycopg's.

-- lock_unpaid_due: Unpaid orders that are due for a question to the channel, locked. See lock_due_outgoing.
SELECT uid, order_no FROM unpaid WHERE day = %(day)s AND next_at_ms <= %(now_ms)s
ORDER BY next_at_ms LIMIT %(limit)s FOR UPDATE SKIP LOCKED

-- lock_unpaid_page: The next unpaid orders of a round after a user, locked.
SELECT uid, order_no FROM unpaid WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s FOR UPDATE

-- note_asked: The channel is about to be asked about some orders; the delay of the next question doubles up to six hours, but
-- ends at again_ms.
UPDATE unpaid SET asked = asked + 1, next_at_ms = least(%(again_ms)s::bigint,
    %(now_ms)s + least(21600000, 120000 * (2 ^ least(asked + 1, 10))::bigint))
WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[])

-- lock_unpaid: Those of some users whose order is still unpaid, but for those whose payment is being written: the drain and
-- whoever notes answers would wait for each other.
SELECT uid FROM unpaid WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[]) FOR UPDATE SKIP LOCKED

-- note_answers: What the channel said of some orders.
UPDATE unpaid u SET answer = said.answer
FROM unnest(%(uids)s::bigint[], %(order_nos)s::text[], %(answers)s::text[]) AS said (uid, order_no, answer)
WHERE u.day = %(day)s AND u.uid = said.uid AND u.order_no = said.order_no

-- complete_unpaid: Unpaid orders that the table of them lacks: an older version may have written them.
INSERT INTO unpaid (day, uid, order_no, next_at_ms) SELECT o.day, o.uid, o.order_no, o.at_ms FROM orders o
WHERE o.day = %(day)s AND NOT EXISTS (SELECT FROM payments p WHERE p.day = %(day)s AND p.order_no = o.order_no)
ON CONFLICT DO NOTHING

-- join_by_hash: Lets no join of this transaction look at all rows of one table for each of another: whatever Postgres thinks
-- of their number, it takes as long as there are rows.
SELECT set_config('enable_nestloop', 'off', true) AS set

-- begin_sweep: How long ago settlement began to ask about the round's unpaid orders, and up to which user it has asked.
UPDATE rounds SET sweep_began_at = coalesce(sweep_began_at, now()) WHERE day = %(day)s
RETURNING extract(epoch FROM now() - sweep_began_at)::float8 AS since_s, swept_uid

-- unpaid_last: The last user of the next page of unpaid orders after a user.
SELECT max(uid) AS last FROM (
    SELECT uid FROM unpaid WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s) AS page

-- mark_unanswered: The channel did not say in time whether the orders of a page are paid.
UPDATE unpaid SET answer = 'unknown'
WHERE day = %(day)s AND uid > %(after)s AND uid <= %(last)s AND answer IS DISTINCT FROM 'unknown'

-- save_swept: Up to which user settlement is done with the round's unpaid orders.
UPDATE rounds SET swept_uid = %(last)s WHERE day = %(day)s

-- mark_swept: Settlement is done with the round's unpaid orders.
UPDATE rounds SET swept_at = now(),
    unanswered_orders = (SELECT count(*) FROM unpaid WHERE day = %(day)s AND answer = 'unknown')
WHERE day = %(day)s RETURNING unanswered_orders

-- forget_unpaid: Deletes a page of the unpaid orders of a round that has ended.
DELETE FROM unpaid WHERE day = %(day)s AND uid > %(after)s AND uid <= %(last)s

-- list_unanswered: Unpaid orders whose payment state the channel has not confirmed.
SELECT order_no, asked, next_at_ms FROM unpaid WHERE day = %(day)s AND answer = 'unknown'
ORDER BY uid LIMIT %(limit)s OFFSET %(offset)s

-- find_order: A user's order in a round.
SELECT * FROM orders WHERE day = %(day)s AND uid = %(uid)s

-- find_payment: Whether a payment is in the books.
SELECT 1 AS found FROM payments WHERE day = %(day)s AND order_no = %(order_no)s AND transaction_id = %(transaction_id)s

-- due_outgoing: Rows that may be due to be sent or queried. They are not locked here: whoever ends one locks it in outgoing
-- first, and then in this table.
SELECT day, no FROM unsent WHERE state <> 'failed' AND next_at <= now() ORDER BY next_at LIMIT %(limit)s

-- lock_due_outgoing: Those that are due and nobody else has, locked. Postgres 18.4 crashes where this and the update are
-- one statement, and other transactions change the rows meanwhile.
SELECT o.day, o.no, o.state AS was
FROM unnest(%(days)s::date[], %(nos)s::text[]) WITH ORDINALITY AS due (day, no, place)
JOIN outgoing o ON o.day = ANY(%(days)s::date[]) AND o.day = due.day AND o.no = due.no
WHERE o.state IN ('owed', 'unknown', 'processing') AND o.next_at <= now()
ORDER BY due.place LIMIT %(limit)s FOR UPDATE OF o SKIP LOCKED

-- take_outgoing: Leases locked rows to this process. Their days are named for each table, so that no other is looked into.
UPDATE outgoing o SET attempts = attempts + 1, next_at = now() + make_interval(secs => %(lease_seconds)s),
    state = CASE due.was WHEN 'owed' THEN 'unknown' ELSE due.was END
FROM unnest(%(days)s::date[], %(nos)s::text[], %(states)s::text[]) AS due (day, no, was)
WHERE o.day = ANY(%(days)s::date[]) AND o.day = due.day AND o.no = due.no
RETURNING o.day, o.no, coalesce(o.sent_as, o.no) AS sent_as, o.kind, o.uid, o.amount_fen, o.order_no, o.transaction_id, o.attempts, due.was,
    coalesce(o.open_id, (SELECT open_id FROM orders r WHERE r.day = ANY(%(days)s::date[]) AND r.day = o.day AND r.uid = o.uid)) AS open_id,
    extract(epoch FROM now() - o.created_at) / 86400 AS age_days,
    (SELECT w.confirm IS NOT NULL FROM withdrawals w WHERE w.uid = o.uid AND w.no = o.no) AS confirm,
    (SELECT p.amount_fen FROM payments p WHERE p.day = ANY(%(days)s::date[])
     AND p.day = o.day AND p.order_no = o.order_no AND p.transaction_id = o.transaction_id) AS total_fen,
    CASE o.kind WHEN 'withdrawal' THEN o.channel WHEN 'refund' THEN
        (SELECT p.channel FROM payments p WHERE p.day = ANY(%(days)s::date[])
         AND p.day = o.day AND p.order_no = o.order_no AND p.transaction_id = o.transaction_id)
    ELSE (SELECT p.channel FROM orders r JOIN payments p ON p.day = ANY(%(days)s::date[]) AND p.day = r.day AND p.order_no = r.order_no
         WHERE r.day = ANY(%(days)s::date[]) AND r.day = o.day AND r.uid = o.uid
         ORDER BY p.outcome IN ('paid', 'paid_late') DESC LIMIT 1) END AS channel

-- find_moving: The round of a payout or a refund whose end is not known.
SELECT day FROM unsent WHERE no = %(no)s AND state IN ('unknown', 'processing')

-- hasten: It is asked about at once.
UPDATE outgoing SET next_at = now() WHERE day = %(day)s AND no = %(no)s AND state IN ('unknown', 'processing') AND next_at > now()

-- end_outgoing: Records a final state.
UPDATE outgoing SET state = %(state)s, reason = %(reason)s, handled = %(handled)s, ended_at = now()
WHERE day = %(day)s AND no = %(no)s AND state NOT IN ('done', 'failed') RETURNING no

-- delay_outgoing: Records a state that is not final, and when to retry.
UPDATE outgoing SET state = %(state)s, reason = %(reason)s, next_at = now() + make_interval(secs => %(seconds)s)
WHERE day = %(day)s AND no = %(no)s AND state NOT IN ('done', 'failed')

-- count_outgoing: Count and sum of each state in a round.
SELECT kind, state, count(*) AS count, coalesce(sum(amount_fen), 0)::bigint AS fen FROM outgoing
WHERE day = %(day)s GROUP BY kind, state ORDER BY kind, state

-- count_unsent: The same over all rounds, of what is not done.
SELECT kind, state, count(*) AS count, coalesce(sum(amount_fen), 0)::bigint AS fen FROM unsent
GROUP BY kind, state ORDER BY kind, state

-- list_unsent: Rows in one state that is not done, newest round first; "stuck" means tried for a long time; a
-- withdrawal that waits for its user to confirm it may take two days. Of failed ones those that nobody has seen to, or all.
SELECT day, no FROM unsent
WHERE (%(day)s::date IS NULL OR day = %(day)s)
  AND ((state = %(state)s AND (%(handled)s OR handled IS NULL)) OR (%(state)s = 'stuck' AND state <> 'failed' AND attempts >= %(stuck)s
           AND (kind <> 'withdrawal' OR state <> 'processing' OR created_at < now() - interval '2 days')))
ORDER BY day DESC, no LIMIT %(limit)s OFFSET %(offset)s

-- list_done: Payouts and refunds of some rounds that are done, newest round first.
SELECT day, no FROM outgoing WHERE day = ANY(%(days)s::date[]) AND state = 'done'
ORDER BY day DESC, no LIMIT %(limit)s OFFSET %(offset)s

-- list_outgoing: Some payouts and refunds by round and number, newest round first.
SELECT day, no, coalesce(sent_as, no) AS sent_as, kind, uid, amount_fen, state, attempts, reason, order_no, again, handled
FROM outgoing WHERE day = ANY(%(days)s::date[]) AND (day, no) IN (SELECT * FROM unnest(%(days)s::date[], %(nos)s::text[]))
ORDER BY day DESC, no

-- lock_outgoing: One row that is not final, as lock_due_outgoing has it, whenever it is due.
SELECT day, no, state AS was FROM outgoing
WHERE day = %(day)s AND no = %(no)s AND state IN ('owed', 'unknown', 'processing') FOR UPDATE

-- last_withdrawal: A user's last withdrawal, locked. How far it is: list_outgoing, of its day alone.
SELECT count, day, no FROM withdrawals WHERE uid = %(uid)s FOR UPDATE

-- way_out: A user's last withdrawal, and the last of their payouts and refunds that have failed and not left since.
SELECT 'withdrawal' AS what, day, no, confirm FROM withdrawals WHERE uid = %(uid)s
UNION ALL
(SELECT 'failure', day, no, NULL FROM unsent WHERE uid = %(uid)s AND state = 'failed'
 AND handled IS DISTINCT FROM 'withdrawn' AND handled IS DISTINCT FROM 'again' ORDER BY created_at DESC LIMIT 1)

-- save_withdrawal: A user's next withdrawal.
INSERT INTO withdrawals (uid, count, day, no) VALUES (%(uid)s, %(count)s, %(day)s, %(no)s)
ON CONFLICT (uid) DO UPDATE SET count = excluded.count, day = excluded.day, no = excluded.no, confirm = NULL

-- queue_withdrawal: It is owed.
INSERT INTO outgoing (day, no, kind, uid, amount_fen, channel, open_id)
VALUES (%(day)s, %(no)s, 'withdrawal', %(uid)s, %(amount_fen)s, %(channel)s, %(open_id)s)

-- save_confirm: What the client needs to confirm a withdrawal.
UPDATE withdrawals SET confirm = %(confirm)s::jsonb WHERE uid = %(uid)s AND no = %(no)s

-- failed_of_user: A user's failed payouts and refunds that nobody has seen to, in the order of failed_page: both are locked so.
SELECT day, no FROM unsent WHERE uid = %(uid)s AND state = 'failed' AND handled IS NULL ORDER BY no, day LIMIT %(limit)s

-- last_paid: The last payment of a user in some rounds: its channel, and who paid.
SELECT substr(t.from_account, 9) AS channel, o.open_id FROM transfers t JOIN orders o ON o.day = t.day AND o.day = ANY(%(days)s::date[]) AND o.uid = t.uid
WHERE t.uid = %(uid)s AND t.day = ANY(%(days)s::date[]) AND t.kind IN ('stake', 'unwanted') AND o.open_id <> ''
ORDER BY t.at_ms DESC LIMIT 1
