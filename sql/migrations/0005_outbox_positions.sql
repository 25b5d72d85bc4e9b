-- How far an outbox is drained is compared with what Redis says. The one of users has no round's day, instead of the year 1.

ALTER TABLE outbox_positions DROP CONSTRAINT outbox_positions_pkey;
ALTER TABLE outbox_positions ALTER COLUMN day DROP NOT NULL;
UPDATE outbox_positions SET day = NULL WHERE day = '0001-01-01';
ALTER TABLE outbox_positions ADD CONSTRAINT outbox_positions_key UNIQUE NULLS NOT DISTINCT (day, shard);
ALTER TABLE outbox_positions ADD COLUMN entries bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN outbox_positions.day IS 'the round; none for the outbox of users';
COMMENT ON COLUMN outbox_positions.entries IS 'how many entries had been added to the stream up to last_id';
