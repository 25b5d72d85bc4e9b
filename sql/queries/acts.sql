-- What operators do. Parameters are psycopg's.

-- write_act: Writes an act down before it is done; how often another name has asked for the same in the last day and waits
-- for a second one. What was done since then on two names needs two names again.
WITH same AS (
    SELECT count(*) AS others FROM acts a JOIN acts_ended e ON e.act = a.id AND e.word = 'second_name_needed'
    WHERE a.about = %(about)s AND a.act = %(act)s AND a.detail = %(detail)s::jsonb AND a.who <> %(who)s
      AND a.at > now() - interval '24 hours' AND NOT EXISTS (
          SELECT FROM acts b JOIN acts_ended d ON d.act = b.id AND d.word NOT IN ('second_name_needed', 'unavailable', 'internal')
          WHERE b.about = a.about AND b.act = a.act AND b.detail = a.detail AND b.id > a.id))
INSERT INTO acts (who, address, act, about, detail, reason, amount_fen)
VALUES (%(who)s, %(address)s, %(act)s, %(about)s, %(detail)s::jsonb, %(reason)s, %(amount_fen)s)
RETURNING id, (SELECT others FROM same) AS others

-- end_act: What became of it; whoever did it may have said so.
INSERT INTO acts_ended (act, word) VALUES (%(act)s, %(word)s) ON CONFLICT (act) DO NOTHING

-- list_acts: Acts with what became of them, newest first: all, or those about something, or of one name. An act waits that
-- needs a second name, for a day or until somebody else has asked for the same.
SELECT a.id, (extract(epoch FROM a.at) * 1000)::bigint AS at_ms, a.who, a.address, a.act, a.about, a.detail, a.reason, a.amount_fen,
       e.word, (extract(epoch FROM e.at) * 1000)::bigint AS ended_ms,
       coalesce(e.word, '') = 'second_name_needed' AND a.at > now() - interval '24 hours' AND NOT EXISTS (
           SELECT FROM acts b WHERE b.about = a.about AND b.act = a.act AND b.id > a.id AND b.detail = a.detail AND b.who <> a.who
       ) AS waits
FROM acts a LEFT JOIN acts_ended e ON e.act = a.id
WHERE (%(about)s::text IS NULL OR a.about = %(about)s) AND (%(who)s::text IS NULL OR a.who = %(who)s)
ORDER BY a.id DESC LIMIT %(limit)s OFFSET %(offset)s
