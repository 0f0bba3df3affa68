-- oldest: 0002
ALTER TABLE audit ADD COLUMN reason TEXT NOT NULL DEFAULT '';
DROP INDEX audit_subject;
CREATE INDEX audit_by_subject ON audit (subject, at);
CREATE INDEX audit_by_actor ON audit (actor, at);
CREATE INDEX audit_by_event ON audit (event, at);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_request ON audit (request_id);
CREATE INDEX users_by_name ON users (name COLLATE NOCASE);
CREATE INDEX users_disabled ON users (id) WHERE disabled = 1;
CREATE INDEX user_roles_by_role ON user_roles (role, user_id);
CREATE INDEX identifiers_unverified ON identifiers (user_id) WHERE verified = 0;
