-- Rounds, their rows, states and figures, and what is carried between them. Parameters are psycopg's.

-- create_round: The round of a day with its rules and seed, unless it exists.
INSERT INTO rounds (day, rules, seed, seed_hash, salt_key, draw_ms)
VALUES (%(day)s, %(rules)s::jsonb, %(seed)s, sha256(%(seed)s), %(salt_key)s, %(draw_ms)s)
ON CONFLICT (day) DO NOTHING

-- get_round: The row of a round.
SELECT * FROM rounds WHERE day = %(day)s

-- live_rounds: Rounds whose keys may still be in Redis, oldest first.
SELECT * FROM rounds
WHERE finished_at IS NULL OR finished_at > now() - make_interval(secs => %(keep_seconds)s)
ORDER BY day

-- lock_round: Waits until nobody else settles, voids or finishes the round, and nobody rebuilds: longer than for other locks.
SELECT set_config('lock_timeout', '60s', true), pg_advisory_xact_lock_shared(%(all)s), pg_advisory_xact_lock(%(lock)s, %(number)s)

-- try_round: Whether nobody settles, voids or finishes the round now.
SELECT pg_try_advisory_xact_lock_shared(%(lock)s, %(number)s) AS free

-- lock_settlement: Waits until nobody settles, voids, finishes or rebuilds any round: longer than for other locks.
SELECT set_config('lock_timeout', '60s', true), pg_advisory_xact_lock(%(lock)s)

-- clock_ms: Postgres' clock.
SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS ms

-- note_extension: By how much the check-in of the shard that closes last is longer.
UPDATE rounds SET extended_ms = (SELECT coalesce(max(of_shard.by_ms), 0) FROM (
    SELECT sum(by_ms) AS by_ms FROM extensions WHERE day = %(day)s GROUP BY shard) AS of_shard)
WHERE day = %(day)s

-- extended_shards: By how much each shard's check-in is longer.
SELECT shard, sum(by_ms)::bigint AS extended_ms FROM extensions WHERE day = %(day)s GROUP BY shard

-- list_extensions: A round's extensions: those of one cause, in all shards, that began in the same minute together.
SELECT cause, reason, by_whom, min(since_ms) AS since_ms, max(by_ms)::bigint AS by_ms, count(*) AS shards, sum(asleep)::bigint AS asleep
FROM (SELECT shard, cause, reason, by_whom, since_ms, sum(by_ms) AS by_ms, min(asleep) AS asleep
      FROM extensions WHERE day = %(day)s GROUP BY shard, cause, reason, by_whom, since_ms) AS of_shard
GROUP BY cause, reason, by_whom, since_ms / 60000 ORDER BY 4 LIMIT 100

-- ask_extension: Notes what an operator says.
INSERT INTO extensions_by_hand (day, number, minutes, reason, by_whom)
VALUES (%(day)s, %(number)s, %(minutes)s, %(reason)s, %(by_whom)s)

-- asked_extensions: What operators have said of a round, in order.
SELECT number, minutes, reason, by_whom FROM extensions_by_hand WHERE day = %(day)s ORDER BY number

-- last_drained_ms: When each shard's outbox was drained last, by Postgres' clock.
SELECT shard, (extract(epoch FROM drained_at) * 1000)::bigint AS ms FROM outbox_positions WHERE day = %(day)s

-- set_state: Moves a round from its current state to the next.
UPDATE rounds SET state = %(to)s WHERE day = %(day)s AND state = %(from)s RETURNING day

-- count_books: Members and winners as the books have them.
SELECT (SELECT count(*) FROM members WHERE day = %(day)s) AS members,
       (SELECT count(*) FROM members WHERE day = %(day)s AND late) AS late,
       (SELECT coalesce(sum(stake_fen), 0)::bigint FROM members WHERE day = %(day)s) AS pool_fen,
       (SELECT count(*) FROM check_ins WHERE day = %(day)s) AS winners,
       (SELECT count(*) FROM members m WHERE day = %(day)s AND late AND NOT EXISTS
           (SELECT FROM check_ins c WHERE c.day = m.day AND c.uid = m.uid)) AS late_sleepers

-- take_carried: Takes the sums carried out of earlier rounds for this round's pot; each once.
WITH taken AS (
    UPDATE rounds SET carried_to = %(day)s
    WHERE day < %(day)s AND carried_out_fen > 0 AND carried_to IS NULL AND state IN ('settled', 'finished')
    RETURNING carried_out_fen)
SELECT coalesce(sum(carried_out_fen), 0)::bigint AS fen FROM taken

-- give_carried_back: Returns the sums that a void round had carried in, for the next round.
UPDATE rounds SET carried_to = NULL WHERE carried_to = %(day)s

-- save_figures: The figures down to the pot, which are final.
UPDATE rounds SET state = 'sealed', members = %(members)s, winners = %(winners)s, late = %(late)s,
    pool_fen = %(pool_fen)s, refunded_fen = %(refunded_fen)s, forfeited_fen = %(forfeited_fen)s, fee_fen = %(fee_fen)s,
    carried_in_fen = %(carried_in_fen)s, bonus_fen = %(bonus_fen)s, pot_fen = %(pot_fen)s
WHERE day = %(day)s AND state = 'closed' RETURNING day

-- decide_draw: What P will say of the beacon's draw, unless that was decided before.
UPDATE rounds SET draw = %(draw)s WHERE day = %(day)s AND state = 'sealed' AND draw IS NULL AND draw_ms IS NOT NULL RETURNING day

-- save_split: What the split leaves, together with the manifest.
UPDATE rounds SET state = 'split', drawn = %(drawn)s,
    carried_out_fen = %(carried_out_fen)s, bonus_back_fen = %(bonus_back_fen)s, smallest_fen = %(smallest_fen)s, largest_fen = %(largest_fen)s
WHERE day = %(day)s AND state = 'sealed' RETURNING day

-- mark_settled: Claiming is open.
UPDATE rounds SET state = 'settled', settled_at = now() WHERE day = %(day)s AND state = 'published' RETURNING *

-- mark_finished: Every winner has been credited; keys expire from here on.
UPDATE rounds SET state = CASE state WHEN 'settled' THEN 'finished' ELSE state END, finished_at = now()
WHERE day = %(day)s AND state IN ('settled', 'void') AND finished_at IS NULL

-- start_voiding: From any state before the draw is known: until it is sealed, or with a beacon until its draw is out, or is
-- had, where a clock is a little behind; of a round without statements, before claiming could open.
UPDATE rounds SET state = 'voiding', void_reason = %(reason)s
WHERE day = %(day)s AND CASE
    WHEN draw_ms IS NOT NULL THEN state IN ('open', 'closed', 'sealed') AND draw_ms > %(now_ms)s AND draw IS NULL
    ELSE state IN ('open', 'closed') OR (state IN ('sealed', 'split') AND salt_key IS NULL) END RETURNING day

-- mark_void: Every stake is owed back, and so is a bonus that was in the pot.
UPDATE rounds SET state = 'void', settled_at = now(), members = %(members)s, winners = %(winners)s, late = %(late)s,
    pool_fen = %(pool_fen)s, refunded_fen = %(pool_fen)s, forfeited_fen = 0, fee_fen = 0, carried_in_fen = 0, pot_fen = 0,
    carried_out_fen = 0, bonus_back_fen = bonus_fen, smallest_fen = NULL, largest_fen = NULL
WHERE day = %(day)s AND state = 'voiding' RETURNING void_reason

-- packets_page: A page of a round's packets in the order of the split; each shard has a contiguous range of places.
SELECT p.fen FROM (
    SELECT shard, winners, (sum(winners) OVER (ORDER BY shard) - winners)::bigint AS first FROM closings WHERE day = %(day)s) AS s
JOIN packets p ON p.day = %(day)s AND p.shard = s.shard
    AND p.index >= %(offset)s::bigint - s.first AND p.index < %(offset)s::bigint + %(limit)s::bigint - s.first
WHERE s.first < %(offset)s::bigint + %(limit)s::bigint AND s.first + s.winners > %(offset)s::bigint
ORDER BY p.shard, p.index

-- last_reconciliation: The latest reconciliation of a round.
SELECT (extract(epoch FROM at) * 1000)::bigint AS at_ms, differences, mended FROM reconciliations
WHERE day = %(day)s ORDER BY at DESC LIMIT 1
