-- oldest: 0020
-- A grant that has ended is found by its session, too: whose client must be told when
-- that ends.
DROP INDEX grants_sid;
CREATE INDEX grants_sid ON grants (sid) WHERE sid <> '';
