-- Check-in that closes later than the rules say: nobody could check in for a while, or an operator said so.

CREATE TABLE extensions (
    day       date NOT NULL,
    shard     int NOT NULL,
    at_ms     bigint NOT NULL,
    cause     text NOT NULL CHECK (cause IN ('outage', 'operator')),
    since_ms  bigint NOT NULL,
    by_ms     bigint NOT NULL CHECK (by_ms > 0),
    closes_ms bigint NOT NULL,
    asleep    bigint NOT NULL,
    reason    text NOT NULL,
    by_whom   text NOT NULL,
    PRIMARY KEY (day, shard, closes_ms)
);
COMMENT ON COLUMN extensions.since_ms IS 'when an outage began; it may be extended in several steps';
COMMENT ON COLUMN extensions.asleep IS 'members of the shard who had not checked in';

CREATE TABLE extensions_by_hand (
    day     date NOT NULL,
    number  int NOT NULL,
    minutes int NOT NULL CHECK (minutes > 0),
    reason  text NOT NULL,
    by_whom text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, number)
);
COMMENT ON TABLE extensions_by_hand IS 'what operators said; each shard carries it out once';

ALTER TABLE rounds ADD COLUMN extended_ms bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN rounds.extended_ms IS 'by how much the check-in of the shard that closes last is longer';
