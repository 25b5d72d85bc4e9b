-- orders
WITH added AS (INSERT INTO "orders" ("day", "uid", "order_no", "order_id", "amount_fen", "open_id", "at_ms") SELECT "day", "uid", "order_no", "order_id", "amount_fen", "open_id", "at_ms" FROM "new_orders" AS source WHERE true ON CONFLICT DO NOTHING RETURNING *),
  "follows_0" AS (INSERT INTO steps (day, minute_ms, step, shard, count) SELECT '2026-11-22'::date, at_ms - at_ms % 60000, 'ordered', 3, count(*) FROM "added" GROUP BY 2 ON CONFLICT (day, minute_ms, step, shard) DO UPDATE SET count = steps.count + excluded.count) SELECT

-- payments
WITH added AS (INSERT INTO "payments" ("day", "order_no", "transaction_id", "uid", "amount_fen", "paid_at_ms", "at_ms", "outcome", "channel", "raw") SELECT "day", "order_no", "transaction_id", "uid", "amount_fen", "paid_at_ms", "at_ms", "outcome", "channel", "raw" FROM "new_payments" AS source WHERE true ON CONFLICT DO NOTHING RETURNING *),
  "follows_0" AS (INSERT INTO transfers (day, kind, cause, uid, from_account, to_account, amount_fen, at_ms) SELECT day, 'stake', order_no || ':' || transaction_id, uid, 'channel:' || channel, 'pool:2026-11-22', amount_fen, at_ms FROM "added" AS source WHERE day = '2026-11-22'::date AND amount_fen > 0 AND outcome IN ('paid', 'paid_late')),
  "follows_1" AS (INSERT INTO transfers (day, kind, cause, uid, from_account, to_account, amount_fen, at_ms) SELECT day, 'unwanted', order_no || ':' || transaction_id, uid, 'channel:' || channel, 'owed:refund', amount_fen, at_ms FROM "added" AS source WHERE day = '2026-11-22'::date AND amount_fen > 0 AND NOT outcome IN ('paid', 'paid_late')) SELECT

-- members
WITH added AS (INSERT INTO "members" ("day", "uid", "stake_fen", "late", "at_ms") SELECT "day", "uid", "stake_fen", "late", "at_ms" FROM "new_members" AS source WHERE true ON CONFLICT DO NOTHING RETURNING *),
  "follows_0" AS (INSERT INTO steps (day, minute_ms, step, shard, count) SELECT '2026-11-22'::date, at_ms - at_ms % 60000, 'paid', 3, count(*) FROM "added" GROUP BY 2 ON CONFLICT (day, minute_ms, step, shard) DO UPDATE SET count = steps.count + excluded.count) SELECT

-- check_ins
WITH added AS (INSERT INTO "check_ins" ("day", "uid", "at_ms", "rank") SELECT "day", "uid", "at_ms", "rank" FROM "new_check_ins" AS source WHERE true ON CONFLICT DO NOTHING RETURNING *),
  "follows_0" AS (INSERT INTO steps (day, minute_ms, step, shard, count) SELECT '2026-11-22'::date, at_ms - at_ms % 60000, 'checked_in', 3, count(*) FROM "added" GROUP BY 2 ON CONFLICT (day, minute_ms, step, shard) DO UPDATE SET count = steps.count + excluded.count) SELECT

-- claims
WITH added AS (INSERT INTO "claims" ("day", "uid", "shard", "index", "packet_fen", "stake_fen", "by", "at_ms") SELECT "day", "uid", "shard", "index", "packet_fen", "stake_fen", "by", "at_ms" FROM "new_claims" AS source WHERE true ON CONFLICT DO NOTHING RETURNING *),
  "follows_0" AS (INSERT INTO transfers (day, kind, cause, uid, from_account, to_account, amount_fen, at_ms) SELECT day, 'stake_back', uid::text, uid, 'pool:2026-11-22', 'user:' || uid, stake_fen, at_ms FROM "added" AS source WHERE day = '2026-11-22'::date AND stake_fen > 0 AND true),
  "follows_1" AS (INSERT INTO transfers (day, kind, cause, uid, from_account, to_account, amount_fen, at_ms) SELECT day, 'packet', uid::text, uid, 'pool:2026-11-22', 'user:' || uid, packet_fen, at_ms FROM "added" AS source WHERE day = '2026-11-22'::date AND packet_fen > 0 AND true),
  "follows_2" AS (INSERT INTO transfers (day, kind, cause, uid, from_account, to_account, amount_fen, at_ms) SELECT day, 'payout', uid::text, uid, 'user:' || uid, 'owed:payout', stake_fen + packet_fen, at_ms FROM "added" AS source WHERE day = '2026-11-22'::date AND stake_fen + packet_fen > 0 AND true),
  "follows_3" AS (INSERT INTO outgoing (day, no, kind, uid, amount_fen) SELECT day, 'P20261122' || uid, 'payout', uid, stake_fen + packet_fen FROM "added" WHERE day = '2026-11-22'::date),
  "follows_4" AS (INSERT INTO steps (day, minute_ms, step, shard, count) SELECT '2026-11-22'::date, at_ms - at_ms % 60000, 'claimed', 3, count(*) FROM "added" GROUP BY 2 ON CONFLICT (day, minute_ms, step, shard) DO UPDATE SET count = steps.count + excluded.count) SELECT

-- refunds
WITH added AS (INSERT INTO "refunds" ("day", "order_no", "transaction_id", "refund_no", "uid", "amount_fen", "reason", "at_ms") SELECT "day", "order_no", "transaction_id", "refund_no", "uid", "amount_fen", "reason", "at_ms" FROM "new_refunds" AS source WHERE EXISTS (SELECT FROM payments AS p WHERE (p.day, p.order_no, p.transaction_id, p.outcome) = (source.day, source.order_no, source.transaction_id, source.reason)) ON CONFLICT DO NOTHING RETURNING *),
  "follows_0" AS (INSERT INTO transfers (day, kind, cause, uid, from_account, to_account, amount_fen, at_ms) SELECT day, 'refund', order_no || ':' || transaction_id, uid, 'pool:2026-11-22', 'owed:refund', amount_fen, at_ms FROM "added" AS source WHERE day = '2026-11-22'::date AND amount_fen > 0 AND reason IN ('late_member', 'nobody', 'void')),
  "follows_1" AS (INSERT INTO outgoing (day, no, kind, uid, amount_fen, order_no, transaction_id) SELECT day, refund_no, 'refund', uid, amount_fen, order_no, transaction_id FROM "added" WHERE day = '2026-11-22'::date) SELECT

-- quarantine
WITH added AS (INSERT INTO "quarantine" ("digest", "day", "at_ms", "channel", "reason", "order_no", "raw") SELECT "digest", "day", "at_ms", "channel", "reason", "order_no", "raw" FROM "new_quarantine" AS source WHERE true ON CONFLICT DO NOTHING RETURNING *) SELECT

-- closings
WITH added AS (INSERT INTO "closings" ("day", "shard", "at_ms", "why", "members", "winners", "late", "pool_fen") SELECT "day", "shard", "at_ms", "why", "members", "winners", "late", "pool_fen" FROM "new_closings" AS source WHERE true ON CONFLICT DO NOTHING RETURNING *) SELECT
