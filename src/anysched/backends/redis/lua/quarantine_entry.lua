-- Set aside an entry whose record turned out to be unreadable, so that it is not found due again.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
-- ARGV[2]  why
--
-- include: records

redis.call('ZREM', ENTRIES, ARGV[1])
redis.call('ZREM', AWAITING, ARGV[1])
quarantine('entry', ARGV[1], ARGV[2])
return 1
