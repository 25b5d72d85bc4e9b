-- What operators do, each under a name: written before it is done, and never changed.

CREATE TABLE acts (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    who        text NOT NULL,
    address    text NOT NULL,
    act        text NOT NULL,
    about      text NOT NULL,
    detail     jsonb NOT NULL,
    reason     text NOT NULL,
    amount_fen bigint
);
COMMENT ON TABLE acts IS 'what operators asked for; written before it is done';
COMMENT ON COLUMN acts.who IS 'the sub of the token; user@host for a command';
COMMENT ON COLUMN acts.about IS 'the day, number or id that it is about';
COMMENT ON COLUMN acts.amount_fen IS 'the money that it moves, where it moves any';
CREATE INDEX acts_about ON acts (about, act, id);
CREATE INDEX acts_of_name ON acts (who, id);
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON acts FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON acts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE acts_ended (
    act  bigint PRIMARY KEY REFERENCES acts (id),
    at   timestamptz NOT NULL DEFAULT now(),
    word text NOT NULL
);
COMMENT ON TABLE acts_ended IS 'what became of them; none while they run, or where a process died';
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON acts_ended FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON acts_ended FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What failed is sent again, or an operator says that it was seen to.

ALTER TABLE outgoing
    ADD COLUMN again int NOT NULL DEFAULT 0,
    ADD COLUMN again_of text,
    ADD COLUMN sent_as text,
    ADD COLUMN handled text CHECK (handled IN ('again', 'acknowledged')),
    ADD CHECK ((again = 0) = (again_of IS NULL)),
    ADD CHECK (handled IS NULL OR state = 'failed');
COMMENT ON COLUMN outgoing.again IS 'how often it had failed before';
COMMENT ON COLUMN outgoing.again_of IS 'the failed row of the same day in whose place it is sent';
COMMENT ON COLUMN outgoing.sent_as IS 'its number at the provider where that is another: a refund keeps its first one';
COMMENT ON COLUMN outgoing.handled IS 'of a failed row: sent again, or seen to otherwise';
CREATE UNIQUE INDEX outgoing_again ON outgoing (day, again_of) WHERE again_of IS NOT NULL;
DROP INDEX outgoing_failed;
CREATE INDEX outgoing_failed ON outgoing (no) WHERE state = 'failed';
CREATE INDEX outgoing_unhandled ON outgoing (kind) WHERE state = 'failed' AND handled IS NULL;

-- What an operator looks for.

CREATE INDEX profiles_of_mobile ON profiles (mobile) WHERE mobile <> '';
CREATE INDEX profiles_of_open_id ON profiles (open_id) WHERE open_id <> '';
CREATE INDEX quarantine_of_order ON quarantine (order_no);
