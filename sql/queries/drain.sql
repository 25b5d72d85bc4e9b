-- The drain: leases, positions, what the rows of entries need besides the generated statements. Parameters are psycopg's.

-- try_lease: Whether this transaction gets the lease of the shard.
SELECT pg_try_advisory_xact_lock(%(lock)s, %(shard)s) AS ours

-- wait_lease: Waits for the lease of the shard, and holds it until this transaction ends.
SELECT pg_advisory_xact_lock(%(lock)s, %(shard)s)

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
