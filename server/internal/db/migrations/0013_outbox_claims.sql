-- oldest: 0011
-- By what a message goes, so that a text message does not wait behind mail, and who
-- is sending it: due_at is until when then.
ALTER TABLE outbox ADD COLUMN channel TEXT NOT NULL DEFAULT 'mail';
ALTER TABLE outbox ADD COLUMN claim TEXT NOT NULL DEFAULT '';
