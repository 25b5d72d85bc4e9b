-- Sums that are kept, so that nobody adds up years: what each user has, and which money has not arrived yet.

CREATE FUNCTION month_number(day date) RETURNS int
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (extract(year FROM day) * 12 + extract(month FROM day))::int;
COMMENT ON FUNCTION month_number IS 'twelve times the year, plus the month';

CREATE FUNCTION lines_of(kind text) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN kind IN ('stake', 'unwanted', 'refund') THEN 2
        WHEN kind IN ('stake_back', 'packet', 'payout', 'payout_failed', 'refund_failed', 'sent_again') THEN 1
        ELSE 0 END;
COMMENT ON FUNCTION lines_of IS 'how many lines a transfer of this kind has in its user''s history';

CREATE FUNCTION in_account(uid bigint, kind text, from_account text, to_account text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN uid IS NOT NULL AND (lines_of(kind) > 0 OR from_account ^@ 'user:' OR to_account ^@ 'user:');
COMMENT ON FUNCTION in_account IS 'whether a transfer is a line of its user''s history or changes the balance';

CREATE TABLE accounts (
    uid         bigint PRIMARY KEY,
    balance_fen bigint NOT NULL,
    spend_fen   bigint NOT NULL,
    income_fen  bigint NOT NULL,
    largest_fen bigint NOT NULL,
    stakes      int NOT NULL,
    lines       int[] NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE accounts IS 'each user''s sums of transfers, kept in the transaction that writes them';
COMMENT ON COLUMN accounts.balance_fen IS 'due to the user and not on its way';
COMMENT ON COLUMN accounts.spend_fen IS 'stakes that were not refunded';
COMMENT ON COLUMN accounts.largest_fen IS 'the largest packet';
COMMENT ON COLUMN accounts.lines IS 'how many lines of history each month''s rounds have; the subscript is month_number';

CREATE TABLE uncarried (
    day date PRIMARY KEY,
    uid bigint NOT NULL DEFAULT -1
);
COMMENT ON TABLE uncarried IS 'days whose transfers are not in the accounts yet: those of users after uid';

CREATE FUNCTION keep_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first date;
    month int;
BEGIN
    FOR first IN SELECT generate_series(date_trunc('month', min(day)::timestamp), max(day)::timestamp, '1 month') FROM added LOOP
        month := month_number(first);
        INSERT INTO accounts AS a (uid, balance_fen, spend_fen, income_fen, largest_fen, stakes, lines[month])
        SELECT t.uid,
            sum(CASE 'user:' || t.uid WHEN to_account THEN amount_fen WHEN from_account THEN -amount_fen ELSE 0 END),
            sum(CASE kind WHEN 'stake' THEN amount_fen WHEN 'refund' THEN -amount_fen ELSE 0 END),
            sum(CASE kind WHEN 'packet' THEN amount_fen ELSE 0 END),
            max(CASE kind WHEN 'packet' THEN amount_fen ELSE 0 END),
            sum((kind = 'stake')::int), sum(lines_of(kind))
        FROM added t
        WHERE in_account(t.uid, kind, from_account, to_account) AND day >= first AND day < first + interval '1 month'
          AND NOT EXISTS (SELECT FROM uncarried u WHERE u.day = t.day AND u.uid < t.uid)
        GROUP BY t.uid ORDER BY t.uid
        ON CONFLICT (uid) DO UPDATE SET
            balance_fen = a.balance_fen + excluded.balance_fen,
            spend_fen = a.spend_fen + excluded.spend_fen,
            income_fen = a.income_fen + excluded.income_fen,
            largest_fen = greatest(a.largest_fen, excluded.largest_fen),
            stakes = a.stakes + excluded.stakes,
            lines[month] = coalesce(a.lines[month], 0) + excluded.lines[month];
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER accounts AFTER INSERT ON transfers
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION keep_accounts();

-- The trigger keeps writers out until this transaction ends: what they write then is counted, all before it is noted
-- here. Partitions were days until now.
INSERT INTO uncarried (day)
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'transfers'::regclass AND c.relname ~ '^transfers_\d{8}$';

CREATE TABLE merged (
    of_table text NOT NULL,
    day      date NOT NULL,
    PRIMARY KEY (of_table, day)
);
COMMENT ON TABLE merged IS 'days whose rows are in the new partition of their month as they stand, until it takes the place of the old ones';

CREATE FUNCTION forget_merged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM merged WHERE of_table = TG_ARGV[0] AND day = CASE TG_OP WHEN 'DELETE' THEN OLD.day ELSE NEW.day END;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION forget_merged IS 'a row of a day has changed after it was copied: the day is copied again';

CREATE TABLE unsent (
    no         text NOT NULL,
    day        date NOT NULL,
    kind       text NOT NULL,
    state      text NOT NULL,
    amount_fen bigint NOT NULL,
    attempts   int NOT NULL,
    next_at    timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    handled    text,
    PRIMARY KEY (no, day)
);
COMMENT ON TABLE unsent IS 'rows of outgoing that are not done, as they stand: what is sent, watched and looked for, whatever its round';
CREATE INDEX unsent_due ON unsent (next_at) WHERE state <> 'failed';

CREATE FUNCTION keep_unsent() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM unsent u USING changed c WHERE u.no = c.no AND u.day = c.day AND c.state = 'done';
    END IF;
    INSERT INTO unsent (no, day, kind, state, amount_fen, attempts, next_at, created_at, handled)
    SELECT no, day, kind, state, amount_fen, attempts, next_at, created_at, handled FROM changed
    WHERE state <> 'done' ORDER BY no
    ON CONFLICT (no, day) DO UPDATE SET state = excluded.state, amount_fen = excluded.amount_fen,
        attempts = excluded.attempts, next_at = excluded.next_at, handled = excluded.handled;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION keep_unsent IS 'plans are kept: one that was made while the table was small would read all of it later';
CREATE TRIGGER unsent_added AFTER INSERT ON outgoing
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_unsent();
CREATE TRIGGER unsent_changed AFTER UPDATE ON outgoing
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_unsent();

INSERT INTO unsent (no, day, kind, state, amount_fen, attempts, next_at, created_at, handled)
SELECT no, day, kind, state, amount_fen, attempts, next_at, created_at, handled FROM outgoing
WHERE state IN ('owed', 'unknown', 'processing')
UNION ALL
SELECT no, day, kind, state, amount_fen, attempts, next_at, created_at, handled FROM outgoing WHERE state = 'failed';
DROP INDEX outgoing_due, outgoing_failed, outgoing_unhandled;

-- Of a thousand rounds a few are not over.

CREATE INDEX rounds_finished ON rounds (finished_at);
CREATE INDEX rounds_uncounted ON rounds (day) WHERE state <> 'void' AND (tallied_at IS NULL OR credited_at IS NULL);
CREATE INDEX rounds_carried ON rounds (day) WHERE carried_out_fen > 0 AND carried_to IS NULL;
