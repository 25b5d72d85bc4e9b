-- What hosts are told: written in the transaction of what it tells, sent in order for each round (docs/events.md).

CREATE TABLE events (
    id        text PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z_]{1,64}$'),
    day       date NOT NULL,
    sequence  bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    type      text NOT NULL,
    at_ms     bigint NOT NULL,
    data      jsonb NOT NULL,
    state     text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'given_up')),
    attempts  int NOT NULL DEFAULT 0,
    due_since timestamptz NOT NULL DEFAULT now(),
    next_at   timestamptz NOT NULL DEFAULT now(),
    ended_at  timestamptz,
    reason    text
);
COMMENT ON TABLE events IS 'what hosts are told; kept for 30 days';
COMMENT ON COLUMN events.sequence IS 'the order of sending within a round';
COMMENT ON COLUMN events.at_ms IS 'when it happened, on the game''s clock';
COMMENT ON COLUMN events.due_since IS 'since when it is to be sent: written, or asked for again';
COMMENT ON COLUMN events.reason IS 'why the last attempt failed, or why it is sent again';

CREATE INDEX events_due ON events (day, sequence) WHERE state = 'due';
CREATE INDEX events_waiting ON events (due_since) WHERE state = 'due';
CREATE INDEX events_given_up ON events (ended_at) WHERE state = 'given_up';
CREATE INDEX events_of_round ON events (day, sequence);
CREATE INDEX events_in_state ON events (state, sequence);
CREATE INDEX events_by_age ON events (due_since);
