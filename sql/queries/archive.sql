-- Months that leave for files and come back. Parameters are psycopg's.

-- kept_months: Months that have a partition, oldest first, and whether their rows change no more.
SELECT k.month, a.month IS NOT NULL AS sealed FROM (
    SELECT DISTINCT to_date(substring(c.relname FROM '^orders_(\d{6})'), 'YYYYMM') AS month
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'orders'::regclass) AS k
LEFT JOIN archives a ON a.month = k.month ORDER BY 1

-- first_kept_month: The first month that is not old enough to leave, by Postgres' clock.
SELECT (date_trunc('month', now() AT TIME ZONE %(zone)s) - make_interval(months => %(keep)s))::date AS month

-- month_holds: Why a month cannot leave, with the round and how many.
SELECT why, day, count FROM (
    SELECT 'round_open' AS why, day, 1::bigint AS count FROM rounds WHERE day BETWEEN %(first)s AND %(last)s AND finished_at IS NULL
    UNION ALL
    SELECT 'not_counted', day, 1 FROM rounds WHERE day BETWEEN %(first)s AND %(last)s
        AND state = 'finished' AND (tallied_at IS NULL OR credited_at IS NULL)
    UNION ALL
    SELECT 'money_open', day, count(*) FROM unsent WHERE day BETWEEN %(first)s AND %(last)s
        AND (state <> 'failed' OR handled IS NULL) GROUP BY day
    UNION ALL
    SELECT 'quarantine_waiting', day, count(*) FROM quarantine q WHERE day BETWEEN %(first)s AND %(last)s
        AND NOT EXISTS (SELECT FROM releases r WHERE r.digest = q.digest) GROUP BY day
    UNION ALL
    SELECT 'not_carried', day, 1 FROM uncarried WHERE day BETWEEN %(first)s AND %(last)s
    UNION ALL
    SELECT 'not_merged', %(first)s, count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = ANY(%(tables)s::text[]::regclass[]) AND c.relname ~ ('_' || to_char(%(first)s::date, 'YYYYMM') || '\d\d$')
        HAVING count(*) > 0
    UNION ALL
    SELECT CASE WHEN c.differences IS NULL THEN 'not_reconciled' ELSE 'books_differ' END, r.day,
           coalesce(jsonb_array_length(c.differences), 1)
    FROM rounds r LEFT JOIN LATERAL (
        SELECT differences FROM reconciliations c WHERE c.day = r.day AND c.at >= r.finished_at ORDER BY at DESC LIMIT 1) AS c ON true
    WHERE r.day BETWEEN %(first)s AND %(last)s AND r.finished_at IS NOT NULL AND coalesce(c.differences, '[{}]') <> '[]') AS held
ORDER BY day, why LIMIT 100

-- archive_of: The archive of a day's month: since when its rows change no more, and since when they are in files alone.
SELECT to_char(month, 'YYYY-MM') AS month, sealed_at, left_at FROM archives WHERE month = date_trunc('month', %(day)s::date)

-- get_archive: The archive of a month.
SELECT month, manifest_sha256, (extract(epoch FROM left_at) * 1000)::bigint AS left_ms, by_whom FROM archives WHERE month = %(month)s

-- columns_of: A table's columns in order, with each one's place in the key.
SELECT a.attname::text AS name, array_position(i.indkey::int2[], a.attnum) AS place, a.atttypid = 'text'::regtype AS is_text
FROM pg_attribute a JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum

-- drop_unsent: A month that leaves has no money that is not done, but for failed payouts and refunds that were seen to.
DELETE FROM unsent WHERE day BETWEEN %(first)s AND %(last)s

-- keep_unsent: The same of a month that has come back.
INSERT INTO unsent (no, day, kind, uid, state, amount_fen, attempts, next_at, created_at, handled)
SELECT no, day, kind, uid, state, amount_fen, attempts, next_at, created_at, handled FROM outgoing
WHERE day BETWEEN %(first)s AND %(last)s AND state <> 'done' AND handled IS DISTINCT FROM 'returned'

-- seal_month: The rows of a month change no more.
INSERT INTO archives (month, by_whom) VALUES (%(month)s, %(by_whom)s) ON CONFLICT (month) DO NOTHING

-- unseal_month: The rows of a month are all in the database, and may change.
DELETE FROM archives WHERE month = %(month)s

-- month_left: The rows of a month are in files alone.
UPDATE archives SET manifest_sha256 = %(manifest_sha256)s, left_at = now() WHERE month = %(month)s AND left_at IS NULL RETURNING month

-- forget_callbacks: Decided callbacks of a month lose their body, which says who paid; the decision has what money needs.
UPDATE quarantine q SET raw = '' WHERE day BETWEEN %(first)s AND %(last)s AND raw <> ''
  AND EXISTS (SELECT FROM releases r WHERE r.digest = q.digest)

-- archive_sums: How many rows of each kind a month's tables have, and their sums in fen.
SELECT 'orders' AS table, '' AS kind, count(*) AS count, sum(amount_fen)::bigint AS fen FROM orders WHERE day BETWEEN %(first)s AND %(last)s
UNION ALL SELECT 'payments', outcome, count(*), sum(amount_fen)::bigint FROM payments WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 2
UNION ALL SELECT 'members', CASE WHEN late THEN 'late' ELSE '' END, count(*), sum(stake_fen)::bigint FROM members WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 2
UNION ALL SELECT 'check_ins', '', count(*), NULL FROM check_ins WHERE day BETWEEN %(first)s AND %(last)s
UNION ALL SELECT 'packets', '', count(*), sum(fen)::bigint FROM packets WHERE day BETWEEN %(first)s AND %(last)s
UNION ALL SELECT 'claims', by, count(*), sum(stake_fen + packet_fen)::bigint FROM claims WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 2
UNION ALL SELECT 'refunds', reason, count(*), sum(amount_fen)::bigint FROM refunds WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 2
UNION ALL SELECT 'transfers', kind, count(*), sum(amount_fen)::bigint FROM transfers WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 2
UNION ALL SELECT 'outgoing', kind || ' ' || state, count(*), sum(amount_fen)::bigint FROM outgoing WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 2
ORDER BY 1, 2

-- rounds_of_month: The rows of a month's rounds, whole.
SELECT to_jsonb(r) - 'salt_key' || jsonb_build_object(
    'seed', encode(seed, 'hex'), 'seed_hash', encode(seed_hash, 'hex'), 'drawn', encode(drawn, 'hex')) AS round
FROM rounds r WHERE day BETWEEN %(first)s AND %(last)s ORDER BY day
