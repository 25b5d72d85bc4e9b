-- The provider's bill against the books. Parameters are psycopg's. Differences are found first and limited then: with a
-- limit Postgres would expect to find that many soon, and look rows up one by one.

-- begin_bill: The lines of all bills that are read, while this transaction lasts.
CREATE TEMP TABLE bill_lines (kind text, no text, order_no text, amount_fen bigint, at_ms bigint, payer text, ours boolean) ON COMMIT DROP

-- end_bill: The lines of a round, those that a bill has twice added up: ours by their numbers, or because the books know them.
CREATE TEMP TABLE billed ON COMMIT DROP AS
SELECT l.kind, l.no, l.order_no, sum(l.amount_fen) AS amount_fen, max(l.at_ms) AS at_ms, max(l.payer) AS payer
FROM bill_lines l
LEFT JOIN (SELECT DISTINCT transaction_id FROM payments WHERE day = %(day)s) AS p
       ON p.transaction_id = l.no AND l.kind = 'payment' AND NOT l.ours
LEFT JOIN (SELECT DISTINCT coalesce(sent_as, no) AS no FROM outgoing WHERE day = %(day)s) AS o ON o.no = l.no AND NOT l.ours
WHERE l.ours OR p.transaction_id IS NOT NULL OR o.no IS NOT NULL
GROUP BY l.kind, l.no, l.order_no

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
SELECT no, order_no, amount_fen::bigint AS amount_fen, at_ms, payer FROM found ORDER BY order_no, no LIMIT %(limit)s

-- not_billed: Payments of the books that the bill must have and does not. What is paid while the bill is read is
-- compared the next time; the provider's clock may be 5 s off.
WITH found AS MATERIALIZED (
    SELECT p.order_no, p.transaction_id, p.amount_fen FROM payments p
    LEFT JOIN billed b ON b.kind = 'payment' AND b.order_no = p.order_no AND b.no = p.transaction_id
    WHERE p.day = %(day)s AND b.no IS NULL
      AND (to_timestamp(p.paid_at_ms / 1000) AT TIME ZONE %(zone)s)::date < %(whole_until)s
      AND p.paid_at_ms NOT BETWEEN %(asked_ms)s - 5000 AND (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 5000)
SELECT * FROM found ORDER BY order_no, transaction_id LIMIT %(limit)s

-- billed_otherwise: Payments that the bill and the books have, with different amounts.
WITH found AS MATERIALIZED (
    SELECT p.order_no, p.transaction_id, p.amount_fen AS books_fen, b.amount_fen::bigint AS billed_fen FROM payments p
    JOIN billed b ON b.kind = 'payment' AND b.order_no = p.order_no AND b.no = p.transaction_id
    WHERE p.day = %(day)s AND p.amount_fen <> b.amount_fen)
SELECT * FROM found ORDER BY order_no, transaction_id LIMIT %(limit)s

-- moved_otherwise: Refunds and payouts of which the bill says something else than the books. What was sent before the
-- bill was asked for must be in it; what is moving meanwhile is compared the next time. A refund that only the bill has
-- may be what an operator gave back at the provider for a dismissed payment.
WITH books AS (
    SELECT DISTINCT ON (coalesce(sent_as, no)) coalesce(sent_as, no) AS no, kind, state, ended_at,
           CASE WHEN state = 'done' THEN amount_fen END AS sent_fen
    FROM outgoing WHERE day = %(day)s ORDER BY coalesce(sent_as, no), again DESC),
dismissed AS (
    SELECT DISTINCT r.order_no, r.amount_fen FROM releases r
    JOIN billed b ON b.kind = 'payment' AND b.order_no = r.order_no AND b.no = r.transaction_id
    LEFT JOIN payments p ON p.day = %(day)s AND p.order_no = r.order_no AND p.transaction_id = r.transaction_id
    WHERE r.action = 'dismiss' AND p.order_no IS NULL),
moved AS (
    SELECT b.no, sum(b.amount_fen)::bigint AS billed_fen, bool_and(d.order_no IS NOT NULL) AS given_back
    FROM billed b LEFT JOIN dismissed d ON b.kind = 'refund' AND d.order_no = b.order_no AND d.amount_fen = b.amount_fen
    WHERE b.kind <> 'payment' GROUP BY b.no),
found AS MATERIALIZED (
    SELECT coalesce(books.no, moved.no) AS no, coalesce(kind, 'movement') AS kind, sent_fen, billed_fen
    FROM books FULL JOIN moved ON moved.no = books.no
    WHERE sent_fen IS DISTINCT FROM billed_fen AND state IS DISTINCT FROM 'unknown' AND state IS DISTINCT FROM 'processing'
      AND CASE WHEN moved.no IS NULL THEN
              ended_at < %(asked_at)s AND (ended_at AT TIME ZONE %(zone)s)::date < %(whole_until)s
          ELSE books.no IS NOT NULL OR NOT given_back END)
SELECT * FROM found ORDER BY no LIMIT %(limit)s

-- money_dates: The dates on which a round's money may have moved.
SELECT DISTINCT (to_timestamp(paid_at_ms / 1000) AT TIME ZONE %(zone)s)::date AS date FROM payments WHERE day = %(day)s
UNION
SELECT generate_series(first, least(last, first + 60), '1 day')::date FROM (
    SELECT DISTINCT (created_at AT TIME ZONE %(zone)s)::date AS first,
           (coalesce(ended_at, now()) AT TIME ZONE %(zone)s)::date AS last FROM outgoing WHERE day = %(day)s) AS spans
