-- The book of rules: a default, and what operators plan for days whose round does not exist yet. A round's bonus.

CREATE TABLE rule_book (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    rules      jsonb NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE rule_book IS 'the first default: all rules, as the environment gave them when the first round was opened';
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON rule_book FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON rule_book FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE rule_changes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_day  date NOT NULL,
    last_day   date CHECK (last_day >= first_day),
    changes    jsonb NOT NULL,
    campaign   jsonb,
    bonus_fen  bigint CHECK (bonus_fen > 0),
    by_whom    text NOT NULL,
    reason     text NOT NULL,
    planned_at timestamptz NOT NULL DEFAULT now(),
    CHECK (last_day IS NOT NULL OR (campaign IS NULL AND bonus_fen IS NULL))
);
COMMENT ON TABLE rule_changes IS 'what was planned, in the order of planning';
COMMENT ON COLUMN rule_changes.last_day IS 'none: the default from first_day on';
COMMENT ON COLUMN rule_changes.changes IS 'the rules that differ, by name';
COMMENT ON COLUMN rule_changes.bonus_fen IS 'what the house adds to the pot of each of the days';
CREATE INDEX rule_changes_of_days ON rule_changes (last_day, first_day);
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON rule_changes FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON rule_changes FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE rule_changes_taken_back (
    change   bigint PRIMARY KEY REFERENCES rule_changes (id),
    by_whom  text NOT NULL,
    reason   text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE rule_changes_taken_back IS 'changes that hold no longer: they were taken back before a round was opened by them';
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON rule_changes_taken_back FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON rule_changes_taken_back FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE rounds ADD COLUMN bonus_fen bigint NOT NULL DEFAULT 0, ADD COLUMN bonus_back_fen bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN rounds.bonus_fen IS 'what the house added to the pot when it was split';
COMMENT ON COLUMN rounds.bonus_back_fen IS 'what of it went back: nobody won it, or the round is void';
