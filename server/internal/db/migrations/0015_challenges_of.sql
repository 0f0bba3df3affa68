-- oldest: 0012
-- What is under way for somebody is also ended whatever it is for.
DROP INDEX challenges_target;
CREATE INDEX challenges_of ON challenges (target, purpose);
