-- What is kept about one user: copied for them, or emptied. Months one by one: few partitions at once. Parameters are psycopg's.

-- profile_of: What a user last said of themselves.
SELECT open_id, mobile, nickname, at_ms FROM profiles WHERE uid = %(uid)s

-- forget_profile: A user has no name; what is read anew from before changes nothing.
UPDATE profiles SET open_id = '', mobile = '', nickname = '', at_ms = greatest(at_ms + 1, %(now_ms)s::bigint)
WHERE uid = %(uid)s AND (open_id, mobile, nickname) <> ('', '', '') RETURNING uid

-- own_orders: A user's orders in some rounds: whether they name the user, whether the round is over, how much money is open.
SELECT o.day, o.order_no, o.open_id <> '' AS named, r.finished_at IS NOT NULL AS over,
       (SELECT count(*) FROM outgoing x WHERE x.day = ANY(%(days)s::date[]) AND x.day = o.day AND x.uid = %(uid)s
            AND x.kind <> 'withdrawal' AND x.state <> 'done' AND (x.state <> 'failed' OR x.handled IS NULL)) AS open
FROM orders o JOIN rounds r ON r.day = o.day WHERE o.day = ANY(%(days)s::date[]) AND o.uid = %(uid)s ORDER BY o.day

-- forget_orders: The orders of a user in some rounds name nobody.
UPDATE orders SET open_id = '' WHERE day = ANY(%(days)s::date[]) AND uid = %(uid)s AND open_id <> '' RETURNING day

-- own_sent: A user's withdrawals in some rounds that say to whom they go, and whether they are over.
SELECT day, state IN ('done', 'failed') AS over FROM outgoing
WHERE day = ANY(%(days)s::date[]) AND uid = %(uid)s AND open_id <> '' ORDER BY day, no

-- forget_sent: A user's withdrawals in some rounds that are over say to nobody.
UPDATE outgoing SET open_id = '' WHERE day = ANY(%(days)s::date[]) AND uid = %(uid)s AND open_id <> ''
  AND state IN ('done', 'failed') RETURNING day

-- forget_confirm: Nobody has to confirm a user's last withdrawal any more.
UPDATE withdrawals SET confirm = NULL WHERE uid = %(uid)s AND confirm IS NOT NULL RETURNING uid

-- forget_payments: A user's payments in some rounds lose the callback's text; order, transaction, amount and time are columns.
UPDATE payments p SET raw = '' FROM transfers t
WHERE t.day = ANY(%(days)s::date[]) AND t.uid = %(uid)s AND t.kind IN ('stake', 'unwanted')
  AND p.day = ANY(%(days)s::date[]) AND p.day = t.day AND p.order_no = split_part(t.cause, ':', 1)
  AND p.transaction_id = substr(t.cause, strpos(t.cause, ':') + 1) AND p.raw <> '' RETURNING p.day

-- forget_own_callbacks: Decided callbacks of some order numbers lose their body; the decision has what money needs.
UPDATE quarantine q SET raw = '' WHERE order_no = ANY(%(order_nos)s::text[]) AND raw <> ''
  AND EXISTS (SELECT FROM releases r WHERE r.digest = q.digest) RETURNING order_no

-- waiting_callbacks: How many callbacks of some order numbers wait for a decision.
SELECT count(*) AS count FROM quarantine q WHERE order_no = ANY(%(order_nos)s::text[])
  AND NOT EXISTS (SELECT FROM releases r WHERE r.digest = q.digest)

-- forget_reminders: A user is not reminded.
DELETE FROM reminders WHERE uid = %(uid)s AND day = ANY(%(days)s::date[]) RETURNING day

-- count_acts: How many acts are about some things.
SELECT count(*) AS count FROM acts WHERE about = ANY(%(about)s::text[])

-- own_switches: A user's reminder switch and the latest result that they have acknowledged.
SELECT remind, switched_at_ms, acked_day FROM flags WHERE uid = %(uid)s

-- own_standing: A user after the latest settled round that they took part in.
SELECT last_day, streak, longest, mornings FROM standings WHERE uid = %(uid)s

-- own_transfers: A user's movements of money in some rounds.
SELECT day, kind, cause, from_account, to_account, amount_fen, at_ms FROM transfers
WHERE day = ANY(%(days)s::date[]) AND uid = %(uid)s ORDER BY day, at_ms, kind, cause

-- own_payments: A user's payments in some rounds, found by the transfers that each made.
SELECT p.day, p.order_no, p.transaction_id, p.channel, p.amount_fen, p.paid_at_ms, p.at_ms, p.outcome, p.raw FROM transfers t
JOIN payments p ON p.day = t.day AND p.day = ANY(%(days)s::date[])
    AND p.order_no = split_part(t.cause, ':', 1) AND p.transaction_id = substr(t.cause, strpos(t.cause, ':') + 1)
WHERE t.day = ANY(%(days)s::date[]) AND t.uid = %(uid)s AND t.kind IN ('stake', 'unwanted') ORDER BY p.day, p.at_ms

-- own_promises: What a user was told in some rounds and the books could not take.
SELECT day, step, fen, at_ms, kept_at FROM promises WHERE day = ANY(%(days)s::date[]) AND uid = %(uid)s ORDER BY day, at_ms

-- own_refunds: What is given back of some payments.
SELECT day, order_no, transaction_id, refund_no, amount_fen, reason, at_ms FROM refunds
WHERE day = ANY(%(days)s::date[]) AND (day, order_no) IN (SELECT * FROM unnest(%(days_of)s::date[], %(order_nos)s::text[]))
ORDER BY day, at_ms

-- own_callbacks: Quarantined callbacks of some order numbers, with what was decided.
SELECT encode(q.digest, 'hex') AS id, q.day, q.at_ms, q.channel, q.reason, q.order_no, q.raw,
       r.action, r.reason AS why, r.amount_fen, r.refund_no
FROM quarantine q LEFT JOIN releases r ON r.digest = q.digest WHERE q.order_no = ANY(%(order_nos)s::text[]) ORDER BY q.at_ms

-- own_acts: What operators did about some things, in order.
SELECT a.id, (extract(epoch FROM a.at) * 1000)::bigint AS at_ms, a.who, a.act, a.about, a.detail, a.reason, a.amount_fen, e.word
FROM acts a LEFT JOIN acts_ended e ON e.act = a.id WHERE a.about = ANY(%(about)s::text[]) ORDER BY a.id

-- archived_months: Months that are in files alone.
SELECT to_char(month, 'YYYY-MM') AS month FROM archives WHERE left_at IS NOT NULL ORDER BY month

-- own_outgoing: A user's payouts, refunds and withdrawals in some rounds.
SELECT day, no, coalesce(sent_as, no) AS sent_as, kind, amount_fen, order_no, transaction_id, state, reason, handled, again_of, channel, open_id,
       (extract(epoch FROM created_at) * 1000)::bigint AS at_ms, (extract(epoch FROM ended_at) * 1000)::bigint AS ended_ms
FROM outgoing WHERE day = ANY(%(days)s::date[]) AND uid = %(uid)s ORDER BY day, created_at, no
