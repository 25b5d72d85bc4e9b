-- Statements of rounds, and the trees whose roots they name. Parameters are psycopg's.

-- lock_statements: Waits until nobody else writes a statement: each names the one before it.
SELECT pg_advisory_xact_lock(%(lock)s)

-- last_of_chain: The latest statement of those that are chained.
SELECT text FROM statements WHERE kind IN ('closed', 'void') ORDER BY number DESC LIMIT 1

-- write_statement: A round's statement of this kind, unless there is one.
INSERT INTO statements (day, kind, text, note) VALUES (%(day)s, %(kind)s, %(text)s, %(note)s) ON CONFLICT (day, kind) DO NOTHING

-- note_keys: Public keys that sign from now on.
INSERT INTO statement_keys (verifier) SELECT unnest(%(verifiers)s::text[]) ORDER BY 1 ON CONFLICT DO NOTHING

-- statements_of: A round's statements.
SELECT kind, text, note FROM statements WHERE day = %(day)s

-- get_statement: One of them.
SELECT text FROM statements WHERE day = %(day)s AND kind = %(kind)s

-- statement_keys: Public keys that have ever signed, oldest first.
SELECT verifier FROM statement_keys ORDER BY since, verifier

-- stake_leaves: Members in the order of their tree, separated by spaces, many a row: a row each would take longer than hashing them.
-- Of each the values that are in the leaf, a line each.
SELECT string_agg(concat_ws(E'\n', shard, uid, order_no, stake_fen), ' ' ORDER BY place) AS leaves FROM (
    SELECT *, row_number() OVER (ORDER BY shard, uid) - 1 AS place FROM (
        SELECT shard_of(m.uid, %(shards)s::bigint) AS shard, m.uid, o.order_no, m.stake_fen
        FROM members m JOIN orders o ON o.day = %(day)s AND o.uid = m.uid WHERE m.day = %(day)s) AS sharded) AS placed
GROUP BY place / %(leaves)s::int ORDER BY place / %(leaves)s::int

-- checked_in_leaves: The same of winners.
SELECT string_agg(concat_ws(E'\n', shard, rank, uid, at_ms), ' ' ORDER BY place) AS leaves FROM (
    SELECT *, row_number() OVER (ORDER BY shard, rank) - 1 AS place FROM (
        SELECT shard_of(uid, %(shards)s::bigint) AS shard, rank, uid, at_ms
        FROM check_ins WHERE day = %(day)s) AS sharded) AS placed
GROUP BY place / %(leaves)s::int ORDER BY place / %(leaves)s::int

-- stakes_among: Members among some users.
SELECT m.uid, o.order_no, m.stake_fen
FROM members m JOIN orders o ON o.day = %(day)s AND o.uid = m.uid WHERE m.day = %(day)s AND m.uid = ANY(%(uids)s::bigint[])

-- checked_in_among: Winners among some users.
SELECT rank, uid, at_ms FROM check_ins WHERE day = %(day)s AND uid = ANY(%(uids)s::bigint[])

-- salt_keys: What salts follow from, of some rounds.
SELECT day, salt_key FROM rounds WHERE day = ANY(%(days)s::date[]) AND salt_key IS NOT NULL

-- steps_of_user: Whether a user is a member of a round, and the rank of the check-in.
SELECT m.uid, c.rank FROM members m LEFT JOIN check_ins c ON c.day = %(day)s AND c.uid = m.uid
WHERE m.day = %(day)s AND m.uid = %(uid)s

-- write_tree: What paths to a root are made of.
INSERT INTO trees (day, kind, size, tiles, firsts, uids) VALUES (%(day)s, %(kind)s, %(size)s, %(tiles)s, %(firsts)s, %(uids)s)
ON CONFLICT (day, kind) DO UPDATE SET size = excluded.size, tiles = excluded.tiles, firsts = excluded.firsts, uids = excluded.uids

-- get_tree: The tiles of a tree, and the first user of each.
SELECT size, tiles, firsts FROM trees WHERE day = %(day)s AND kind = %(kind)s

-- users_of_tile: Whose leaves are in a tile.
SELECT substr(uids, %(start)s::int, %(length)s::int) AS uids FROM trees WHERE day = %(day)s AND kind = %(kind)s

-- drop_trees: A month that leaves has no paths; they can be made again from its rows.
DELETE FROM trees WHERE day BETWEEN %(first)s AND %(last)s
