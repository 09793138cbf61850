-- Set aside an entry whose record turned out to be unreadable, so that it is not found due again.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
-- ARGV[2]  why
--
-- Returns  nothing
--
-- include: records

redis.call('ZREM', keys.ENTRIES, ARGV[1])
redis.call('ZREM', keys.AWAITING, ARGV[1])
records.quarantine('entry', ARGV[1], ARGV[2])
return 1
