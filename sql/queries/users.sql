-- What users see of themselves and of each other: sums, history, standings, talents, the board, reminders. Parameters are psycopg's.

-- place: Which packet of a round's list belongs to a user: the shards' parts follow each other.
SELECT (c.rank + coalesce((SELECT sum(s.winners) FROM closings s WHERE s.day = c.day AND s.shard < %(shard)s), 0))::bigint AS place
FROM check_ins c WHERE c.day = %(day)s AND c.uid = %(uid)s

-- round_before: The previous round for a streak; void rounds are skipped.
SELECT max(day) AS day FROM rounds WHERE day < %(day)s AND state NOT IN ('voiding', 'void')

-- untallied_before: Earlier rounds that are not in the standings yet.
SELECT day FROM rounds WHERE day < %(day)s AND tallied_at IS NULL AND state <> 'void' ORDER BY day LIMIT %(limit)s

-- has_members: Whether anybody is a member of a round.
SELECT EXISTS (SELECT FROM members WHERE day = %(day)s) AS found

-- tally_page: Members after a uid, in order.
SELECT uid FROM members WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s

-- tally: Updates the standings of some members by a round; a round that is older than the standing changes nothing.
INSERT INTO standings (uid, last_day, streak, longest, mornings)
SELECT m.uid, m.day, (c.uid IS NOT NULL)::int, (c.uid IS NOT NULL)::int, (c.uid IS NOT NULL)::int
FROM members m LEFT JOIN LATERAL (SELECT uid FROM check_ins WHERE day = %(day)s AND uid = m.uid LIMIT 1) AS c ON true
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
SELECT day FROM rounds WHERE state IN ('settled', 'finished') AND state <> 'void' AND (tallied_at IS NULL OR credited_at IS NULL) ORDER BY day

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

-- queue_reminders: Queues members with the switch on and no check-in in the books, each once.
INSERT INTO reminders (day, uid)
SELECT m.day, m.uid FROM members m JOIN flags f ON f.uid = m.uid AND f.remind
WHERE m.day = %(day)s AND NOT EXISTS (SELECT FROM check_ins c WHERE c.day = m.day AND c.uid = m.uid)
ON CONFLICT DO NOTHING

-- mark_reminded: The round's reminders are queued.
UPDATE rounds SET reminded_at = now() WHERE day = %(day)s AND state = 'open' AND reminded_at IS NULL RETURNING day

-- lock_due_reminders: Reminders that are due, locked. See lock_due_outgoing.
SELECT uid FROM reminders WHERE day = %(day)s AND state = 'due' AND next_at <= now()
ORDER BY next_at, uid LIMIT %(limit)s FOR UPDATE SKIP LOCKED

-- take_reminders: Leases locked reminders to this process.
UPDATE reminders r SET attempts = attempts + 1, next_at = now() + make_interval(secs => %(lease_seconds)s)
WHERE r.day = %(day)s AND r.uid = ANY(%(uids)s)
RETURNING r.day, r.uid, r.attempts, (SELECT open_id FROM orders o WHERE o.day = %(day)s AND o.uid = r.uid) AS open_id

-- end_reminders: Records a final state of some reminders.
UPDATE reminders SET state = %(state)s WHERE day = %(day)s AND uid = ANY(%(uids)s) AND state = 'due'

-- delay_reminder: Records when to retry a reminder.
UPDATE reminders SET next_at = now() + make_interval(secs => %(seconds)s) WHERE day = %(day)s AND uid = %(uid)s AND state = 'due'

-- expire_reminders: Expires unsent reminders of past rounds, and deletes old ones.
WITH gone AS (DELETE FROM reminders WHERE day < %(day)s - 30)
UPDATE reminders SET state = 'expired' WHERE day < %(day)s AND state = 'due'
