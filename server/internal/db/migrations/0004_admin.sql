-- oldest: 0002
-- sum: ebc94ca9cc098ec2e4013bda87cadfd7f9c5332a886f41249318a2a2f83caf2e
-- It made five indexes of the audit once, which took six minutes for ten million
-- records, and 0006 takes away: so the sum that databases know is of another text.
ALTER TABLE audit ADD COLUMN reason TEXT NOT NULL DEFAULT '';
CREATE INDEX users_by_name ON users (name COLLATE NOCASE);
CREATE INDEX users_disabled ON users (id) WHERE disabled = 1;
CREATE INDEX user_roles_by_role ON user_roles (role, user_id);
CREATE INDEX identifiers_unverified ON identifiers (user_id) WHERE verified = 0;
