-- oldest: 0012
-- Budgets of guesses that are spent, by keyed digests, and when each is whole again.
CREATE TABLE guesses (
	key     TEXT PRIMARY KEY,
	full_at BIGINT NOT NULL
);
CREATE INDEX guesses_full ON guesses (full_at);
