-- What users were told and the books could not take, and what the house pays for it. Parameters are psycopg's.

-- promise_check_ins: Check-ins that came after the round had been sealed, of users who had not checked in before.
INSERT INTO promises (day, uid, step, fen, at_ms)
SELECT r.day, s.uid, 'checked_in', (r.rules->>'stake_fen')::bigint, s.at_ms
FROM rounds r, unnest(%(uid)s::bigint[], %(at_ms)s::bigint[]) AS s (uid, at_ms)
WHERE r.day = %(day)s AND r.state IN ('sealed', 'split', 'published', 'settled', 'finished')
  AND NOT EXISTS (SELECT FROM check_ins c WHERE c.day = %(day)s AND c.uid = s.uid)
ON CONFLICT DO NOTHING

-- promise_claims: Claims that told a user more than the books give.
INSERT INTO promises (day, uid, step, fen, at_ms)
SELECT %(day)s, s.uid, 'claimed', s.stake_fen + s.packet_fen, s.at_ms
FROM unnest(%(uid)s::bigint[], %(packet_fen)s::bigint[], %(stake_fen)s::bigint[], %(at_ms)s::bigint[])
    AS s (uid, packet_fen, stake_fen, at_ms)
WHERE NOT EXISTS (SELECT FROM claims c
    WHERE c.day = %(day)s AND c.uid = s.uid AND c.stake_fen + c.packet_fen >= s.stake_fen + s.packet_fen)
ON CONFLICT DO NOTHING

-- own_packets: The packets of some winners of a shard, by their ranks.
SELECT c.uid, p.index, p.fen FROM check_ins c
JOIN packets p ON p.day = %(day)s AND p.shard = %(shard)s AND p.index = c.rank - 1
WHERE c.day = %(day)s AND c.uid = ANY(%(uids)s::bigint[])

-- is_sealed: Whether a round's members and winners are final: C says them, also of a round that is called off after it.
SELECT EXISTS (SELECT FROM rounds WHERE day = %(day)s AND (state IN ('sealed', 'split', 'published', 'settled', 'finished')
    OR state IN ('voiding', 'void') AND EXISTS (SELECT FROM statements WHERE day = %(day)s AND kind = 'closed'))) AS sealed

-- say_promise: An operator believes what a user was told. Only somebody who has paid into the round can be paid.
INSERT INTO promises (day, uid, step, fen, at_ms)
SELECT o.day, o.uid, 'said', %(fen)s, %(at_ms)s FROM orders o
WHERE o.day = %(day)s AND o.uid = %(uid)s
  AND EXISTS (SELECT FROM payments p WHERE p.day = %(day)s AND p.order_no = o.order_no)
ON CONFLICT (day, uid, step, fen) DO UPDATE SET fen = excluded.fen RETURNING uid

-- promises_of: The users of a round who were promised something: how much, what the books have given them, what the
-- house has paid, and how much is missing. A refund counts if it gives back the stake, not a payment that was one too many.
SELECT t.*, greatest(0, told_fen - given_fen - made_good_fen) AS due_fen FROM (
    SELECT p.uid, array_agg(DISTINCT p.step) AS steps, min(p.at_ms) AS at_ms, bool_and(p.kept_at IS NOT NULL) AS kept, max(p.fen) AS told_fen,
        coalesce((SELECT stake_fen + packet_fen FROM claims c WHERE c.day = %(day)s AND c.uid = p.uid), 0)
        + coalesce((SELECT max(amount_fen) FROM refunds r WHERE r.day = %(day)s AND r.uid = p.uid
            AND (r.reason IN ('late_member', 'nobody', 'void') OR r.reason = 'refund_closed'
                 AND NOT EXISTS (SELECT FROM members m WHERE m.day = %(day)s AND m.uid = p.uid))), 0) AS given_fen,
        coalesce((SELECT sum(amount_fen) FROM made_good g WHERE g.day = %(day)s AND g.uid = p.uid), 0)::bigint AS made_good_fen
    FROM promises p WHERE p.day = %(day)s GROUP BY p.uid) AS t
ORDER BY uid

-- make_good: What is missing, once for each user.
INSERT INTO made_good (day, uid, number, amount_fen, at_ms)
SELECT %(day)s, s.uid, 1 + (SELECT count(*) FROM made_good g WHERE g.day = %(day)s AND g.uid = s.uid), s.fen, %(at_ms)s
FROM unnest(%(uids)s::bigint[], %(fens)s::bigint[]) AS s (uid, fen)

-- keep_promises: The promises of a round are kept; whoever else keeps them waits.
UPDATE promises SET kept_at = coalesce(kept_at, now()) WHERE day = %(day)s

-- lost_steps: What some users did in a round by the books: which step, when, and the money of it.
SELECT uid, 'join' AS verb, at_ms, NULL::bigint AS fen FROM orders WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[])
UNION ALL SELECT uid, 'pay', at_ms, stake_fen FROM members WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[])
UNION ALL SELECT uid, 'check_in', at_ms, NULL FROM check_ins WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[])
UNION ALL SELECT uid, 'claim', at_ms, stake_fen + packet_fen FROM claims WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[])
ORDER BY at_ms, uid
