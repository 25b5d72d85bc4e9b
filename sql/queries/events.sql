-- Events for hosts: written, sent, listed, forgotten. Parameters are psycopg's.

-- tell: Writes an event unless it is there; without at_ms it happened now, by Postgres' clock.
INSERT INTO events (id, day, type, at_ms, data)
VALUES (%(id)s, %(day)s, %(type)s, coalesce(%(at_ms)s::bigint, (extract(epoch FROM now()) * 1000)::bigint), %(data)s::jsonb)
ON CONFLICT (id) DO NOTHING

-- due_rounds: Rounds whose oldest unsent event is due. One look into the index a round, however many events wait.
WITH RECURSIVE heads AS (
    (SELECT day, next_at FROM events WHERE state = 'due' ORDER BY day, sequence LIMIT 1)
    UNION ALL
    SELECT next.day, next.next_at FROM heads CROSS JOIN LATERAL (
        SELECT day, next_at FROM events WHERE state = 'due' AND day > heads.day ORDER BY day, sequence LIMIT 1) AS next)
SELECT day FROM heads WHERE next_at <= now() ORDER BY next_at LIMIT %(limit)s

-- first_unsent: The oldest unsent event of a round.
SELECT id FROM events WHERE day = %(day)s AND state = 'due' ORDER BY sequence LIMIT 1

-- take_event: Leases an event to this process, unless another has it or its next attempt is not due.
UPDATE events SET attempts = attempts + 1, next_at = now() + make_interval(secs => %(lease_seconds)s)
WHERE id = %(id)s AND state = 'due' AND next_at <= now() RETURNING id, type, at_ms, data, attempts

-- mark_sent: The receiver has taken an event.
UPDATE events SET state = 'sent', ended_at = now(), reason = NULL WHERE id = %(id)s AND state = 'due'

-- delay_event: An attempt failed: when to try again, or that the event is given up after so many days.
UPDATE events SET reason = %(reason)s, next_at = now() + make_interval(secs => %(seconds)s),
    state = CASE WHEN due_since <= now() - make_interval(days => %(days)s) THEN 'given_up' ELSE 'due' END,
    ended_at = CASE WHEN due_since <= now() - make_interval(days => %(days)s) THEN now() END
WHERE id = %(id)s AND state = 'due' RETURNING state

-- forget_events: Deletes events that are older than so many days, at most limit of them.
DELETE FROM events WHERE id IN (
    SELECT id FROM events WHERE due_since < now() - make_interval(days => %(days)s) ORDER BY due_since LIMIT %(limit)s)

-- list_events: Events of one round or of all, in one state or in any, newest first.
SELECT id, day, type, at_ms, state, attempts, reason, data,
    (extract(epoch FROM due_since) * 1000)::bigint AS due_since_ms,
    (extract(epoch FROM next_at) * 1000)::bigint AS next_at_ms,
    (extract(epoch FROM ended_at) * 1000)::bigint AS ended_at_ms
FROM events
WHERE (%(day)s::date IS NULL OR day = %(day)s) AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY sequence DESC LIMIT %(limit)s OFFSET %(offset)s

-- find_event: The state of an event.
SELECT state FROM events WHERE id = %(id)s

-- send_again: Sends an event again under its id, after those of its round that wait.
UPDATE events SET state = 'due', sequence = DEFAULT, attempts = 0, due_since = now(), next_at = now(), ended_at = NULL,
    reason = %(reason)s
WHERE id = %(id)s AND state <> 'due' RETURNING id

-- watch_events: Since when the oldest unsent event waits, and how many were given up in a day.
SELECT coalesce((SELECT extract(epoch FROM now() - min(due_since)) FROM events WHERE state = 'due'), 0)::bigint AS oldest_seconds,
       (SELECT count(*) FROM events WHERE state = 'given_up' AND ended_at > now() - interval '1 day') AS given_up
