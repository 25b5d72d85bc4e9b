-- Quarantined callbacks, and what operators decide about them. Parameters are psycopg's.

-- list_quarantine: Callbacks with their decisions and what became of the refund, newest first: all, or only those that wait.
SELECT encode(q.digest, 'hex') AS id, q.day, q.at_ms, q.channel, q.reason, q.order_no, q.raw,
       r.action, r.reason AS why, r.by_whom, (extract(epoch FROM r.at) * 1000)::bigint AS released_ms, r.amount_fen, r.refund_no,
       coalesce(
           (SELECT a.state FROM outgoing a WHERE a.day = r.day AND a.again_of IS NOT NULL AND a.sent_as = r.refund_no
            ORDER BY a.again DESC LIMIT 1),
           (SELECT o.state FROM outgoing o WHERE o.day = r.day AND o.no = r.refund_no)) AS refund_state
FROM quarantine q LEFT JOIN releases r ON r.digest = q.digest
WHERE NOT %(waiting)s OR r.digest IS NULL
ORDER BY q.at_ms DESC, q.digest LIMIT %(limit)s OFFSET %(offset)s

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

-- transaction_known: Payments and decisions of a channel's transaction, under any order number.
SELECT 'books' AS place, p.order_no, p.outcome AS known FROM payments p
WHERE p.transaction_id = %(transaction_id)s AND p.channel = %(channel)s
UNION ALL
SELECT 'release', r.order_no, r.action FROM releases r JOIN quarantine q ON q.digest = r.digest
WHERE r.transaction_id = %(transaction_id)s AND r.transaction_id <> '' AND q.channel = %(channel)s
LIMIT 100
