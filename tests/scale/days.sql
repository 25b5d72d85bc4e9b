-- Rounds that have ended, and all rows of their users, as :words: say.

CREATE TEMP TABLE played ON COMMIT DROP AS
    SELECT d::date AS day, u.uid, 'N' || to_char(d, 'YYYYMMDD') || u.uid AS order_no, 'T' || to_char(d, 'YYYYMMDD') || u.uid AS tid,
           (extract(epoch FROM d) * 1000)::bigint + u.uid AS at_ms, row_number() OVER () AS n
    FROM generate_series(':first:'::date, ':last:'::date, '1 day') AS d CROSS JOIN generate_series(1, :users:) AS u (uid);
INSERT INTO rounds (day, rules, seed, seed_hash, state, members, winners, tallied_at, credited_at, settled_at, finished_at)
    SELECT DISTINCT day, ':rules:'::jsonb, '\x:seed:'::bytea, '\x:seed_hash:'::bytea, 'finished', 3, 2, now(), now(),
        now() - interval '10 days', now() - interval '10 days' FROM played;
INSERT INTO orders SELECT day, uid, order_no, n, 100, 'open-' || uid, at_ms FROM played;
INSERT INTO payments SELECT day, order_no, tid, uid, 100, at_ms, at_ms, CASE uid WHEN 4 THEN 'refund_late' ELSE 'paid' END, 'platform', '{}' FROM played;
INSERT INTO members SELECT day, uid, 100, false, at_ms FROM played WHERE uid <= 3;
INSERT INTO check_ins SELECT day, uid, at_ms + 30000000, uid FROM played WHERE uid <= 2;
INSERT INTO packets SELECT day, 0, uid - 1, uid * 30 FROM played WHERE uid <= 2;
INSERT INTO claims SELECT day, uid, 0, uid - 1, uid * 30, 100, 'user', at_ms + 40000000 FROM played WHERE uid <= 2;
INSERT INTO refunds SELECT day, order_no, tid, refund_no(order_no, tid), uid, 100, 'refund_late', at_ms FROM played WHERE uid = 4;
INSERT INTO transfers SELECT day, 'stake', order_no || ':' || tid, uid, 'channel:platform', 'pool:' || day, 100, at_ms FROM played WHERE uid <= 3;
INSERT INTO transfers SELECT day, 'unwanted', order_no || ':' || tid, uid, 'channel:platform', 'owed:refund', 100, at_ms FROM played WHERE uid = 4;
INSERT INTO transfers SELECT day, kind, uid::text, uid,
        CASE kind WHEN 'payout' THEN 'user:' || uid ELSE 'pool:' || day END, CASE kind WHEN 'payout' THEN 'owed:payout' ELSE 'user:' || uid END,
        CASE kind WHEN 'stake_back' THEN 100 WHEN 'packet' THEN uid * 30 ELSE 100 + uid * 30 END, at_ms + 40000000
    FROM played CROSS JOIN unnest('{stake_back,packet,payout}'::text[]) AS kind WHERE uid <= 2;
INSERT INTO transfers SELECT day, 'payout_failed', 'P' || to_char(day, 'YYYYMMDD') || uid, uid, 'owed:payout', 'user:' || uid, 160, at_ms + 50000000
    FROM played WHERE uid = 2 AND extract(day FROM day)::int % 5 = 0;
INSERT INTO outgoing (day, no, kind, uid, amount_fen, state, ended_at)
    SELECT day, 'P' || to_char(day, 'YYYYMMDD') || uid, 'payout', uid, 100 + uid * 30,
        CASE WHEN uid = 2 AND extract(day FROM day)::int % 5 = 0 THEN 'failed' ELSE 'done' END, now() FROM played WHERE uid <= 2;
INSERT INTO outgoing (day, no, kind, uid, amount_fen, order_no, transaction_id, state, ended_at)
    SELECT day, refund_no(order_no, tid), 'refund', uid, 100, order_no, tid, 'done', now() FROM played WHERE uid = 4;
INSERT INTO profiles SELECT DISTINCT uid, 'open-' || uid, '1380000000' || uid, 'user ' || uid, 0 FROM played ON CONFLICT DO NOTHING;
INSERT INTO standings SELECT uid, max(day), count(*), count(*), count(*) FROM played WHERE uid <= 2 GROUP BY uid ON CONFLICT DO NOTHING;
INSERT INTO incomes SELECT uid, count(*) * uid * 30 FROM played WHERE uid <= 2 GROUP BY uid ON CONFLICT DO NOTHING;
INSERT INTO talents (day) SELECT DISTINCT day FROM played
