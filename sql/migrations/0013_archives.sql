-- Months that leave the database for files, and what is asked before one may.

CREATE TABLE archives (
    month           date PRIMARY KEY CHECK (month = date_trunc('month', month)),
    by_whom         text NOT NULL,
    sealed_at       timestamptz NOT NULL DEFAULT now(),
    manifest_sha256 bytea CHECK (length(manifest_sha256) = 32),
    left_at         timestamptz,
    CHECK ((manifest_sha256 IS NULL) = (left_at IS NULL))
);
COMMENT ON TABLE archives IS 'months whose rows change no more (sealed), and are in files alone since left_at';
COMMENT ON COLUMN archives.manifest_sha256 IS 'of the MANIFEST.json that names the files and their checksums';

CREATE INDEX quarantine_of_day ON quarantine (day);
