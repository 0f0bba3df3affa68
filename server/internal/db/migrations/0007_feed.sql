-- What has ended, for those who accept credentials without asking. Rows are
-- numbered in the order of commits by the one row of feed_head.
CREATE TABLE feed (
	seq   INTEGER PRIMARY KEY,
	until BIGINT NOT NULL,
	event TEXT NOT NULL
);
CREATE INDEX feed_until ON feed (until);
CREATE TABLE feed_head (
	id    INTEGER PRIMARY KEY CHECK (id = 1),
	epoch TEXT NOT NULL,
	seq   BIGINT NOT NULL
);
INSERT INTO feed_head (id, epoch, seq) VALUES (1, '', 0);
