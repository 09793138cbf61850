-- Set aside an entry whose record turned out to be unreadable, so that it is not found due again. One that was changed
-- since is left alone: whoever finds it unreadable still, says so again.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
-- ARGV[2]  why
-- ARGV[3]  when it was due, as it was found
--
-- Returns  whether it was set aside
--
-- include: records

if tonumber(redis.call('ZSCORE', keys.ENTRIES, ARGV[1]) or -1) ~= tonumber(ARGV[3]) then
  return 0
end

redis.call('ZREM', keys.ENTRIES, ARGV[1])
records.quarantine('entry', ARGV[1], ARGV[2])
return 1
