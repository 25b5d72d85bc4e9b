-- Closing and splitting: totals, ranks, refunds, the manifest. Parameters are psycopg's.

-- closed_shards: The final totals of a round's shards.
SELECT * FROM closings WHERE day = %(day)s ORDER BY shard

-- correct_closing: What a shard said when it closed, where it had forgotten something.
UPDATE closings SET members = %(members)s, winners = %(winners)s, late = %(late)s, pool_fen = %(pool_fen)s
WHERE day = %(day)s AND shard = %(shard)s
  AND (members, winners, late, pool_fen) IS DISTINCT FROM (%(members)s, %(winners)s, %(late)s, %(pool_fen)s) RETURNING shard

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

-- sum_refunds: The sum of a round's refunds.
SELECT count(*) AS refunds, coalesce(sum(amount_fen), 0)::bigint AS fen FROM refunds WHERE day = %(day)s

-- manifest_page: A shard's packets from an index on, in chunks of one text each: a row each would take longer than pushing them.
SELECT min(index) AS first, count(*) AS packets, string_agg(fen::text, ' ' ORDER BY index) AS fens FROM packets
WHERE day = %(day)s AND shard = %(shard)s AND index >= %(first)s AND index < %(first)s::int + %(limit)s
GROUP BY (index - %(first)s::int) / %(chunk)s::int ORDER BY 1

-- manifest_sums: How many packets a shard has, and their sum.
SELECT shard, count(*) AS packets, sum(fen)::bigint AS fen FROM packets WHERE day = %(day)s GROUP BY shard

-- drop_manifest: Deletes the manifest of a void round.
DELETE FROM packets WHERE day = %(day)s

-- unclaimed: Winners without a claim.
SELECT c.uid FROM check_ins c LEFT JOIN claims l ON l.day = c.day AND l.uid = c.uid
WHERE c.day = %(day)s AND l.uid IS NULL ORDER BY c.uid LIMIT %(limit)s

-- count_claims: The number of claims in the books.
SELECT count(*) AS claims FROM claims WHERE day = %(day)s

-- pool_balance: The balance of a round's pool account; 0 once the round has ended.
SELECT coalesce(sum(CASE pool.account WHEN to_account THEN amount_fen WHEN from_account THEN -amount_fen ELSE 0 END), 0)::bigint AS fen
FROM transfers, (SELECT 'pool:' || to_char(%(day)s::date, 'YYYY-MM-DD') AS account OFFSET 0) AS pool WHERE day = %(day)s
