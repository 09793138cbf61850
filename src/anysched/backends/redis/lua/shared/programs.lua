-- What running programs declare: PROGRAMS says until when each is taken to run.
-- include: records

local PROGRAM_GRACE_MS = 86400000

local function forget_programs()
  for _, program in ipairs(redis.call('ZRANGEBYSCORE', PROGRAMS, '-inf', NOW, 'LIMIT', 0, 100)) do
    redis.call('ZREM', PROGRAMS, program)
    redis.call('HDEL', PROGRAM_TTLS, program)
    redis.call('DEL', program_key(program))
  end
end

local function remember_program(program, ids, ttl_ms)
  redis.call('DEL', program_key(program))
  in_chunks('SADD', program_key(program), ids)
  redis.call('PEXPIRE', program_key(program), ttl_ms + PROGRAM_GRACE_MS)
  redis.call('HSET', PROGRAM_TTLS, program, ttl_ms)
  redis.call('ZADD', PROGRAMS, NOW + ttl_ms, program)
end

local function renew_program(program)
  local ttl_ms = tonumber(redis.call('HGET', PROGRAM_TTLS, program))

  if ttl_ms then
    redis.call('ZADD', PROGRAMS, NOW + ttl_ms, program)
    redis.call('PEXPIRE', program_key(program), ttl_ms + PROGRAM_GRACE_MS)
  end
end
