-- oldest: 0016
-- What authenticators know users by: random, since ids of users can be chosen.
CREATE TABLE user_handles (
	user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
	handle  BLOB NOT NULL UNIQUE
);
