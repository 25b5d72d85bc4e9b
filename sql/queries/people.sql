-- What operators look for: persons, their whole story, and what looks alike. Parameters are psycopg's.

-- find_profiles: Users by uid, mobile or openId.
SELECT uid FROM profiles WHERE uid = ANY(%(uids)s::bigint[])
UNION SELECT uid FROM profiles WHERE mobile <> '' AND mobile = %(text)s
UNION SELECT uid FROM profiles WHERE open_id <> '' AND open_id = %(text)s
ORDER BY uid LIMIT %(limit)s

-- find_transaction: Users by the provider's number of a payment, in the rounds of a month.
SELECT DISTINCT uid FROM payments WHERE transaction_id = %(text)s AND day = ANY(%(days)s::date[])
ORDER BY uid LIMIT %(limit)s

-- played_days: The first and the last round.
SELECT min(day) AS first, max(day) AS last FROM rounds

-- persons: Some users, as a list shows them.
SELECT u.uid, p.nickname, p.mobile, p.open_id, s.last_day FROM unnest(%(uids)s::bigint[]) AS u (uid)
LEFT JOIN profiles p ON p.uid = u.uid LEFT JOIN standings s ON s.uid = u.uid ORDER BY u.uid

-- round_days: Days of rounds, newest first.
SELECT day FROM rounds ORDER BY day DESC LIMIT %(limit)s OFFSET %(offset)s

-- rounds_of: What a user did in some rounds.
SELECT o.day, o.order_no, o.amount_fen, o.open_id, o.at_ms AS ordered_ms, m.stake_fen, m.late, m.at_ms AS member_ms,
       c.at_ms AS checked_in_ms, c.rank, l.packet_fen, l.by AS claimed_by, l.at_ms AS claimed_ms
FROM orders o
LEFT JOIN members m ON m.day = o.day AND m.uid = o.uid AND m.day = ANY(%(days)s::date[]) AND m.uid = %(uid)s
LEFT JOIN check_ins c ON c.day = o.day AND c.uid = o.uid AND c.day = ANY(%(days)s::date[]) AND c.uid = %(uid)s
LEFT JOIN claims l ON l.day = o.day AND l.uid = o.uid AND l.day = ANY(%(days)s::date[]) AND l.uid = %(uid)s
WHERE o.day = ANY(%(days)s::date[]) AND o.uid = %(uid)s ORDER BY o.day DESC

-- payments_of: A user's payments of some rounds, found by the transfers that each made.
SELECT p.day, p.order_no, p.transaction_id, p.amount_fen, p.paid_at_ms, p.at_ms, p.outcome, p.channel FROM transfers t
JOIN payments p ON p.day = t.day AND p.day = ANY(%(days)s::date[])
    AND p.order_no = split_part(t.cause, ':', 1) AND p.transaction_id = substr(t.cause, strpos(t.cause, ':') + 1)
WHERE t.day = ANY(%(days)s::date[]) AND t.uid = %(uid)s AND t.kind IN ('stake', 'unwanted')
ORDER BY p.at_ms DESC LIMIT %(limit)s

-- outgoing_of: A user's payouts and refunds of some rounds.
SELECT day, no, coalesce(sent_as, no) AS sent_as, kind, amount_fen, state, attempts, reason, order_no, again, handled,
       (extract(epoch FROM created_at) * 1000)::bigint AS at_ms, (extract(epoch FROM ended_at) * 1000)::bigint AS ended_ms
FROM outgoing WHERE day = ANY(%(days)s::date[]) AND uid = %(uid)s ORDER BY created_at DESC, no LIMIT %(limit)s

-- quarantine_of: Quarantined callbacks of some order numbers.
SELECT encode(q.digest, 'hex') AS id, q.day, q.at_ms, q.reason, q.order_no, r.action FROM quarantine q
LEFT JOIN releases r ON r.digest = q.digest WHERE q.order_no = ANY(%(order_nos)s::text[]) ORDER BY q.at_ms DESC LIMIT %(limit)s

-- members_after: Members of a round after a uid, in order.
SELECT uid FROM members WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s

-- shared_profiles: Those of some users whose mobile or openId another user has as well, with a few of the others.
SELECT 'mobile' AS what, p.uid, ARRAY(SELECT o.uid FROM profiles o WHERE o.mobile <> '' AND o.mobile = p.mobile AND o.uid <> p.uid
    LIMIT %(most)s) AS others FROM profiles p WHERE p.uid = ANY(%(uids)s::bigint[]) AND p.mobile <> ''
    AND EXISTS (SELECT FROM profiles o WHERE o.mobile <> '' AND o.mobile = p.mobile AND o.uid <> p.uid)
UNION ALL
SELECT 'open_id', p.uid, ARRAY(SELECT o.uid FROM profiles o WHERE o.open_id <> '' AND o.open_id = p.open_id AND o.uid <> p.uid
    LIMIT %(most)s) FROM profiles p WHERE p.uid = ANY(%(uids)s::bigint[]) AND p.open_id <> ''
    AND EXISTS (SELECT FROM profiles o WHERE o.open_id <> '' AND o.open_id = p.open_id AND o.uid <> p.uid)
ORDER BY 2, 1

-- clockwork: Those of some users who checked in within the same second of the minute again and again.
SELECT uid, second, count(*) AS times, min(day) AS first_day, max(day) AS last_day
FROM (SELECT uid, day, at_ms / 1000 %% 60 AS second FROM check_ins
      WHERE day = ANY(%(days)s::date[]) AND uid = ANY(%(uids)s::bigint[])) AS checked
GROUP BY uid, second HAVING count(*) >= %(times)s ORDER BY uid, second

-- mornings_until: Days of the last rounds up to one.
SELECT day FROM rounds WHERE day <= %(day)s AND day > %(day)s::date - 60 ORDER BY day DESC LIMIT %(limit)s
