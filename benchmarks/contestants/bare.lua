-- Store what is finished, then claim up to so many jobs; what has fallen due comes first into the queue.
-- A job is its id, of 32 characters, and what the worker makes of the rest.
-- KEYS: queue, delayed, claimed. ARGV: now in ms, capacity, then pairs of a finished job's id and its result.
local due = redis.call('ZRANGE', KEYS[2], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, 100)

if #due > 0 then
  redis.call('ZREM', KEYS[2], unpack(due))
  redis.call('RPUSH', KEYS[1], unpack(due))
end

if #ARGV > 2 then
  local finished = {}

  for at = 3, #ARGV, 2 do
    finished[#finished + 1] = ARGV[at]
    redis.call('SET', 'result:' .. ARGV[at], ARGV[at + 1], 'EX', 3600)
  end

  redis.call('HDEL', KEYS[3], unpack(finished))
end

local jobs = redis.call('LPOP', KEYS[1], ARGV[2]) or {}

if #jobs > 0 then
  local claims = {}

  for at, job in ipairs(jobs) do
    claims[2 * at - 1] = string.sub(job, 1, 32)
    claims[2 * at] = job
  end

  redis.call('HSET', KEYS[3], unpack(claims))
end

local nearest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
return {jobs, nearest[2] or ''}
