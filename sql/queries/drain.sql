-- The drain: leases, positions, what the rows of entries need besides the generated statements. Parameters are psycopg's.

-- try_lease: Whether this transaction gets the lease of the shard.
SELECT pg_try_advisory_xact_lock(%(lock)s, %(shard)s) AS ours

-- wait_lease: Waits for the lease of the shard, as long as a drain may take, and holds it until this transaction ends.
SELECT set_config('lock_timeout', '60s', true), pg_advisory_xact_lock(%(lock)s, %(shard)s)

-- end_half_sent: Ends our sessions in which Postgres has waited for so long for the rest of what it was asked. Not those of a
-- COPY, since whoever restores a month may take its time.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = session_user AND pg_has_role(usesysid, 'USAGE') AND state = 'active'
  AND wait_event = 'ClientRead' AND query NOT ILIKE 'copy%%' AND state_change < now() - make_interval(secs => %(seconds)s)

-- save_position: The position up to which a shard's outbox is in the books.
INSERT INTO outbox_positions (day, shard, last_id, entries) VALUES (%(day)s, %(shard)s, %(last_id)s, %(entries)s)
ON CONFLICT (day, shard) DO UPDATE SET last_id = excluded.last_id, entries = excluded.entries, drained_at = now()

-- positions: How far the outboxes of a round, or of users, are in the books.
SELECT shard, last_id, entries FROM outbox_positions WHERE day IS NOT DISTINCT FROM %(day)s::date

-- drained_shards: Shards of a round of which Postgres has drained entries.
SELECT shard FROM outbox_positions WHERE day = %(day)s

-- accepted_payments: The payments that made some users members of a round.
SELECT uid, order_no, transaction_id FROM payments
WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[]) AND outcome IN ('paid', 'paid_late')

-- refused_payments: Those of some payments that the books have with another outcome than a membership.
SELECT p.order_no, p.transaction_id FROM payments p
JOIN unnest(%(order_nos)s::text[], %(transaction_ids)s::text[]) AS s (order_no, transaction_id)
    ON s.order_no = p.order_no AND s.transaction_id = p.transaction_id
WHERE p.day = %(day)s AND p.outcome NOT IN ('paid', 'paid_late')

-- renew_orders: Orders that users got after Redis had forgotten their first ones, which nobody has paid.
WITH renewed AS (
    UPDATE orders o SET order_no = s.order_no, order_id = s.order_id, open_id = s.open_id, at_ms = s.at_ms
    FROM unnest(%(uid)s::bigint[], %(order_no)s::text[], %(order_id)s::bigint[], %(open_id)s::text[], %(at_ms)s::bigint[])
        AS s (uid, order_no, order_id, open_id, at_ms)
    WHERE o.day = %(day)s AND o.uid = s.uid AND o.order_no <> s.order_no AND s.at_ms >= o.at_ms AND NOT EXISTS (
        SELECT FROM payments p WHERE p.day = o.day AND p.order_no = o.order_no AND p.outcome IN ('paid', 'paid_late'))
    RETURNING o.day, o.uid, o.order_no, o.at_ms)
INSERT INTO unpaid (day, uid, order_no, next_at_ms) SELECT day, uid, order_no, at_ms + %(first_ms)s FROM renewed
ON CONFLICT (day, uid) DO UPDATE SET order_no = excluded.order_no, asked = 0, next_at_ms = excluded.next_at_ms, answer = NULL

-- renew_ranks: Ranks of winners who checked in again after Redis had forgotten it; none once the round is split.
UPDATE check_ins c SET rank = s.rank FROM unnest(%(uid)s::bigint[], %(rank)s::int[]) AS s (uid, rank)
WHERE c.day = %(day)s AND c.uid = s.uid AND c.rank <> s.rank
  AND EXISTS (SELECT FROM rounds r WHERE r.day = c.day AND r.state IN ('open', 'closed', 'voiding'))

-- upsert_profiles: Updates users' profiles from arrays; an empty text changes nothing.
INSERT INTO profiles (uid, open_id, mobile, nickname, at_ms)
SELECT * FROM unnest(%(uid)s::bigint[], %(open_id)s::text[], %(mobile)s::text[], %(nickname)s::text[], %(at_ms)s::bigint[])
ON CONFLICT (uid) DO UPDATE SET
    open_id = coalesce(nullif(excluded.open_id, ''), profiles.open_id),
    mobile = coalesce(nullif(excluded.mobile, ''), profiles.mobile),
    nickname = coalesce(nullif(excluded.nickname, ''), profiles.nickname),
    at_ms = excluded.at_ms
WHERE excluded.at_ms >= profiles.at_ms

-- upsert_switch: The reminder switch as last set.
INSERT INTO flags (uid, remind, switched_at_ms) VALUES (%(uid)s, %(remind)s, %(at_ms)s)
ON CONFLICT (uid) DO UPDATE SET remind = excluded.remind, switched_at_ms = excluded.switched_at_ms
WHERE excluded.switched_at_ms >= flags.switched_at_ms

-- upsert_ack: The latest round whose result the user has seen.
INSERT INTO flags (uid, acked_day) VALUES (%(uid)s, %(day)s)
ON CONFLICT (uid) DO UPDATE SET acked_day = greatest(flags.acked_day, excluded.acked_day)
