-- Providers' bills against the books. Parameters are psycopg's. Differences are found first and limited then: with a
-- limit Postgres would expect to find that many soon, and look rows up one by one. What must be in a bill is said by
-- three arrays: a channel, a kind of movement that its bills have, and the first date whose bill is missing.

-- channels_billing: The channels of a round's payments and withdrawals, and one order for each channel and shard, whose
-- number names it.
SELECT channel, NULL AS order_no FROM payments WHERE day = %(day)s GROUP BY channel
UNION ALL
SELECT channel, NULL FROM outgoing WHERE day = %(day)s AND kind = 'withdrawal' GROUP BY channel
UNION ALL
SELECT NULL, min(order_no) FROM orders WHERE day = %(day)s GROUP BY left(right(order_no, 23), 2)

-- begin_bill: The lines of all bills that are read, while this transaction lasts.
CREATE TEMP TABLE bill_lines (channel text, kind text, no text, order_no text, amount_fen bigint, at_ms bigint, payer text, ours boolean) ON COMMIT DROP

-- end_bill: The lines of a round, those that a bill has twice added up: ours by their numbers, or because the books know
-- them. Of a channel of which a bill is missing nothing counts.
CREATE TEMP TABLE billed ON COMMIT DROP AS
SELECT l.channel, l.kind, l.no, l.order_no, sum(l.amount_fen) AS amount_fen, max(l.at_ms) AS at_ms, max(l.payer) AS payer
FROM bill_lines l
LEFT JOIN (SELECT DISTINCT transaction_id FROM payments WHERE day = %(day)s) AS p
       ON p.transaction_id = l.no AND l.kind = 'payment' AND NOT l.ours
LEFT JOIN (SELECT DISTINCT coalesce(sent_as, no) AS no FROM outgoing WHERE day = %(day)s) AS o ON o.no = l.no AND NOT l.ours
WHERE l.channel = ANY(%(channels)s::text[]) AND (l.ours OR p.transaction_id IS NOT NULL OR o.no IS NOT NULL)
GROUP BY l.channel, l.kind, l.no, l.order_no

-- measure_bill: How large they are: Postgres looks at no table of a transaction by itself.
ANALYZE billed

-- count_billed: The round's lines.
SELECT count(*) AS lines FROM billed

-- clock_now: Postgres' clock, and the same in ms.
SELECT clock_timestamp() AS at, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms

-- unheard: Payments of the bill that the books do not have, but for those that an operator has dismissed.
WITH found AS MATERIALIZED (
    SELECT b.* FROM billed b
    LEFT JOIN payments p ON p.day = %(day)s AND p.order_no = b.order_no AND p.transaction_id = b.no
    LEFT JOIN (SELECT DISTINCT order_no, transaction_id FROM releases WHERE action = 'dismiss') AS r
           ON r.order_no = b.order_no AND r.transaction_id = b.no
    WHERE b.kind = 'payment' AND p.order_no IS NULL AND r.order_no IS NULL)
SELECT channel, no, order_no, amount_fen::bigint AS amount_fen, at_ms, payer FROM found
ORDER BY order_no, no, channel LIMIT %(limit)s

-- not_billed: Payments of the books that their channel's bill must have and does not. What is paid while the bill is read
-- is compared the next time; the provider's clock may be 5 s off.
WITH found AS MATERIALIZED (
    SELECT p.order_no, p.transaction_id, p.amount_fen, p.channel FROM payments p
    JOIN unnest(%(channels)s::text[], %(kinds)s::text[], %(untils)s::date[]) AS c (channel, kind, whole_until)
      ON c.channel = p.channel AND c.kind = 'payment'
    LEFT JOIN billed b ON b.kind = 'payment' AND b.channel = p.channel AND b.order_no = p.order_no AND b.no = p.transaction_id
    WHERE p.day = %(day)s AND b.no IS NULL
      AND (to_timestamp(p.paid_at_ms / 1000) AT TIME ZONE %(zone)s)::date < c.whole_until
      AND p.paid_at_ms NOT BETWEEN %(asked_ms)s - 5000 AND (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 5000)
SELECT * FROM found ORDER BY order_no, transaction_id LIMIT %(limit)s

-- billed_otherwise: Payments that the bill and the books have, with different amounts.
WITH found AS MATERIALIZED (
    SELECT p.order_no, p.transaction_id, b.channel, p.amount_fen AS books_fen, b.amount_fen::bigint AS billed_fen FROM payments p
    JOIN billed b ON b.kind = 'payment' AND b.order_no = p.order_no AND b.no = p.transaction_id
    WHERE p.day = %(day)s AND p.amount_fen <> b.amount_fen)
SELECT * FROM found ORDER BY order_no, transaction_id, channel LIMIT %(limit)s

-- moved_otherwise: Refunds, payouts and withdrawals of which the bill says something else than the books. What was sent before the
-- bill was asked for must be in it, on whatever date: a provider may date it when it took it up, and its clock may be 5 s
-- off. What is moving meanwhile is compared the next time. What failed may have left on one date and come back, with a
-- minus, on a later one. A refund that only the bill has may be what an operator gave back at the provider for a
-- dismissed payment.
WITH payers AS (
    SELECT o.uid, coalesce(min(p.channel) FILTER (WHERE p.outcome IN ('paid', 'paid_late')), min(p.channel)) AS channel
    FROM orders o JOIN payments p ON p.day = %(day)s AND p.order_no = o.order_no WHERE o.day = %(day)s GROUP BY o.uid),
books AS (
    SELECT DISTINCT ON (coalesce(g.sent_as, g.no)) coalesce(g.sent_as, g.no) AS no, g.kind, g.order_no, g.state, g.ended_at,
           coalesce(g.channel, r.channel, u.channel) AS channel, CASE WHEN g.state = 'done' THEN g.amount_fen END AS sent_fen
    FROM outgoing g
    LEFT JOIN payments r ON g.kind = 'refund' AND r.day = %(day)s AND r.order_no = g.order_no AND r.transaction_id = g.transaction_id
    LEFT JOIN payers u ON g.kind = 'payout' AND u.uid = g.uid
    WHERE g.day = %(day)s ORDER BY coalesce(g.sent_as, g.no), g.again DESC),
dismissed AS (
    SELECT DISTINCT r.order_no, r.amount_fen FROM releases r
    JOIN billed b ON b.kind = 'payment' AND b.order_no = r.order_no AND b.no = r.transaction_id
    LEFT JOIN payments p ON p.day = %(day)s AND p.order_no = r.order_no AND p.transaction_id = r.transaction_id
    WHERE r.action = 'dismiss' AND p.order_no IS NULL),
moved AS (
    SELECT b.channel, b.no, nullif(sum(b.amount_fen), 0)::bigint AS billed_fen, bool_and(d.order_no IS NOT NULL) AS given_back
    FROM billed b LEFT JOIN dismissed d ON b.kind = 'refund' AND d.order_no = b.order_no AND d.amount_fen = b.amount_fen
    WHERE b.kind <> 'payment' GROUP BY b.channel, b.no),
found AS MATERIALIZED (
    SELECT coalesce(books.no, moved.no) AS no, coalesce(books.kind, 'movement') AS kind,
           coalesce(books.channel, moved.channel) AS channel, order_no, state, sent_fen, billed_fen
    FROM books FULL JOIN moved ON moved.no = books.no AND moved.channel = books.channel
    LEFT JOIN unnest(%(channels)s::text[], %(kinds)s::text[], %(untils)s::date[]) AS c (channel, kind, whole_until)
           ON c.channel = books.channel AND c.kind = CASE books.kind WHEN 'refund' THEN 'refund' ELSE 'transfer' END
    WHERE sent_fen IS DISTINCT FROM billed_fen AND state IS DISTINCT FROM 'unknown' AND state IS DISTINCT FROM 'processing'
      AND CASE WHEN moved.no IS NULL OR state = 'failed' THEN
              ended_at < %(asked_at)s AND ((ended_at + interval '5 s') AT TIME ZONE %(zone)s)::date < c.whole_until
          ELSE books.no IS NOT NULL OR NOT given_back END)
SELECT * FROM found ORDER BY no, channel LIMIT %(limit)s

-- withdrawn_unasked: Withdrawals that a bill has on a round's date, and whose number the books have not given out: they have
-- lost it. The number does not say on which date it was asked for.
WITH said AS (
    SELECT channel, no, sum(amount_fen)::bigint AS billed_fen, regexp_match(no, '^W([0-9]{1,16})N([0-9]{1,9})$') AS parts FROM bill_lines
    WHERE kind = 'transfer' AND no ^@ 'W' AND channel = ANY(%(channels)s::text[])
      AND (to_timestamp(at_ms / 1000) AT TIME ZONE %(zone)s)::date = %(day)s
    GROUP BY channel, no HAVING sum(amount_fen) <> 0),
found AS MATERIALIZED (
    SELECT s.channel, s.no, s.billed_fen FROM said s
    LEFT JOIN withdrawals w ON w.uid = s.parts[1]::bigint AND w.count >= s.parts[2]::int
    WHERE s.parts IS NOT NULL AND w.uid IS NULL)
SELECT * FROM found ORDER BY no, channel LIMIT %(limit)s

-- money_dates: The dates on which a round's money may have moved.
SELECT DISTINCT (to_timestamp(paid_at_ms / 1000) AT TIME ZONE %(zone)s)::date AS date FROM payments WHERE day = %(day)s
UNION
SELECT generate_series(first, least(last, first + 60), '1 day')::date FROM (
    SELECT DISTINCT (created_at AT TIME ZONE %(zone)s)::date AS first,
           ((coalesce(ended_at, now()) + interval '5 s') AT TIME ZONE %(zone)s)::date AS last FROM outgoing WHERE day = %(day)s) AS spans
