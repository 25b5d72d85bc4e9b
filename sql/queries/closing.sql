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

-- members_last: The last of the next page of members after a user.
SELECT max(uid) AS last FROM (
    SELECT uid FROM members WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s) AS page

-- payments_last: The last order of the next page of payments after an order.
SELECT max(order_no) AS last FROM (
    SELECT order_no FROM payments WHERE day = %(day)s AND order_no > %(after)s ORDER BY order_no LIMIT %(limit)s) AS page

-- keep_state: Keeps a round in its state until the transaction ends; no row: it is in another one.
SELECT day FROM rounds WHERE day = %(day)s AND state = %(state)s FOR SHARE

-- refund_late: Refunds those late members of a page who did not check in. What belongs to a member is looked up one by one: a
-- join would look through the whole round, or through the page for each member.
INSERT INTO refunds (day, order_no, transaction_id, refund_no, uid, amount_fen, reason, at_ms)
SELECT %(day)s, o.order_no, p.transaction_id, refund_no(o.order_no, p.transaction_id), m.uid, p.amount_fen, %(reason)s, %(at_ms)s
FROM members m
CROSS JOIN LATERAL (SELECT order_no FROM orders WHERE day = %(day)s AND uid = m.uid LIMIT 1) AS o
CROSS JOIN LATERAL (
    SELECT transaction_id, amount_fen FROM payments WHERE day = %(day)s AND order_no = o.order_no AND uid = m.uid
        AND outcome IN ('paid', 'paid_late') LIMIT 1) AS p
WHERE m.day = %(day)s AND m.uid > %(after)s AND m.uid <= %(last)s AND m.late
    AND (SELECT true FROM check_ins c WHERE c.day = %(day)s AND c.uid = m.uid LIMIT 1) IS NULL
ON CONFLICT DO NOTHING

-- refund_paid: Refunds the stakes of a page of payments.
INSERT INTO refunds (day, order_no, transaction_id, refund_no, uid, amount_fen, reason, at_ms)
SELECT day, order_no, transaction_id, refund_no(order_no, transaction_id), uid, amount_fen, %(reason)s, %(at_ms)s
FROM payments WHERE day = %(day)s AND order_no > %(after)s AND order_no <= %(last)s AND outcome IN ('paid', 'paid_late')
ON CONFLICT DO NOTHING

-- refunds_of_settlement: What settlement has refunded, and how many of these users are among the winners.
SELECT coalesce(sum(r.amount_fen), 0)::bigint AS fen, count(c.uid) AS winners
FROM refunds r LEFT JOIN check_ins c ON c.day = %(day)s AND c.uid = r.uid
WHERE r.day = %(day)s AND r.reason IN ('late_member', 'nobody')

-- sum_refunds: The sum of a round's refunds.
SELECT count(*) AS refunds, coalesce(sum(amount_fen), 0)::bigint AS fen FROM refunds WHERE day = %(day)s

-- write_packets: The next packets of a shard, from an index on.
INSERT INTO packets (day, shard, index, fen)
SELECT %(day)s, %(shard)s, %(first)s + place - 1, fen FROM unnest(%(fens)s::bigint[]) WITH ORDINALITY AS given (fen, place)

-- manifest_page: A shard's packets from an index on, in chunks of one text each: a row each would take longer than pushing them.
SELECT min(index) AS first, count(*) AS packets, string_agg(fen::text, ' ' ORDER BY index) AS fens FROM packets
WHERE day = %(day)s AND shard = %(shard)s AND index >= %(first)s AND index < %(first)s::int + %(limit)s
GROUP BY (index - %(first)s::int) / %(chunk)s::int ORDER BY 1

-- manifest_sums: How many packets a shard has, and their sum.
SELECT shard, count(*) AS packets, sum(fen)::bigint AS fen FROM packets WHERE day = %(day)s GROUP BY shard

-- packets_last: The last index of the next page of a shard's packets after an index.
SELECT max(index) AS last FROM (SELECT index FROM packets
    WHERE day = %(day)s AND shard = %(shard)s AND index > %(after)s ORDER BY index LIMIT %(limit)s) AS page

-- drop_packets: Deletes a page of the manifest of a void round.
DELETE FROM packets WHERE day = %(day)s AND shard = %(shard)s AND index > %(after)s AND index <= %(last)s

-- unclaimed: Of the next winners after a user those without a claim, and the last of the page. Claims are looked up one by one: a
-- join would read all of them for each page.
SELECT max(w.uid) AS last, coalesce(array_agg(w.uid ORDER BY w.uid) FILTER (WHERE l.claimed IS NULL), '{}') AS uids
FROM (SELECT uid FROM check_ins WHERE day = %(day)s AND uid > %(after)s ORDER BY uid LIMIT %(limit)s) AS w
LEFT JOIN LATERAL (SELECT true AS claimed FROM claims WHERE day = %(day)s AND uid = w.uid LIMIT 1) AS l ON true

-- missing_claims: How many winners of a round have no claim, and one of them.
SELECT count(*) AS winners, min(c.uid) AS uid FROM check_ins c
WHERE c.day = %(day)s AND NOT EXISTS (SELECT FROM claims l WHERE l.day = %(day)s AND l.uid = c.uid)

-- count_claims: The number of claims in the books.
SELECT count(*) AS claims FROM claims WHERE day = %(day)s

-- pool_balance: The balance of a round's pool account; 0 once the round has ended.
SELECT coalesce(sum(CASE pool.account WHEN to_account THEN amount_fen WHEN from_account THEN -amount_fen ELSE 0 END), 0)::bigint AS fen
FROM transfers, (SELECT 'pool:' || to_char(%(day)s::date, 'YYYY-MM-DD') AS account OFFSET 0) AS pool WHERE day = %(day)s
