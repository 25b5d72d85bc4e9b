-- The book of rules. Parameters are psycopg's.

-- lock_book: Waits for the advisory lock under which rules are planned, and taken from the book for a new round.
SELECT pg_advisory_xact_lock(%(lock)s)

-- first_rules: The first default.
SELECT rules FROM rule_book

-- write_first_rules: The first default, unless there is one.
INSERT INTO rule_book (rules) VALUES (%(rules)s::jsonb) ON CONFLICT DO NOTHING

-- changes_from: The changes that hold and concern a day from this one on, in the order of planning. Of the defaults that
-- have begun by then only those that name a rule last: they do not become more from year to year.
WITH holds AS (
    SELECT * FROM rule_changes c WHERE NOT EXISTS (SELECT FROM rule_changes_taken_back t WHERE t.change = c.id)),
begun AS (
    SELECT id, changes FROM holds WHERE last_day IS NULL AND first_day <= %(first)s)
SELECT id, first_day, last_day, changes, campaign, bonus_fen FROM holds
WHERE last_day >= %(first)s OR (last_day IS NULL AND first_day > %(first)s)
   OR id IN (SELECT max(id) FROM begun, jsonb_object_keys(begun.changes) AS name GROUP BY name)
ORDER BY id

-- list_changes: Every change that was ever planned, newest first, and who took it back.
SELECT c.id, c.first_day::text, c.last_day::text, c.changes, c.campaign, c.bonus_fen, c.by_whom, c.reason,
       (extract(epoch FROM c.planned_at) * 1000)::bigint AS planned_at_ms,
       t.by_whom AS taken_back_by, t.reason AS taken_back_reason,
       (extract(epoch FROM t.taken_at) * 1000)::bigint AS taken_back_at_ms
FROM rule_changes c LEFT JOIN rule_changes_taken_back t ON t.change = c.id
ORDER BY c.id DESC LIMIT %(limit)s OFFSET %(offset)s

-- find_change: A change, and whether it was taken back.
SELECT c.id, c.first_day, c.last_day, c.changes, c.campaign, c.bonus_fen, t.change IS NOT NULL AS taken_back
FROM rule_changes c LEFT JOIN rule_changes_taken_back t ON t.change = c.id WHERE c.id = %(change)s

-- plan_change: Writes a change into the book.
INSERT INTO rule_changes (first_day, last_day, changes, campaign, bonus_fen, by_whom, reason)
VALUES (%(first_day)s, %(last_day)s, %(changes)s::jsonb, %(campaign)s::jsonb, %(bonus_fen)s, %(by_whom)s, %(reason)s)
RETURNING id

-- take_change_back: The change holds no longer.
INSERT INTO rule_changes_taken_back (change, by_whom, reason) VALUES (%(change)s, %(by_whom)s, %(reason)s)

-- first_round: The first round from a day to another, or to the end.
SELECT min(day) AS day FROM rounds WHERE day >= %(first)s AND day <= coalesce(%(last)s, 'infinity'::date)

-- rules_of_rounds: The rules of the rounds from a day to another.
SELECT day, rules FROM rounds WHERE day BETWEEN %(first)s AND %(last)s
