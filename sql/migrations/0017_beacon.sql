-- The draw of a public beacon that is mixed into a round's seed.

ALTER TABLE rounds ADD COLUMN draw_ms bigint, ADD COLUMN draw text;
COMMENT ON COLUMN rounds.draw_ms IS 'when the draw that O promises is out; NULL: O promises none';
COMMENT ON COLUMN rounds.draw IS 'what P says of it: its signature in hexadecimal, or missing, or late; NULL: not decided yet';

CREATE FUNCTION require_one_draw() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.draw_ms IS DISTINCT FROM OLD.draw_ms OR (OLD.draw IS NOT NULL AND NEW.draw IS DISTINCT FROM OLD.draw) THEN
        RAISE EXCEPTION 'the draw of round % never changes', NEW.day USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.draw IS NOT NULL AND (NEW.draw_ms IS NULL OR NEW.draw !~ '^([0-9a-f]{96}|missing|late)$') THEN
        RAISE EXCEPTION 'round % cannot have such a draw', NEW.day USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER one_draw BEFORE UPDATE OF draw_ms, draw ON rounds FOR EACH ROW EXECUTE FUNCTION require_one_draw();

-- As before, and a process of an earlier version, which knows of no beacon, does not split a round that has promised one, nor
-- voids it when the draw is out.
CREATE OR REPLACE FUNCTION require_statement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    needed text := CASE NEW.state WHEN 'sealed' THEN 'closed' WHEN 'split' THEN 'published' ELSE 'void' END;
    said   text := (SELECT text FROM statements WHERE day = NEW.day AND kind = needed);
BEGIN
    IF said IS NULL THEN
        RAISE EXCEPTION 'round % is % without its statement', NEW.day, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'split' AND (
        (NEW.draw_ms IS NULL) <> (NEW.draw IS NULL) OR position(E'\nbeacon: ' || coalesce(NEW.draw, 'none') || E'\n' IN said) = 0
    ) THEN
        RAISE EXCEPTION 'round % is split without the draw that it has promised', NEW.day USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'voiding' AND substring(said FROM E'\nvoided_ms: ([0-9]+)\n')::bigint >= NEW.draw_ms THEN
        RAISE EXCEPTION 'round % is called off when its draw is out', NEW.day USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
