-- What running programs declare: PROGRAMS says until when each is taken to run.
-- include: records

local programs = {
  PROGRAM_GRACE_MS = 86400000,
}

local function forget(program)
  redis.call('ZREM', keys.PROGRAMS, program)
  redis.call('HDEL', keys.PROGRAM_TTLS, program)
  redis.call('DEL', keys.program(program))
end

-- Forgets those that are not taken to run any more.
function programs.forget_old()
  for _, program in ipairs(redis.call('ZRANGEBYSCORE', keys.PROGRAMS, '-inf', clock.NOW, 'LIMIT', 0, 100)) do
    forget(program)
  end
end

-- A node has left: what its program declares is not to fire, unless another node has that program.
function programs.release(program)
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', keys.NODES, 0, '+inf')) do
    if redis.pcall('HGET', keys.node(node), 'program') == program then
      return
    end
  end

  forget(program)
end

function programs.remember(program, ids, ttl_ms)
  redis.call('DEL', keys.program(program))
  records.in_chunks('SADD', keys.program(program), ids)
  redis.call('PEXPIRE', keys.program(program), ttl_ms + programs.PROGRAM_GRACE_MS)
  redis.call('HSET', keys.PROGRAM_TTLS, program, ttl_ms)
  redis.call('ZADD', keys.PROGRAMS, clock.NOW + ttl_ms, program)
end

-- Whether it was still taken to run; then it is from now on again. One whose time ran out has to be declared anew: its
-- entries may have been retired meanwhile.
function programs.renew(program)
  local ttl_ms = records.whole(redis.call('HGET', keys.PROGRAM_TTLS, program) or '')
  local until_ms = tonumber(redis.call('ZSCORE', keys.PROGRAMS, program) or 0)

  if not ttl_ms or until_ms <= clock.NOW then
    return false
  end

  redis.call('ZADD', keys.PROGRAMS, clock.NOW + ttl_ms, program)
  redis.call('PEXPIRE', keys.program(program), ttl_ms + programs.PROGRAM_GRACE_MS)
  return true
end
