-- What is looked for every second is in a small table of what is open: orders of rounds that have not ended, unpaid.

CREATE TABLE unpaid (
    day        date NOT NULL,
    uid        bigint NOT NULL,
    order_no   text NOT NULL,
    asked      int NOT NULL DEFAULT 0,
    next_at_ms bigint NOT NULL,
    answer     text,
    PRIMARY KEY (day, uid)
) WITH (fillfactor = 70);
CREATE INDEX unpaid_due ON unpaid (day, next_at_ms);
COMMENT ON TABLE unpaid IS 'orders without a payment, until their round has ended; a row comes and goes with the drain';
COMMENT ON COLUMN unpaid.next_at_ms IS 'when the channel is to be asked, by the game''s clock';
COMMENT ON COLUMN unpaid.answer IS 'what the channel said last; NULL: it was not asked';

INSERT INTO unpaid (day, uid, order_no, asked, next_at_ms, answer)
SELECT o.day, o.uid, o.order_no, coalesce(q.asked, 0), coalesce(q.next_at_ms, o.at_ms + 120000), q.answer
FROM rounds r JOIN orders o ON o.day = r.day LEFT JOIN order_questions q ON q.day = o.day AND q.order_no = o.order_no
WHERE r.finished_at IS NULL
  AND NOT EXISTS (SELECT FROM payments p WHERE p.day = o.day AND p.order_no = o.order_no);

DROP TABLE order_questions;

ALTER TABLE rounds ADD COLUMN sweep_began_at timestamptz, ADD COLUMN swept_uid bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN rounds.sweep_began_at IS 'when settlement began to ask about unpaid orders: its time is counted from there';
COMMENT ON COLUMN rounds.swept_uid IS 'up to which user settlement is done with unpaid orders';
