-- Quarantined callbacks, and what operators decide about them. Parameters are psycopg's.

-- list_quarantine: Callbacks with their decisions, newest first: all, or only those that wait.
SELECT encode(q.digest, 'hex') AS id, q.day, q.at_ms, q.channel, q.reason, q.order_no, q.raw,
       r.action, r.reason AS why, r.by_whom, (extract(epoch FROM r.at) * 1000)::bigint AS released_ms, r.amount_fen, r.refund_no,
       r.day AS refund_day
FROM quarantine q LEFT JOIN releases r ON r.digest = q.digest
WHERE NOT %(waiting)s OR r.digest IS NULL
ORDER BY q.at_ms DESC, q.digest LIMIT %(limit)s OFFSET %(offset)s

-- refund_states: What became of some refunds, by their first numbers: the last attempt of each.
SELECT DISTINCT ON (coalesce(sent_as, no)) coalesce(sent_as, no) AS no, state FROM outgoing
WHERE day = ANY(%(days)s::date[]) AND (no = ANY(%(nos)s::text[]) OR again_of IS NOT NULL AND sent_as = ANY(%(nos)s::text[]))
ORDER BY coalesce(sent_as, no), again DESC

-- count_quarantine: The number of callbacks, and of those that wait for a decision.
SELECT total, total - (SELECT count(*) FROM releases) AS waiting FROM (SELECT count(*) AS total FROM quarantine) AS kept

-- count_quarantine_of: The number of callbacks quarantined through a round's first shard.
SELECT count(*) AS total FROM quarantine WHERE day = %(day)s

-- get_quarantined: One callback with its decision, if any.
SELECT q.digest, q.day, q.at_ms AS kept_ms, q.channel, q.reason AS refused, q.order_no, q.raw,
       r.action, r.reason, r.by_whom, (extract(epoch FROM r.at) * 1000)::bigint AS at_ms, r.day AS refunded_in,
       r.transaction_id, r.amount_fen, r.refund_no
FROM quarantine q LEFT JOIN releases r ON r.digest = q.digest WHERE q.digest = %(digest)s

-- waiting_of_order: Callbacks of an order number that wait for a decision.
SELECT q.digest, q.raw FROM quarantine q LEFT JOIN releases r ON r.digest = q.digest
WHERE q.order_no = %(order_no)s AND q.channel = %(channel)s AND r.digest IS NULL ORDER BY q.digest LIMIT 1000

-- decided_of_order: Callbacks of an order number that were decided, the newest first.
SELECT q.raw FROM quarantine q JOIN releases r ON r.digest = q.digest
WHERE q.order_no = %(order_no)s ORDER BY r.at DESC LIMIT 1000

-- lock_releases: Waits for the lock under which quarantined callbacks are decided.
SELECT set_config('lock_timeout', '60s', true), pg_advisory_xact_lock(%(lock)s)

-- save_release: What an operator decided.
INSERT INTO releases (digest, action, reason, by_whom, day, order_no, transaction_id, amount_fen, refund_no)
VALUES (%(digest)s, %(action)s, %(reason)s, %(by_whom)s, %(day)s, %(order_no)s, %(transaction_id)s, %(amount_fen)s, %(refund_no)s)

-- transaction_booked: Payments of a channel's transaction in the rounds of a month, under any order number.
SELECT order_no, outcome FROM payments
WHERE transaction_id = %(transaction_id)s AND channel = %(channel)s AND day = ANY(%(days)s::date[]) LIMIT 100

-- transaction_decided: Decisions about a channel's transaction, under any order number.
SELECT r.order_no, r.action FROM releases r JOIN quarantine q ON q.digest = r.digest
WHERE r.transaction_id = %(transaction_id)s AND r.transaction_id <> '' AND q.channel = %(channel)s LIMIT 100
