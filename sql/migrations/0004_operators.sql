-- What operators see and decide: a round's steps by the minute, and what became of quarantined callbacks.

CREATE TABLE steps (
    day       date NOT NULL,
    minute_ms bigint NOT NULL,
    step      text NOT NULL CHECK (step IN ('ordered', 'paid', 'checked_in', 'claimed')),
    shard     int NOT NULL,
    count     bigint NOT NULL,
    PRIMARY KEY (day, minute_ms, step, shard)
);
COMMENT ON TABLE steps IS 'how many users took a step of a round within a minute; counted with the rows that say so, in one transaction';

INSERT INTO steps (day, minute_ms, step, shard, count)
SELECT day, at_ms - at_ms % 60000, step, 0, count(*) FROM (
    SELECT day, at_ms, 'ordered' AS step FROM orders
    UNION ALL SELECT day, at_ms, 'paid' FROM members
    UNION ALL SELECT day, at_ms, 'checked_in' FROM check_ins
    UNION ALL SELECT day, at_ms, 'claimed' FROM claims) AS taken
GROUP BY 1, 2, 3;

CREATE TABLE releases (
    digest         bytea PRIMARY KEY REFERENCES quarantine (digest),
    action         text NOT NULL CHECK (action IN ('refund', 'dismiss')),
    reason         text NOT NULL,
    by_whom        text NOT NULL,
    at             timestamptz NOT NULL DEFAULT now(),
    day            date,
    order_no       text NOT NULL,
    transaction_id text NOT NULL,
    amount_fen     bigint,
    refund_no      text,
    CHECK ((action = 'refund') = (refund_no IS NOT NULL))
);
COMMENT ON TABLE releases IS 'what an operator decided about a quarantined callback; once each, never changed';
COMMENT ON COLUMN releases.day IS 'the round in whose books the refund is';
CREATE INDEX releases_of_transaction ON releases (transaction_id) WHERE transaction_id <> '';
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON releases FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON releases FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE INDEX quarantine_newest ON quarantine (at_ms DESC, digest);
CREATE INDEX payments_of_transaction ON payments (transaction_id);
CREATE INDEX outgoing_failed ON outgoing (kind) WHERE state = 'failed';
