-- What is forgotten when its time has passed. A final run's record goes by its own TTL; here go the lists that name it.
-- include: moves

local upkeep = {
  FORGOTTEN_AT_ONCE = 100,
}

-- Notes about corrupt records that have gone.
function upkeep.forget_corrupt()
  local names = redis.call('ZRANGEBYSCORE', keys.CORRUPT, '-inf', clock.NOW - records.CORRUPT_TTL_MS, 'LIMIT', 0, upkeep.FORGOTTEN_AT_ONCE)

  if #names > 0 then
    redis.call('ZREM', keys.CORRUPT, unpack(names))
    redis.call('HDEL', keys.CORRUPT_REASONS, unpack(names))
  end
end

-- An entry whose next time depends on the end of a run would wait for ever if that run's record was lost: looks after
-- one of those who were not looked after longest.
function upkeep.look_after_awaiting()
  local id = redis.call('ZRANGE', keys.AWAITING, 0, 0)[1]

  if not id then
    return
  end

  local entry = records.pick(keys.entry(id), {'awaited', 'after_ms'})

  if not entry or not entry.awaited then
    redis.call('ZREM', keys.AWAITING, id)
    return
  end

  local run = records.pick_run(entry.awaited)

  if run and not moves.FINAL[run.status] then
    redis.call('ZADD', keys.AWAITING, clock.NOW, id)
  else
    cursors.activate(id, clock.NOW + math.max(records.whole(entry.after_ms) or 1, 1))
  end
end

function upkeep.all()
  places.forget_failed(upkeep.FORGOTTEN_AT_ONCE)
  upkeep.forget_corrupt()
  upkeep.look_after_awaiting()
end
