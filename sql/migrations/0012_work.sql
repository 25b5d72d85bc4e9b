-- Long work: what runs, how far it is, who holds it, and how it has ended.

CREATE TABLE work (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text NOT NULL,
    about     text NOT NULL,
    arguments jsonb NOT NULL DEFAULT '{}',
    asked_by  text NOT NULL,
    asked_at  timestamptz NOT NULL DEFAULT now(),
    acts      bigint[] NOT NULL DEFAULT '{}',
    state     text NOT NULL CHECK (state IN ('waiting', 'running', 'ended')),
    holder    text,
    began_at  timestamptz,
    beat_at   timestamptz,
    step      text NOT NULL DEFAULT '',
    done      bigint,
    total     bigint,
    ended_at  timestamptz,
    answer    jsonb,
    CHECK (state <> 'running' OR (holder IS NOT NULL AND began_at IS NOT NULL AND beat_at IS NOT NULL)),
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CHECK ((state = 'ended') = (answer IS NOT NULL))
);
COMMENT ON TABLE work IS 'long work: what waits, what runs and how far it is, how the last pieces ended; kept for 30 days';
COMMENT ON COLUMN work.about IS 'a day, a month, or nothing';
COMMENT ON COLUMN work.acts IS 'operators'' acts that wait for its end; none where a worker or a command began it by itself';
COMMENT ON COLUMN work.holder IS 'whoever does it, or did it last';
COMMENT ON COLUMN work.beat_at IS 'when the holder was last heard of; while it waits, when it was last tried';
COMMENT ON COLUMN work.answer IS 'a word, and its data';
CREATE UNIQUE INDEX work_unfinished ON work (kind, about) WHERE state <> 'ended';
CREATE INDEX work_ended ON work (ended_at) WHERE state = 'ended';
CREATE INDEX work_about ON work (about, kind, id);
