-- Statements of rounds, the trees whose roots they name, and what salts and packets follow from.

ALTER TABLE rounds ADD COLUMN salt_key bytea CHECK (length(salt_key) = 32), ADD COLUMN drawn bytea CHECK (length(drawn) = 32);
COMMENT ON COLUMN rounds.salt_key IS 'salts of leaves follow from it; NULL: opened before there were statements';
COMMENT ON COLUMN rounds.drawn IS 'what the packets follow from; NULL: the seed, or not drawn yet';
ALTER TABLE rounds DROP CONSTRAINT rounds_state_check;
ALTER TABLE rounds ADD CONSTRAINT rounds_state_check CHECK (state IN
    ('open', 'closed', 'sealed', 'split', 'published', 'settled', 'finished', 'voiding', 'void'));

CREATE TABLE statements (
    day        date NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('opened', 'closed', 'published', 'void')),
    number     bigint GENERATED ALWAYS AS IDENTITY,
    text       text NOT NULL,
    note       text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, kind)
);
COMMENT ON TABLE statements IS 'what was promised of a round, closed, drawn, or called off: written once, and signed';
COMMENT ON COLUMN statements.number IS 'in the order of writing, with gaps';
COMMENT ON COLUMN statements.note IS 'the text with its signatures';
CREATE INDEX statements_chain ON statements (number) WHERE kind IN ('closed', 'void');
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON statements FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON statements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A process of an earlier version, which still runs, neither splits nor voids a round that has promised more than its seed.
-- No CHECK: its message has the row, and so the seed and the salt key, and is logged by whoever is refused.
CREATE FUNCTION require_statement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    needed text := CASE NEW.state WHEN 'sealed' THEN 'closed' WHEN 'split' THEN 'published' ELSE 'void' END;
BEGIN
    IF NOT EXISTS (SELECT FROM statements WHERE day = NEW.day AND kind = needed) THEN
        RAISE EXCEPTION 'round % is % without its statement', NEW.day, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER stated AFTER UPDATE OF state ON rounds DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.salt_key IS NOT NULL AND NEW.state IN ('sealed', 'split', 'voiding')) EXECUTE FUNCTION require_statement();

CREATE TABLE statement_keys (
    verifier text PRIMARY KEY,
    since    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE statement_keys IS 'public keys that have signed statements: published for ever';
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON statement_keys FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON statement_keys FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE trees (
    day    date NOT NULL,
    kind   text NOT NULL CHECK (kind IN ('stake', 'checked_in', 'packet')),
    size   bigint NOT NULL,
    tiles  bytea NOT NULL,
    firsts bytea NOT NULL,
    uids   bytea NOT NULL,
    PRIMARY KEY (day, kind)
);
COMMENT ON TABLE trees IS 'what paths to the roots in statements are made of; can be made again from the books';
COMMENT ON COLUMN trees.tiles IS 'roots of the tiles, 32 bytes each';
COMMENT ON COLUMN trees.firsts IS 'whose is the first leaf of each tile, 8 bytes each; empty for packets';
COMMENT ON COLUMN trees.uids IS 'whose leaves they are, in order, 8 bytes each; empty for packets';
ALTER TABLE trees ALTER COLUMN tiles SET STORAGE EXTERNAL, ALTER COLUMN uids SET STORAGE EXTERNAL;  -- a part is read alone

-- The same as clock.game.keys.shard_of: (uid * 0x9E3779B97F4A7C15 modulo 2^64, its upper half) modulo shards. No product is
-- above 2^63: the lower half of uid is taken as 16 bits and 16 bits.
CREATE FUNCTION shard_of(uid bigint, shards bigint) RETURNS int
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (((
        ((uid >> 32) & 4294967295) * 2135587861 % 4294967296
        + ((uid >> 16) & 65535) * 2654435769 % 65536 * 65536 + (uid & 65535) * 2654435769
        + ((((uid >> 16) & 65535) * 2135587861 + ((uid & 65535) * 2135587861 >> 16)) >> 16)
    ) & 4294967295) % shards)::int;
