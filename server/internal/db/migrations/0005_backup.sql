-- oldest: 0001
CREATE TABLE instance (
	id           INTEGER PRIMARY KEY CHECK (id = 1),
	epoch        TEXT NOT NULL,
	restored_at  BIGINT NOT NULL,
	backed_up_at BIGINT NOT NULL,
	probed_at    BIGINT NOT NULL
);
