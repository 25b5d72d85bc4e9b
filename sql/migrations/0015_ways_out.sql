-- How winnings leave: stake and packet are transferred, or the stake goes back as a refund and the packet into the balance.
-- A balance is withdrawn by its user.

ALTER TABLE rounds ADD COLUMN pulled boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN rounds.pulled IS 'somebody has paid through a channel whose transfers the user has to confirm';

ALTER TABLE claims ADD COLUMN stake_order_no text, ADD COLUMN stake_transaction_id text;
COMMENT ON COLUMN claims.stake_order_no IS 'the payment that is refunded for the stake; NULL: stake and packet are paid out together';

ALTER TABLE outgoing ADD COLUMN channel text, ADD COLUMN open_id text;
COMMENT ON COLUMN outgoing.channel IS 'of a withdrawal; a payout and a refund go through the channel of the payment';
COMMENT ON COLUMN outgoing.open_id IS 'of a withdrawal: to whom';
ALTER TABLE outgoing DROP CONSTRAINT outgoing_kind_check;
ALTER TABLE outgoing ADD CONSTRAINT outgoing_kind_check CHECK (kind IN ('payout', 'refund', 'withdrawal')) NOT VALID;
ALTER TABLE outgoing DROP CONSTRAINT outgoing_handled_check;
ALTER TABLE outgoing ADD CONSTRAINT outgoing_handled_check CHECK (handled IN ('again', 'acknowledged', 'withdrawn', 'returned')) NOT VALID;
COMMENT ON COLUMN outgoing.handled IS 'of a failed row: sent again, seen to otherwise, withdrawn by the user, or in the balance as it should be';

CREATE TABLE withdrawals (
    uid     bigint PRIMARY KEY,
    count   int NOT NULL,
    day     date NOT NULL,
    no      text NOT NULL,
    confirm jsonb
);
COMMENT ON TABLE withdrawals IS 'the last withdrawal of each user';
COMMENT ON COLUMN withdrawals.count IS 'how many the user has asked for';
COMMENT ON COLUMN withdrawals.day IS 'with no the row of outgoing';
COMMENT ON COLUMN withdrawals.confirm IS 'what the client needs where the user has to confirm; the provider says it once';

-- Whose money has failed is looked for when the user withdraws it, and when it is shown.

ALTER TABLE unsent ADD COLUMN uid bigint;
CREATE OR REPLACE FUNCTION keep_unsent() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM unsent u USING changed c WHERE u.no = c.no AND u.day = c.day AND (c.state = 'done' OR c.handled = 'returned');
    END IF;
    INSERT INTO unsent (no, day, kind, uid, state, amount_fen, attempts, next_at, created_at, handled)
    SELECT no, day, kind, uid, state, amount_fen, attempts, next_at, created_at, handled FROM changed
    WHERE state <> 'done' AND handled IS DISTINCT FROM 'returned' ORDER BY no
    ON CONFLICT (no, day) DO UPDATE SET state = excluded.state, amount_fen = excluded.amount_fen,
        attempts = excluded.attempts, next_at = excluded.next_at, handled = excluded.handled, uid = excluded.uid;
    RETURN NULL;
END $$;

-- Each is looked up by its number: all others wait for this transaction, and outgoing may have a billion rows. What is
-- not final gets its user when it changes.
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
UPDATE unsent u SET uid = o.uid FROM outgoing o WHERE o.day = u.day AND o.no = u.no AND u.state = 'failed';
SET LOCAL enable_hashjoin TO DEFAULT;
SET LOCAL enable_mergejoin TO DEFAULT;
CREATE INDEX unsent_failed_of_user ON unsent (uid) WHERE state = 'failed';

CREATE OR REPLACE FUNCTION lines_of(kind text) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN kind IN ('stake', 'unwanted', 'refund') THEN 2
        WHEN kind IN ('stake_back', 'packet', 'payout', 'payout_failed', 'refund_failed', 'sent_again', 'made_good', 'made_good_sent',
            'stake_refund', 'withdrawal', 'withdrawal_failed') THEN 1
        ELSE 0 END;
