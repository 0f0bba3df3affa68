-- oldest: 0012
-- Budgets of guesses that are spent, by keyed digests, and when each is whole again.
CREATE TABLE guesses (
	key     TEXT PRIMARY KEY,
	full_at BIGINT NOT NULL
);
CREATE INDEX guesses_full ON guesses (full_at);
-- What text messages have cost, in millionths, and what became of their codes, by hours
-- of the clock.
CREATE TABLE texts (
	key     TEXT NOT NULL,
	hour    BIGINT NOT NULL,
	spent   BIGINT NOT NULL,
	sent    BIGINT NOT NULL,
	proved  BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	PRIMARY KEY (key, hour)
);
CREATE INDEX texts_hour ON texts (hour);
