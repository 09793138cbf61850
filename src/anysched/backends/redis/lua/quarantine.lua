-- Set aside a claimed run whose record turned out to be unreadable.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the run
-- ARGV[2]  the node that claimed it
-- ARGV[3]  why
--
-- Returns  nothing
--
-- include: moves

local id, node = ARGV[1], ARGV[2]

if redis.call('ZREM', keys.held(node), id) == 1 then
  local text = redis.call('HGET', keys.RUNNING, id)
  local claim = text and seals.read_claim(text)
  local job = claim and claim.job or redis.pcall('HGET', keys.run(id), 'job')

  if type(job) == 'string' then
    redis.call('SREM', keys.live(job), id)
  end

  records.quarantine('run', id, ARGV[3])
end

return 1
