-- What users were told by a Redis that had fallen behind the books, and how it is made good.

CREATE TABLE promises (
    day     date NOT NULL,
    uid     bigint NOT NULL,
    step    text NOT NULL CHECK (step IN ('checked_in', 'claimed', 'said')),
    fen     bigint NOT NULL CHECK (fen > 0),
    at_ms   bigint NOT NULL,
    kept_at timestamptz,
    PRIMARY KEY (day, uid, step, fen)
);
COMMENT ON TABLE promises IS 'what users were told and the books could not take, because the round was split without it';
COMMENT ON COLUMN promises.step IS 'said: an operator believes what the user says';
COMMENT ON COLUMN promises.fen IS 'what the round is worth to the user by that, stake included';
COMMENT ON COLUMN promises.kept_at IS 'when it was made good, or found to need nothing';
CREATE INDEX promises_open ON promises (day) WHERE kept_at IS NULL;

CREATE TABLE made_good (
    day        date NOT NULL,
    uid        bigint NOT NULL,
    number     int NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    at_ms      bigint NOT NULL,
    PRIMARY KEY (day, uid, number)
);
COMMENT ON TABLE made_good IS 'what the house pays so that a promise is kept; number counts from 1 for a user of a round';
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON made_good FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON made_good FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE FUNCTION lines_of(kind text) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN kind IN ('stake', 'unwanted', 'refund') THEN 2
        WHEN kind IN ('stake_back', 'packet', 'payout', 'payout_failed', 'refund_failed', 'sent_again', 'made_good', 'made_good_sent') THEN 1
        ELSE 0 END;
