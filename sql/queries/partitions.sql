-- Partitions of a round's tables. Parameters are psycopg's.

-- lock_partitions: Waits for the advisory lock under which partitions are added and merged.
SELECT pg_advisory_xact_lock(%(lock)s)

-- known_tables: Those of some tables that are there. Not by to_regclass: it may remember a table as missing that
-- another process has made while this one waited for the lock.
SELECT relname::text AS name FROM pg_class WHERE relname = ANY(%(names)s::text[]::name[]) AND pg_table_is_visible(oid)

-- oldest_day_partition: The first day that has partitions of its own, as earlier versions made them.
SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD')) AS day FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
WHERE p.relname = ANY(%(tables)s::text[]::name[]) AND pg_table_is_visible(p.oid) AND c.relname ~ '_\d{8}$'

-- month_is_busy: Whether a month is not over yet: it has a round that ended within so many days, or none after it has.
SELECT EXISTS (SELECT FROM rounds WHERE day BETWEEN %(first)s AND %(last)s
               AND (finished_at IS NULL OR finished_at > now() - make_interval(days => %(days)s)))
    OR NOT EXISTS (SELECT FROM rounds WHERE day > %(last)s AND finished_at IS NOT NULL) AS busy

-- merged_days: Those of some days of a table whose rows are in the new partition as they stand.
SELECT day FROM merged WHERE of_table = %(table)s AND day = ANY(%(days)s::date[])

-- mark_merged: A day's rows are in the new partition.
INSERT INTO merged (of_table, day) VALUES (%(table)s, %(day)s) ON CONFLICT DO NOTHING

-- forget_merged_days: Some days of a table are to be copied, or have been put in place.
DELETE FROM merged WHERE of_table = %(table)s AND day = ANY(%(days)s::date[])
