-- What is kept of each user: sums, lines of history by month; and carrying over what was posted before they were kept.
-- Parameters are psycopg's.

-- uncarried: Days whose transfers are not in the accounts yet, oldest first.
SELECT day FROM uncarried ORDER BY day

-- lock_uncarried: The next user of a day that is not in the accounts yet, locked against whoever carries it, too.
SELECT uid FROM uncarried WHERE day = %(day)s FOR UPDATE

-- carry_until: The last of the next users of a day, in order.
SELECT max(uid) AS uid FROM (
    SELECT DISTINCT uid FROM transfers WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s) AS page

-- carry: Adds a day's transfers of some users to their accounts, as the trigger does.
INSERT INTO accounts AS a (uid, balance_fen, spend_fen, income_fen, largest_fen, stakes, lines[month_number(%(day)s::date)])
SELECT t.uid,
    sum(CASE 'user:' || t.uid WHEN to_account THEN amount_fen WHEN from_account THEN -amount_fen ELSE 0 END),
    sum(CASE kind WHEN 'stake' THEN amount_fen WHEN 'refund' THEN -amount_fen ELSE 0 END),
    sum(CASE kind WHEN 'packet' THEN amount_fen ELSE 0 END),
    max(CASE kind WHEN 'packet' THEN amount_fen ELSE 0 END),
    sum((kind = 'stake')::int), sum(lines_of(kind))
FROM transfers t
WHERE t.day = %(day)s AND t.uid > %(after)s AND t.uid <= %(last)s AND in_account(t.uid, kind, from_account, to_account)
GROUP BY t.uid ORDER BY t.uid
ON CONFLICT (uid) DO UPDATE SET
    balance_fen = a.balance_fen + excluded.balance_fen,
    spend_fen = a.spend_fen + excluded.spend_fen,
    income_fen = a.income_fen + excluded.income_fen,
    largest_fen = greatest(a.largest_fen, excluded.largest_fen),
    stakes = a.stakes + excluded.stakes,
    lines[month_number(%(day)s::date)] = coalesce(a.lines[month_number(%(day)s::date)], 0) + excluded.lines[month_number(%(day)s::date)]

-- save_carried: The last user of a day who is in the accounts.
UPDATE uncarried SET uid = %(last)s WHERE day = %(day)s

-- mark_carried: All users of a day are in the accounts.
DELETE FROM uncarried WHERE day = %(day)s

-- me: A user's sums in fen, and days from the standings. A check-in that is not in the standings yet counts as a morning. Days
-- that are not carried yet are added up; each is looked up again, as it may have been carried meanwhile.
WITH rest AS (
    SELECT kind, amount_fen, from_account, to_account FROM transfers t
    WHERE t.uid = %(uid)s AND t.day = ANY(%(uncarried)s::date[])
      AND EXISTS (SELECT FROM uncarried u WHERE u.day = t.day AND u.uid < t.uid)),
kept AS (SELECT * FROM accounts WHERE uid = %(uid)s),
standing AS (SELECT * FROM standings WHERE uid = %(uid)s),
fresh AS (SELECT count(*) AS mornings FROM check_ins c
          WHERE c.day = ANY(%(untallied)s::date[]) AND c.uid = %(uid)s
            AND NOT EXISTS (SELECT FROM standing s WHERE s.last_day >= c.day))
SELECT coalesce((SELECT spend_fen FROM kept), 0) + (
           SELECT coalesce(sum(CASE kind WHEN 'stake' THEN amount_fen WHEN 'refund' THEN -amount_fen END), 0)::bigint FROM rest) AS spend_money,
       coalesce((SELECT income_fen FROM kept), 0) + (
           SELECT coalesce(sum(amount_fen), 0)::bigint FROM rest WHERE kind = 'packet') AS income_money,
       greatest((SELECT largest_fen FROM kept), (SELECT max(amount_fen) FROM rest WHERE kind = 'packet'), 0) AS max_money,
       coalesce((SELECT stakes FROM kept), 0) + (SELECT count(*) FROM rest WHERE kind = 'stake') AS join_num,
       (SELECT mornings FROM fresh) + coalesce((SELECT mornings FROM standing), 0) AS clock_day_num,
       coalesce((SELECT longest FROM standing), 0) AS long_day_num,
       coalesce((SELECT streak FROM standing WHERE last_day >= %(latest)s::date), 0) AS streak_day_num,
       coalesce((SELECT balance_fen FROM kept), 0) + (
           SELECT coalesce(sum(CASE 'user:' || %(uid)s WHEN to_account THEN amount_fen WHEN from_account THEN -amount_fen END), 0)::bigint
           FROM rest) AS balance

-- me_days: What a user's sums need to know of rounds: those whose check-ins the standings do not have yet, the last one that
-- they have, and the days that are not carried yet.
SELECT ARRAY(SELECT day FROM rounds WHERE state <> 'void' AND state <> 'voiding' AND tallied_at IS NULL
             ORDER BY day DESC LIMIT %(most)s) AS untallied,
       (SELECT day FROM rounds WHERE tallied_at IS NOT NULL AND day < %(today)s ORDER BY day DESC LIMIT 1) AS latest,
       ARRAY(SELECT day FROM uncarried) AS uncarried

-- lock_account: Waits for whoever changes a user's account, and keeps others from it until this transaction ends.
SELECT balance_fen FROM accounts WHERE uid = %(uid)s FOR UPDATE

-- balance_of: What is due to a user and not on its way.
SELECT coalesce((SELECT balance_fen FROM accounts WHERE uid = %(uid)s), 0) + (
    SELECT coalesce(sum(CASE 'user:' || %(uid)s WHEN to_account THEN amount_fen WHEN from_account THEN -amount_fen END), 0)::bigint
    FROM transfers t WHERE t.uid = %(uid)s AND t.day = ANY(%(uncarried)s::date[])
      AND EXISTS (SELECT FROM uncarried u WHERE u.day = t.day AND u.uid < t.uid)) AS fen

-- archived_lines: How many lines of history a user has in months that have left for files.
SELECT coalesce(sum(u.lines[month_number(a.month)]), 0)::bigint AS lines
FROM accounts u JOIN archives a ON a.left_at IS NOT NULL WHERE u.uid = %(uid)s

-- history_months: How many lines of history a user has in the rounds of each month (month_number) that is in the database,
-- newest first.
SELECT month, sum(lines)::bigint AS lines FROM (
    SELECT month, lines[month] AS lines FROM accounts, generate_subscripts(lines, 1) AS month WHERE uid = %(uid)s
    UNION ALL
    SELECT month_number(t.day), lines_of(t.kind) FROM transfers t
    WHERE t.uid = %(uid)s AND t.day = ANY(%(uncarried)s::date[])
      AND EXISTS (SELECT FROM uncarried u WHERE u.day = t.day AND u.uid < t.uid)) AS of_months
WHERE NOT EXISTS (SELECT FROM archives a WHERE a.left_at IS NOT NULL AND month_number(a.month) = of_months.month)
GROUP BY month HAVING sum(lines) > 0 ORDER BY month DESC

-- history: A user's money in the rounds of a month, newest first, as lines: each transfer has those of its kind, in their order.
-- What leaves has its state. A payment, and what becomes of it, has the number of its order; what is sent otherwise, its own.
SELECT l.line, l.sign * t.amount_fen AS money, t.day, t.at_ms, o.state,
       CASE WHEN t.kind IN ('stake', 'unwanted', 'refund') THEN split_part(t.cause, ':', 1) ELSE coalesce(o.sent_as, o.no) END AS no
FROM transfers t
JOIN unnest(%(kinds)s::text[], %(lines)s::text[], %(signs)s::int[]) WITH ORDINALITY AS l (kind, line, sign, place) ON l.kind = t.kind
LEFT JOIN outgoing o ON o.day = t.day AND o.day = ANY(%(days)s::date[]) AND o.uid = t.uid
    AND (l.line = 'payout' AND o.no = 'P' || to_char(t.day, 'YYYYMMDD') || t.uid OR l.line IN ('sent_again', 'stake_refund', 'withdrawal') AND o.no = t.cause
         OR l.line = 'made_good_sent' AND o.no = 'P' || to_char(t.day, 'YYYYMMDD') || replace(t.cause, ':', 'G')
         OR l.line = 'returned' AND o.kind = 'refund' AND o.again = 0 AND o.order_no || ':' || o.transaction_id = t.cause)
WHERE t.uid = %(uid)s AND t.day = ANY(%(days)s::date[])
ORDER BY t.at_ms DESC, t.day DESC, t.kind NOT IN ('payout', 'made_good_sent', 'stake_refund'), t.kind, t.cause, l.place LIMIT %(limit)s OFFSET %(offset)s

-- differing_accounts: Some members of a round whose account counts another number of lines in the month of the round than
-- their transfers have.
SELECT m.uid, coalesce(a.lines[month_number(%(day)s::date)], 0) AS kept, t.lines AS posted
FROM (SELECT uid FROM members WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s) AS m
LEFT JOIN accounts a ON a.uid = m.uid
CROSS JOIN LATERAL (SELECT coalesce(sum(lines_of(kind)), 0) AS lines FROM transfers
    WHERE uid = m.uid AND day = ANY(%(days)s::date[])
      AND NOT EXISTS (SELECT FROM uncarried u WHERE u.day = transfers.day AND u.uid < transfers.uid)) AS t
WHERE t.lines <> coalesce(a.lines[month_number(%(day)s::date)], 0) ORDER BY m.uid
