-- Long work. Parameters are psycopg's.

-- ask_work: A piece of work that waits, or the unfinished one of the same kind about the same, which the act joins: it is
-- tried at once, if a server was away.
INSERT INTO work (kind, about, arguments, asked_by, acts, state)
VALUES (%(kind)s, %(about)s, %(arguments)s::jsonb, %(asked_by)s, ARRAY[%(act)s]::bigint[], 'waiting')
ON CONFLICT (kind, about) WHERE state <> 'ended' DO UPDATE
SET acts = work.acts || excluded.acts, beat_at = CASE work.state WHEN 'running' THEN work.beat_at END
RETURNING id

-- take_work: Gives a holder the oldest piece of these kinds that waits, or whose holder has vanished.
UPDATE work SET state = 'running', holder = %(holder)s, began_at = now(), beat_at = now(), step = '', done = NULL, total = NULL
WHERE id = (
    SELECT id FROM work
    WHERE state <> 'ended' AND kind = ANY(%(kinds)s::text[])
      AND (beat_at IS NULL
           OR beat_at < now() - make_interval(secs => CASE state WHEN 'waiting' THEN %(pause)s ELSE %(lease)s END))
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, kind, about, arguments, holder

-- hold_work: Gives a holder the piece of this kind about this, unless somebody else does it. With "over" also then: its holder
-- waits for the one who makes it.
INSERT INTO work (kind, about, arguments, asked_by, state, holder, began_at, beat_at)
VALUES (%(kind)s, %(about)s, %(arguments)s::jsonb, %(asked_by)s, 'running', %(holder)s, now() - make_interval(secs => %(ago)s), now())
ON CONFLICT (kind, about) WHERE state <> 'ended' DO UPDATE
SET state = 'running', holder = excluded.holder, began_at = excluded.began_at, beat_at = now(), step = '', done = NULL, total = NULL
WHERE %(over)s OR work.state = 'waiting' OR work.beat_at < now() - make_interval(secs => %(lease)s)
RETURNING id, kind, about, arguments, holder

-- beat_work: Says that the holder lives, and how far it is; nothing where somebody else has it.
UPDATE work SET beat_at = now(), step = %(step)s, done = %(done)s, total = %(total)s
WHERE id = %(id)s AND holder = %(holder)s AND state = 'running' RETURNING id

-- end_work: How it has ended, for the row and for the acts that wait. Of what nobody asked for, the last end alone is kept.
WITH ended AS (
    UPDATE work SET state = 'ended', ended_at = now(), answer = %(answer)s::jsonb, step = %(step)s, done = %(done)s, total = %(total)s
    WHERE id = %(id)s AND holder = %(holder)s AND state = 'running' RETURNING id, kind, about, asked_by, acts
), told AS (
    INSERT INTO acts_ended (act, word) SELECT act, %(word)s FROM ended, unnest(acts) AS act ON CONFLICT (act) DO NOTHING
)
DELETE FROM work w USING ended e
WHERE w.about = e.about AND w.kind = e.kind AND w.id < e.id AND w.state = 'ended' AND w.asked_by = e.asked_by
  AND w.acts = '{}' AND e.acts = '{}'

-- let_work_go: It could not be done now. What an operator asked for waits to be tried again; the rest has ended.
UPDATE work SET
    state = CASE WHEN acts = '{}' THEN 'ended' ELSE 'waiting' END,
    ended_at = CASE WHEN acts = '{}' THEN now() END,
    answer = CASE WHEN acts = '{}' THEN '{"word": "unavailable", "data": {}}'::jsonb END,
    beat_at = now()
WHERE id = %(id)s AND holder = %(holder)s AND state = 'running'

-- get_work: One piece.
SELECT state, kind, about, step, done, total, answer,
       coalesce(state = 'running' AND beat_at >= now() - make_interval(secs => %(lease)s), false) AS alive,
       state = 'waiting' AND beat_at IS NOT NULL AS tried
FROM work WHERE id = %(id)s

-- unfinished_work: The piece of a kind about something that has not ended.
SELECT id FROM work WHERE kind = %(kind)s AND about = %(about)s AND state <> 'ended'

-- list_work: What has not ended, then what has, newest first: all, or about something.
(SELECT id, kind, about, asked_by, (extract(epoch FROM asked_at) * 1000)::bigint AS asked_ms, state, holder,
        (extract(epoch FROM began_at) * 1000)::bigint AS began_ms, (extract(epoch FROM beat_at) * 1000)::bigint AS beat_ms,
        step, done, total, NULL::bigint AS ended_ms, NULL AS word,
        coalesce(state = 'running' AND beat_at >= now() - make_interval(secs => %(lease)s), false) AS alive
 FROM work WHERE state <> 'ended' AND (%(about)s::text IS NULL OR about = %(about)s) ORDER BY id DESC LIMIT %(limit)s)
UNION ALL
(SELECT id, kind, about, asked_by, (extract(epoch FROM asked_at) * 1000)::bigint, state, holder,
        (extract(epoch FROM began_at) * 1000)::bigint, (extract(epoch FROM beat_at) * 1000)::bigint,
        step, done, total, (extract(epoch FROM ended_at) * 1000)::bigint, answer ->> 'word', false
 FROM work WHERE state = 'ended' AND (%(about)s::text IS NULL OR about = %(about)s) ORDER BY ended_at DESC LIMIT %(limit)s)

-- end_vanished_work: Ends what nobody takes over: its kind is none that can be asked for, and its holder has vanished.
UPDATE work SET state = 'ended', ended_at = now(), answer = '{"word": "unavailable", "data": {}}'
WHERE state = 'running' AND kind <> ALL(%(kinds)s::text[]) AND beat_at < now() - make_interval(secs => 10 * %(lease)s)

-- forget_work: Removes some of what ended a month ago; what was removed.
DELETE FROM work WHERE id IN (
    SELECT id FROM work WHERE state = 'ended' AND ended_at < now() - make_interval(days => %(days)s) ORDER BY ended_at LIMIT %(limit)s)
RETURNING id
