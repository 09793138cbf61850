-- Let a paused entry fire again.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
-- ARGV[2]  its revision
-- ARGV[3]  when it fires next, in milliseconds; 0: it has finished
--
-- Returns  1; 0 if there is no such entry of that revision
--
-- include: rules

local known = rules.find(ARGV[1])

if not known or known.revision ~= ARGV[2] then
  return 0
end

if known.status == 'paused' then
  redis.call('HDEL', keys.entry(ARGV[1]), 'note')
  cursors.activate(ARGV[1], tonumber(ARGV[3]))
end

return 1
