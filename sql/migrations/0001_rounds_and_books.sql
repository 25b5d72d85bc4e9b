-- Rounds, and what the outbox says of them. Tables of a round are partitioned by its day.

CREATE TABLE rounds (
    day             date PRIMARY KEY,
    rules           jsonb NOT NULL,
    seed            bytea NOT NULL CHECK (length(seed) = 32),
    seed_hash       bytea NOT NULL CHECK (seed_hash = sha256(seed)),
    state           text NOT NULL DEFAULT 'open' CHECK (state IN
                        ('open', 'closed', 'split', 'published', 'settled', 'finished', 'voiding', 'void')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    members         bigint NOT NULL DEFAULT 0,
    winners         bigint NOT NULL DEFAULT 0,
    late            bigint NOT NULL DEFAULT 0,
    pool_fen        bigint NOT NULL DEFAULT 0,
    refunded_fen    bigint NOT NULL DEFAULT 0,
    forfeited_fen   bigint NOT NULL DEFAULT 0,
    fee_fen         bigint NOT NULL DEFAULT 0,
    carried_in_fen  bigint NOT NULL DEFAULT 0,
    pot_fen         bigint NOT NULL DEFAULT 0,
    carried_out_fen bigint NOT NULL DEFAULT 0,
    carried_to      date REFERENCES rounds (day),
    void_reason     text,
    settled_at      timestamptz,
    finished_at     timestamptz
);
COMMENT ON COLUMN rounds.refunded_fen IS 'stakes of members that settlement or voiding gives back';
COMMENT ON COLUMN rounds.carried_to IS 'the round whose pot took carried_out_fen';

CREATE TABLE outbox_positions (
    day         date NOT NULL,
    shard       int NOT NULL,
    last_id     text NOT NULL,
    drained_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, shard)
);

CREATE TABLE closings (
    day       date NOT NULL,
    shard     int NOT NULL,
    at_ms     bigint NOT NULL,
    why       text NOT NULL,
    members   bigint NOT NULL,
    winners   bigint NOT NULL,
    late      bigint NOT NULL,
    pool_fen  bigint NOT NULL,
    PRIMARY KEY (day, shard)
);
COMMENT ON TABLE closings IS 'what each shard said when it closed: the books must add up to it';

CREATE TABLE profiles (
    uid      bigint PRIMARY KEY,
    open_id  text NOT NULL,
    mobile   text NOT NULL,
    nickname text NOT NULL,
    at_ms    bigint NOT NULL
);

CREATE TABLE quarantine (
    digest    bytea PRIMARY KEY,
    day       date NOT NULL,
    at_ms     bigint NOT NULL,
    channel   text NOT NULL,
    reason    text NOT NULL,
    order_no  text NOT NULL,
    raw       bytea NOT NULL
);
COMMENT ON COLUMN quarantine.digest IS 'SHA-256 of reason and raw body: the same callback is kept once';

CREATE TABLE orders (
    day        date NOT NULL,
    uid        bigint NOT NULL,
    order_no   text NOT NULL,
    order_id   bigint NOT NULL,
    amount_fen bigint NOT NULL,
    open_id    text NOT NULL,
    at_ms      bigint NOT NULL,
    PRIMARY KEY (day, uid)
) PARTITION BY LIST (day);

CREATE TABLE payments (
    day            date NOT NULL,
    order_no       text NOT NULL,
    transaction_id text NOT NULL,
    uid            bigint NOT NULL,
    amount_fen     bigint NOT NULL,
    paid_at_ms     bigint NOT NULL,
    at_ms          bigint NOT NULL,
    outcome        text NOT NULL,
    channel        text NOT NULL,
    raw            text NOT NULL,
    PRIMARY KEY (day, order_no, transaction_id)
) PARTITION BY LIST (day);

CREATE TABLE members (
    day       date NOT NULL,
    uid       bigint NOT NULL,
    stake_fen bigint NOT NULL,
    late      boolean NOT NULL,
    at_ms     bigint NOT NULL,
    PRIMARY KEY (day, uid)
) PARTITION BY LIST (day);

CREATE TABLE check_ins (
    day   date NOT NULL,
    uid   bigint NOT NULL,
    at_ms bigint NOT NULL,
    rank  int NOT NULL,
    PRIMARY KEY (day, uid)
) PARTITION BY LIST (day);
COMMENT ON COLUMN check_ins.rank IS 'from 1, in the order of check-in within the shard';

CREATE TABLE packets (
    day   date NOT NULL,
    shard int NOT NULL,
    index int NOT NULL,
    fen   bigint NOT NULL CHECK (fen >= 0),
    PRIMARY KEY (day, shard, index)
) PARTITION BY LIST (day);
COMMENT ON TABLE packets IS 'the manifest: every packet, in the order in which a shard hands them out';

CREATE TABLE claims (
    day        date NOT NULL,
    uid        bigint NOT NULL,
    shard      int NOT NULL,
    index      int NOT NULL,
    packet_fen bigint NOT NULL CHECK (packet_fen >= 0),
    stake_fen  bigint NOT NULL,
    by         text NOT NULL CHECK (by IN ('user', 'system')),
    at_ms      bigint NOT NULL,
    PRIMARY KEY (day, uid),
    UNIQUE (day, shard, index)
) PARTITION BY LIST (day);

CREATE TABLE refunds (
    day            date NOT NULL,
    order_no       text NOT NULL,
    transaction_id text NOT NULL,
    refund_no      text NOT NULL,
    uid            bigint NOT NULL,
    amount_fen     bigint NOT NULL,
    reason         text NOT NULL,
    at_ms          bigint NOT NULL,
    PRIMARY KEY (day, order_no, transaction_id),
    UNIQUE (day, refund_no)
) PARTITION BY LIST (day);
COMMENT ON TABLE refunds IS 'owed from the moment it is written; refund_no never changes';

CREATE FUNCTION refund_no(order_no text, transaction_id text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'R' || left(encode(sha256(convert_to(order_no || ':' || transaction_id, 'UTF8')), 'hex'), 31);
COMMENT ON FUNCTION refund_no IS 'the one number under which a payment is given back';
