-- The ledger: money moves from one account to another, so that every transaction sums to zero by its shape.

CREATE TABLE transfers (
    day          date NOT NULL,
    kind         text NOT NULL,
    cause        text NOT NULL,
    uid          bigint,
    from_account text NOT NULL,
    to_account   text NOT NULL,
    amount_fen   bigint NOT NULL CHECK (amount_fen > 0),
    at_ms        bigint NOT NULL,
    PRIMARY KEY (day, kind, cause),
    CHECK (from_account <> to_account)
) PARTITION BY LIST (day);
CREATE INDEX transfers_of_user ON transfers (uid, at_ms) WHERE uid IS NOT NULL;
COMMENT ON TABLE transfers IS 'one row a cause: what is taken from one account is given to the other; rows never change';
COMMENT ON COLUMN transfers.cause IS 'natural key within day and kind: nothing can be posted twice';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % never change', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON transfers FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON transfers FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE VIEW postings AS
    SELECT day, kind, cause, uid, from_account AS account, -amount_fen AS amount_fen, at_ms FROM transfers
    UNION ALL
    SELECT day, kind, cause, uid, to_account, amount_fen, at_ms FROM transfers;
COMMENT ON VIEW postings IS 'the ledger line by line: each (day, kind, cause) sums to zero';

CREATE TABLE outgoing (
    day            date NOT NULL,
    no             text NOT NULL CHECK (no ~ '^[0-9A-Za-z]{1,32}$'),
    kind           text NOT NULL CHECK (kind IN ('payout', 'refund')),
    uid            bigint NOT NULL,
    amount_fen     bigint NOT NULL CHECK (amount_fen > 0),
    order_no       text,
    transaction_id text,
    state          text NOT NULL DEFAULT 'owed' CHECK (state IN ('owed', 'unknown', 'processing', 'done', 'failed')),
    attempts       int NOT NULL DEFAULT 0,
    next_at        timestamptz NOT NULL DEFAULT now(),
    created_at     timestamptz NOT NULL DEFAULT now(),
    ended_at       timestamptz,
    reason         text,
    PRIMARY KEY (day, no)
) PARTITION BY LIST (day);
CREATE INDEX outgoing_due ON outgoing (next_at) WHERE state IN ('owed', 'unknown', 'processing');
CREATE INDEX outgoing_of_user ON outgoing (uid);
COMMENT ON TABLE outgoing IS 'money on its way out through a channel, each under one number that never changes';
COMMENT ON COLUMN outgoing.state IS 'unknown: sent, answer not known, to be asked about before it is sent again';

CREATE TABLE order_questions (
    day       date NOT NULL,
    order_no  text NOT NULL,
    asked     int NOT NULL DEFAULT 0,
    next_at_ms bigint NOT NULL,
    answer    text NOT NULL,
    PRIMARY KEY (day, order_no)
);
COMMENT ON TABLE order_questions IS 'unpaid orders that the channel was asked about; next_at_ms is the game''s clock';

ALTER TABLE rounds ADD COLUMN swept_at timestamptz, ADD COLUMN unanswered_orders bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN rounds.unanswered_orders IS 'unpaid orders of which the channel did not say before settlement whether they were paid';

CREATE TABLE reconciliations (
    day         date NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    differences jsonb NOT NULL,
    mended      jsonb NOT NULL,
    PRIMARY KEY (day, at)
);
