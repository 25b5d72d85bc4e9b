-- What users say to the service about themselves, how they stand, and whom it reminds.

CREATE TABLE flags (
    uid        bigint PRIMARY KEY,
    remind     boolean NOT NULL DEFAULT false,
    switched_at_ms bigint NOT NULL DEFAULT 0,
    acked_day  date
);
COMMENT ON TABLE flags IS 'the reminder switch, and the latest result that a user has acknowledged';

CREATE TABLE standings (
    uid      bigint PRIMARY KEY,
    last_day date NOT NULL,
    streak   int NOT NULL,
    longest  int NOT NULL,
    mornings int NOT NULL
);
COMMENT ON TABLE standings IS 'each user after the latest settled round that they took part in; streak counts up to it';

CREATE TABLE incomes (
    uid        bigint PRIMARY KEY,
    income_fen bigint NOT NULL CHECK (income_fen > 0)
);
CREATE INDEX incomes_board ON incomes (income_fen DESC, uid);
COMMENT ON TABLE incomes IS 'packets of rounds of which every packet has been given; whoever won nothing is not here';

CREATE TABLE talents (
    day           date PRIMARY KEY REFERENCES rounds (day),
    longest_uid   bigint,
    longest_days  int,
    earliest_uid  bigint,
    earliest_ms   bigint,
    luckiest_uid  bigint,
    luckiest_fen  bigint
);

ALTER TABLE rounds
    ADD COLUMN smallest_fen bigint,
    ADD COLUMN largest_fen  bigint,
    ADD COLUMN tallied_uid  bigint NOT NULL DEFAULT 0,
    ADD COLUMN tallied_at   timestamptz,
    ADD COLUMN credited_uid bigint NOT NULL DEFAULT 0,
    ADD COLUMN credited_at  timestamptz,
    ADD COLUMN reminded_at  timestamptz;
COMMENT ON COLUMN rounds.tallied_uid IS 'up to this member the standings have the round';
COMMENT ON COLUMN rounds.tallied_at IS 'since when the standings have the round';
COMMENT ON COLUMN rounds.credited_uid IS 'up to this winner the incomes have the round';
COMMENT ON COLUMN rounds.credited_at IS 'since when the incomes have the round';
COMMENT ON COLUMN rounds.reminded_at IS 'when those who sleep were put into the queue of reminders';

UPDATE rounds SET smallest_fen = p.smallest, largest_fen = p.largest
FROM (SELECT day, min(fen) AS smallest, max(fen) AS largest FROM packets GROUP BY day) AS p WHERE p.day = rounds.day;

CREATE TABLE reminders (
    day      date NOT NULL,
    uid      bigint NOT NULL,
    state    text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'awake', 'expired')),
    attempts int NOT NULL DEFAULT 0,
    next_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, uid)
);
CREATE INDEX reminders_due ON reminders (next_at) WHERE state = 'due';
COMMENT ON COLUMN reminders.state IS 'awake: had checked in, or the round was off, when it would have been sent; expired: check-in had closed';
