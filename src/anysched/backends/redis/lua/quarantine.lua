-- Set aside a claimed run whose record turned out to be unreadable.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the run
-- ARGV[2]  the node that claimed it
-- ARGV[3]  why
--
-- include: moves

local id, node = ARGV[1], ARGV[2]

if redis.call('ZREM', held_key(node), id) == 1 then
  local job = redis.pcall('HGET', run_key(id), 'job')

  if type(job) == 'string' then
    redis.call('SREM', live_key(job), id)
  end

  quarantine('run', id, ARGV[3])
end

return 1
