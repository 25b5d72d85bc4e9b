-- Partitions of a round's tables. Parameters are psycopg's.

-- lock_partitions: Waits for the advisory lock under which partitions are added and merged.
SELECT pg_advisory_xact_lock(%(lock)s)

-- known_tables: Those of some tables that are there. Not by to_regclass: it may remember a table as missing that
-- another process has made while this one waited for the lock.
SELECT relname::text AS name FROM pg_class WHERE relname = ANY(%(names)s::text[]::name[]) AND pg_table_is_visible(oid)
