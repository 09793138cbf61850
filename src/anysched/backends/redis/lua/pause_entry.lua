-- Stop an entry from firing until it is resumed.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
-- ARGV[2]  the note
--
-- Returns  1; 0 if there is none
--
-- include: rules

local known = rules.find(ARGV[1])

if not known then
  return 0
end

if known.status == 'finished' then
  return 1
end

redis.call('HSET', keys.entry(ARGV[1]), 'note', ARGV[2])

if known.status == 'active' then
  if rules.is_due(known) then
    redis.call('HSET', keys.entry(ARGV[1]), 'missed_count', (records.whole(known.missed_count) or 0) + 1)
  end

  cursors.halt(ARGV[1], 'paused')
end

return 1
