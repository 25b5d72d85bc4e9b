-- The log of statements: one append-only Merkle tree over all of them, its checkpoints, and what witnesses have signed.

ALTER TABLE statements ADD CONSTRAINT statements_fit CHECK (octet_length(text) < 65536) NOT VALID;
COMMENT ON CONSTRAINT statements_fit ON statements IS 'entries of the log have their length in two bytes';

CREATE TABLE log_waiting (
    day   date NOT NULL,
    kind  text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, kind),
    FOREIGN KEY (day, kind) REFERENCES statements
);
COMMENT ON TABLE log_waiting IS 'statements that the sequencer has not taken into the log yet';

-- In the transaction that writes the statement, whatever version writes it, so that none is skipped: transactions may
-- commit in another order than that of statements.number.
CREATE FUNCTION wait_for_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log_waiting (day, kind) VALUES (NEW.day, NEW.kind);
    RETURN NULL;
END $$;
CREATE TRIGGER logged AFTER INSERT ON statements FOR EACH ROW EXECUTE FUNCTION wait_for_log();
INSERT INTO log_waiting (day, kind) SELECT day, kind FROM statements;

CREATE TABLE log_checkpoints (
    size      bigint PRIMARY KEY CHECK (size > 0),
    root      bytea NOT NULL CHECK (length(root) = 32),
    note      text NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE log_checkpoints IS 'what the log was at each size that was signed';
COMMENT ON COLUMN log_checkpoints.note IS 'origin, size and root, with the signatures of the statement keys';
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON log_checkpoints FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON log_checkpoints FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE log_entries (
    index      bigint PRIMARY KEY CHECK (index >= 0),
    before     bigint REFERENCES log_entries CHECK (before IS NOT DISTINCT FROM nullif(index, 0) - 1),
    day        date NOT NULL,
    kind       text NOT NULL,
    checkpoint bigint NOT NULL REFERENCES log_checkpoints CHECK (checkpoint > index),
    path       bytea NOT NULL CHECK (length(path) % 32 = 0),
    UNIQUE (day, kind),
    FOREIGN KEY (day, kind) REFERENCES statements
);
COMMENT ON TABLE log_entries IS 'which statement has which place in the log: written once, without gaps';
COMMENT ON COLUMN log_entries.before IS 'has to be there: there are no gaps';
COMMENT ON COLUMN log_entries.checkpoint IS 'the first one that has it';
COMMENT ON COLUMN log_entries.path IS 'how it leads to the root of that checkpoint, 32 bytes each';
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON log_entries FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON log_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE log_hashes (
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    index bigint NOT NULL CHECK (index >= 0),
    hash  bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, index)
);
COMMENT ON TABLE log_hashes IS 'what tiles are made of: hashes of entries, and at each level above those of 256 below';
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON log_hashes FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON log_hashes FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE log_cosignatures (
    witness   text NOT NULL,
    size      bigint NOT NULL REFERENCES log_checkpoints,
    line      text NOT NULL,
    signed_ms bigint NOT NULL,
    PRIMARY KEY (witness, size)
);
COMMENT ON TABLE log_cosignatures IS 'that a witness has seen a checkpoint, and none that contradicts it';
COMMENT ON COLUMN log_cosignatures.witness IS 'its public key, as CLOCK_WITNESSES has it';
COMMENT ON COLUMN log_cosignatures.line IS 'its line below the checkpoint';
COMMENT ON COLUMN log_cosignatures.signed_ms IS 'by the clock of the witness';
CREATE INDEX log_cosignatures_of ON log_cosignatures (size);
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON log_cosignatures FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON log_cosignatures FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE log_witnesses (
    witness     text PRIMARY KEY,
    since       timestamptz NOT NULL DEFAULT now(),
    ask_at      timestamptz NOT NULL DEFAULT now(),
    failures    int NOT NULL DEFAULT 0,
    said        text NOT NULL DEFAULT '',
    contradicts boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE log_witnesses IS 'how each witness answers';
COMMENT ON COLUMN log_witnesses.ask_at IS 'not to be asked before; while it is asked, when another process may';
COMMENT ON COLUMN log_witnesses.failures IS 'since it last signed';
COMMENT ON COLUMN log_witnesses.said IS 'why it has not signed; empty: it has';
COMMENT ON COLUMN log_witnesses.contradicts IS 'it has seen a log of this name that this one does not continue';
