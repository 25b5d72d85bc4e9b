-- The outbox of users has no round's day: its position has none either, instead of the year 1.

ALTER TABLE outbox_positions DROP CONSTRAINT outbox_positions_pkey;
ALTER TABLE outbox_positions ALTER COLUMN day DROP NOT NULL;
UPDATE outbox_positions SET day = NULL WHERE day = '0001-01-01';
ALTER TABLE outbox_positions ADD CONSTRAINT outbox_positions_key UNIQUE NULLS NOT DISTINCT (day, shard);
COMMENT ON COLUMN outbox_positions.day IS 'the round; none for the outbox of users';
