-- Store the progress of a held run and forget its crashes.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the run
-- ARGV[2]  the token
-- ARGV[3]  the fraction
-- ARGV[4]  the message
--
-- Returns  1; 0 if the token is stale
--
-- include: records

local key = keys.run(ARGV[1])

if redis.call('HEXISTS', keys.RUNNING, ARGV[1]) == 1 then
  records.open_run(ARGV[1])
end

local run = records.pick(key, {'status', 'token', 'crashes'})

if not run or run.status ~= 'running' or run.token ~= ARGV[2] then
  return 0
end

redis.call('HSET', key, 'progress', ARGV[3], 'progress_message', ARGV[4])

if run.crashes then
  redis.call('HDEL', key, 'crashes', 'crash_times')
end

return 1
