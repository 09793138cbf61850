-- Let nobody claim from a queue, or let them again and wake its hungry nodes.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the queue
-- ARGV[2]  1: pause; 0: resume
--
-- Returns  nothing
--
-- include: hints

if ARGV[2] == '1' then
  redis.call('SADD', keys.PAUSED, ARGV[1])
else
  redis.call('SREM', keys.PAUSED, ARGV[1])
  hints.wake(ARGV[1], hints.WOKEN_AT_MOST)
end

return 1
