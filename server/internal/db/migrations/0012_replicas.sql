-- oldest: 0011
-- What replicas that share a database tell each other: that users and API keys have
-- changed, or the server's own keys, and what life of the database its feed is of.
ALTER TABLE feed_head ADD COLUMN accounts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feed_head ADD COLUMN keys BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feed_head ADD COLUMN life TEXT NOT NULL DEFAULT '';
