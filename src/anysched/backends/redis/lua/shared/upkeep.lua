-- What is forgotten when its time has passed. A final run's record goes by its own TTL; here go the lists that name it.
-- include: moves

local FORGOTTEN_AT_ONCE = 100

-- Failed runs whose record has gone.
local function forget_failed()
  local ids = redis.call('ZRANGEBYSCORE', FAILED_UNTIL, '-inf', NOW, 'LIMIT', 0, FORGOTTEN_AT_ONCE)

  if #ids > 0 then
    redis.call('ZREM', FAILED, unpack(ids))
    redis.call('ZREM', FAILED_UNTIL, unpack(ids))
  end
end

-- Notes about corrupt records that have gone.
local function forget_corrupt()
  local names = redis.call('ZRANGEBYSCORE', CORRUPT, '-inf', NOW - CORRUPT_TTL_MS, 'LIMIT', 0, FORGOTTEN_AT_ONCE)

  if #names > 0 then
    redis.call('ZREM', CORRUPT, unpack(names))
    redis.call('HDEL', CORRUPT_REASONS, unpack(names))
  end
end

-- An entry whose next time depends on the end of a run would wait for ever if that run's record was lost: looks after
-- one of those who were not looked after longest.
local function look_after_awaiting()
  local id = redis.call('ZRANGE', AWAITING, 0, 0)[1]

  if not id then
    return
  end

  local entry = pick(entry_key(id), {'awaited', 'after_ms'})

  if not entry or not entry.awaited then
    redis.call('ZREM', AWAITING, id)
    return
  end

  local run = pick_run(entry.awaited)

  if run and not FINAL[run.status] then
    redis.call('ZADD', AWAITING, NOW, id)
  else
    activate(id, NOW + math.max(tonumber(entry.after_ms) or 1, 1))
  end
end

local function upkeep()
  forget_failed()
  forget_corrupt()
  look_after_awaiting()
end
