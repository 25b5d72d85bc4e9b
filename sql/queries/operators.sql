-- What operators watch, and the check of the server at the start. Parameters are psycopg's.

-- steps: How many users took which step of a round, minute by minute.
SELECT minute_ms, step, sum(count)::bigint AS count FROM steps WHERE day = %(day)s GROUP BY 1, 2 ORDER BY 1, 2

-- watch: Figures for operators over all rounds; each reads a partial index or a few days. What is stuck: list_unsent.
SELECT
    (SELECT count(*) FROM quarantine) - (SELECT count(*) FROM releases) AS quarantine_waiting,
    (SELECT count(DISTINCT (day, uid)) FROM promises WHERE kept_at IS NULL) AS promises,
    (SELECT coalesce(min(day)::text, '') FROM promises WHERE kept_at IS NULL) AS promises_day,
    (SELECT count(*) FROM unsent WHERE state <> 'failed' AND attempts >= %(stuck)s
        AND (kind <> 'withdrawal' OR state <> 'processing' OR created_at < now() - interval '2 days')) AS outgoing_stuck,
    (SELECT count(*) FROM reminders WHERE state = 'due') AS reminders_due,
    (SELECT coalesce(sum(jsonb_array_length(differences)), 0)::bigint FROM (
        SELECT DISTINCT ON (day) day, differences FROM reconciliations
        WHERE day >= %(today)s::date - 7 ORDER BY day, at DESC) AS newest) AS differences

-- watch_outgoing: Money on its way, and failed ones that nobody has seen to, over all rounds.
SELECT kind, state, count(*) AS count, coalesce(sum(amount_fen), 0)::bigint AS fen,
       (extract(epoch FROM now() - min(created_at)))::bigint AS oldest_seconds
FROM unsent WHERE handled IS NULL GROUP BY 1, 2 ORDER BY 1, 2

-- watch_rounds: The rounds that are not over.
SELECT * FROM rounds WHERE finished_at IS NULL ORDER BY day LIMIT 100

-- watch_room: Connections, locks and transaction ids of the whole server, and how many there can be. Locks of the fast
-- path, of which each connection has a few, take no room in the shared table.
SELECT (SELECT sum(numbackends)::bigint FROM pg_stat_database) AS connections,
       current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
           - coalesce(current_setting('reserved_connections', true), '0')::bigint AS most_connections,
       (SELECT count(*) FROM pg_locks WHERE NOT fastpath AND mode <> 'SIReadLock') AS locks,
       current_setting('max_locks_per_transaction')::bigint * (current_setting('max_connections')::bigint
           + current_setting('max_prepared_transactions')::bigint) AS most_locks,
       (SELECT max(greatest(age(datfrozenxid), mxid_age(datminmxid)))::bigint FROM pg_database) AS age

-- watch_stock: The size of the database, and of its tables that have a million dead rows and more dead than living ones
-- the one that has the most.
SELECT pg_database_size(current_database()) AS database_bytes, coalesce(max(n_dead_tup), 0) AS dead_rows,
       coalesce((array_agg(relname::text ORDER BY n_dead_tup DESC))[1], '') AS dead_rows_table
FROM pg_stat_user_tables WHERE n_dead_tup > greatest(%(dead_rows)s, n_live_tup)

-- watch_partitions: The first of some days that one of the tables has no partition for, and how many such days there
-- are. Reads those partitions whose names have one of the months: they hold one, or are a day of it.
SELECT min(day)::text AS day, count(DISTINCT day) AS count
FROM unnest(%(days)s::date[]) AS day CROSS JOIN unnest(%(tables)s::text[]) AS of_table
WHERE NOT EXISTS (SELECT FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid
                  WHERE inhparent = to_regclass(of_table) AND part.relname LIKE of_table || to_char(day, '"_"YYYYMM%%')
                    AND strpos(pg_get_expr(part.relpartbound, part.oid), quote_literal(day)) > 0)

-- migrations: What has been applied to this database.
SELECT name, checksum FROM migrations

-- server: What the start check judges: the server, its settings in effect here, and where this role may create tables.
SELECT current_setting('server_version_num')::int AS version_num, current_setting('server_version') AS version,
       pg_is_in_recovery() AS standby, current_setting('server_encoding') AS server_encoding,
       current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_user::text AS role, current_database()::text AS database, current_schema()::text AS schema,
       current_setting('search_path') AS search_path,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
       ARRAY(SELECT name FROM pg_settings WHERE setting::bigint BETWEEN 1 AND 299999 -- ms; 0 is off
             AND name IN ('idle_in_transaction_session_timeout', 'statement_timeout', 'transaction_timeout')
             ORDER BY name) AS short_timeouts

-- rights: Of each table: whether this role may read and write it, and whether it has the rights of its owner.
SELECT name, pg_get_userbyid(relowner)::text AS owner, pg_has_role(relowner, 'USAGE') AS owns,
       has_table_privilege(pg_class.oid, 'SELECT') AND has_table_privilege(pg_class.oid, 'INSERT')
       AND has_table_privilege(pg_class.oid, 'UPDATE') AND has_table_privilege(pg_class.oid, 'DELETE') AS may_write
FROM unnest(%(tables)s::text[]) AS name JOIN pg_class ON pg_class.oid = to_regclass(name)
