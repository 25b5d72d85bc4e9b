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
