-- oldest: 0002
ALTER TABLE users ADD COLUMN must_change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
CREATE INDEX outbox_user ON outbox (user_id) WHERE user_id <> '';
