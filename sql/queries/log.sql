-- The log of statements, its checkpoints and its witnesses. Parameters are psycopg's.

-- is_log_due: Whether a statement waits to be taken into the log.
SELECT day FROM log_waiting LIMIT 1

-- try_lock_log: Whether this transaction is the one that takes statements now.
SELECT pg_try_advisory_xact_lock(%(lock)s) AS locked

-- log_waiting: Statements that wait, oldest first.
SELECT day, kind, text FROM log_waiting JOIN statements USING (day, kind) ORDER BY number LIMIT %(limit)s

-- last_checkpoint: How large the log is.
SELECT size FROM log_checkpoints ORDER BY size DESC LIMIT 1

-- log_hashes: Hashes of some spans, each found by its key.
SELECT level, index, hash
FROM unnest(%(levels)s::int[], %(firsts)s::bigint[], %(lengths)s::bigint[]) AS span (of_level, first, length)
JOIN log_hashes ON level = of_level AND index BETWEEN first AND first + length - 1

-- write_checkpoint: What the log is from now on.
INSERT INTO log_checkpoints (size, root, note) VALUES (%(size)s, %(root)s, %(note)s)

-- write_log_hash: One of a tile.
INSERT INTO log_hashes (level, index, hash) VALUES (%(level)s, %(index)s, %(hash)s)

-- write_log_entry: The place of a statement.
INSERT INTO log_entries (index, before, day, kind, checkpoint, path)
VALUES (%(index)s, nullif(%(index)s::bigint, 0) - 1, %(day)s, %(kind)s, %(checkpoint)s, %(path)s)

-- log_taken: A statement that waited is in the log.
DELETE FROM log_waiting WHERE day = %(day)s AND kind = %(kind)s

-- take_witnesses: Leases those witnesses to this process that lack the newest checkpoint and may be asked.
INSERT INTO log_witnesses (witness, ask_at)
SELECT witness, now() + make_interval(secs => %(seconds)s) FROM unnest(%(witnesses)s::text[]) AS witness
WHERE NOT EXISTS (SELECT FROM log_witnesses AS w WHERE w.witness = witness.witness AND ask_at > now())
    AND coalesce((SELECT max(size) FROM log_cosignatures AS c WHERE c.witness = witness.witness), 0)
        < (SELECT max(size) FROM log_checkpoints)
ON CONFLICT (witness) DO UPDATE SET ask_at = excluded.ask_at WHERE log_witnesses.ask_at <= now() RETURNING witness

-- next_unsigned: The oldest of the newest checkpoints of this origin that a witness lacks and may sign, and how large the
-- log is that it has signed last.
WITH signed AS (SELECT coalesce(max(size), 0) AS signed FROM log_cosignatures WHERE witness = %(witness)s),
    newest AS (SELECT size, note FROM log_checkpoints ORDER BY size DESC LIMIT %(newest)s)
SELECT size, note, signed, (SELECT max(size) FROM newest) AS newest FROM newest CROSS JOIN signed
WHERE size > signed AND size >= %(known)s AND starts_with(note, %(origin)s || E'\n') ORDER BY size LIMIT 1

-- keep_cosignature: A witness has signed a checkpoint.
INSERT INTO log_cosignatures (witness, size, line, signed_ms) VALUES (%(witness)s, %(size)s, %(line)s, %(signed_ms)s)
ON CONFLICT (witness, size) DO NOTHING

-- witness_answered: How a witness has answered, and how often in a row it has not signed.
UPDATE log_witnesses SET said = %(said)s, contradicts = %(contradicts)s,
    failures = CASE WHEN %(said)s = '' THEN 0 ELSE failures + 1 END
WHERE witness = %(witness)s RETURNING failures

-- delay_witness: When a witness may be asked again.
UPDATE log_witnesses SET ask_at = now() + make_interval(secs => %(seconds)s) WHERE witness = %(witness)s

-- watch_log: How long the oldest statement waits to be taken into the log.
SELECT coalesce(max(extract(epoch FROM now() - since)), 0)::bigint AS waiting_seconds FROM log_waiting

-- watch_witnesses: For how long each witness lacks a checkpoint, and what it said.
SELECT witness, coalesce(said, '') AS said, coalesce(contradicts, false) AS contradicts,
    CASE WHEN signed_at IS NULL THEN 0 ELSE extract(epoch FROM now() - greatest(since, signed_at))::bigint END AS unsigned_seconds
FROM unnest(%(witnesses)s::text[]) AS one (witness) LEFT JOIN log_witnesses USING (witness) LEFT JOIN LATERAL (
    SELECT signed_at FROM log_checkpoints
    WHERE size > coalesce((SELECT max(size) FROM log_cosignatures AS c WHERE c.witness = one.witness), 0)
    ORDER BY size LIMIT 1) AS lacks ON true

-- first_private: The first entry of the log whose text is not public: packets of a round that is not settled.
SELECT min(index) AS index FROM rounds JOIN log_entries ON log_entries.day = rounds.day AND kind = 'published'
WHERE finished_at IS NULL AND NOT state = ANY(%(ended)s)

-- latest_checkpoint: The newest checkpoint that is no larger, with its cosignatures.
SELECT size, note, (SELECT coalesce(string_agg(line, '' ORDER BY witness), '') FROM log_cosignatures AS c
                    WHERE c.size = log_checkpoints.size) AS lines
FROM log_checkpoints WHERE size <= coalesce(%(most)s::bigint, size) ORDER BY size DESC LIMIT 1

-- log_texts: Entries from the first on, before the last.
SELECT text FROM log_entries JOIN statements USING (day, kind)
WHERE index >= %(first)s AND index < %(last)s ORDER BY index

-- logged: Where a round's statements are in the log, with the first checkpoint that has each, and who has signed that.
SELECT kind, index, size, path, note, signed.lines, signed.witnesses FROM log_entries JOIN log_checkpoints ON size = checkpoint
CROSS JOIN LATERAL (SELECT coalesce(string_agg(line, '' ORDER BY witness), '') AS lines,
    coalesce(array_agg(witness ORDER BY witness), '{}') AS witnesses FROM log_cosignatures AS c WHERE c.size = log_checkpoints.size) AS signed
WHERE day = %(day)s
