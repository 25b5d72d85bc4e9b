-- Partitions of a round's tables. Parameters are psycopg's.

-- lock_partitions: Waits for the advisory lock under which a partition is added.
SELECT pg_advisory_xact_lock(%(lock)s)

-- missing_tables: Those of some tables that are not there. Not by to_regclass: it may remember a table as missing that
-- another process has made while this one waited for the lock.
SELECT name FROM unnest(%(names)s::text[]) AS name
WHERE NOT EXISTS (SELECT FROM pg_class WHERE relname = name AND pg_table_is_visible(oid))
