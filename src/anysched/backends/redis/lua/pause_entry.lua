-- Stop an entry from firing until it is resumed.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
-- ARGV[2]  the note
--
-- Returns  1; 0 if there is none
--
-- include: rules

local known = known_entry(ARGV[1])

if not known then
  return 0
end

redis.call('HSET', entry_key(ARGV[1]), 'note', ARGV[2])

if known.status == 'active' then
  halt(ARGV[1], 'paused')
end

return 1
