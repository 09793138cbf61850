-- What running programs declare: PROGRAMS says until when each is taken to run.
-- include: records

local programs = {
  PROGRAM_GRACE_MS = 86400000,
}

function programs.forget()
  for _, program in ipairs(redis.call('ZRANGEBYSCORE', keys.PROGRAMS, '-inf', clock.NOW, 'LIMIT', 0, 100)) do
    redis.call('ZREM', keys.PROGRAMS, program)
    redis.call('HDEL', keys.PROGRAM_TTLS, program)
    redis.call('DEL', keys.program(program))
  end
end

function programs.remember(program, ids, ttl_ms)
  redis.call('DEL', keys.program(program))
  records.in_chunks('SADD', keys.program(program), ids)
  redis.call('PEXPIRE', keys.program(program), ttl_ms + programs.PROGRAM_GRACE_MS)
  redis.call('HSET', keys.PROGRAM_TTLS, program, ttl_ms)
  redis.call('ZADD', keys.PROGRAMS, clock.NOW + ttl_ms, program)
end

function programs.renew(program)
  local ttl_ms = records.whole(redis.call('HGET', keys.PROGRAM_TTLS, program) or '')

  if ttl_ms then
    redis.call('ZADD', keys.PROGRAMS, clock.NOW + ttl_ms, program)
    redis.call('PEXPIRE', keys.program(program), ttl_ms + programs.PROGRAM_GRACE_MS)
  end
end
