-- When entries fire next: the one place that changes an entry's status and its cursor, which go together.
-- An active entry is in ENTRIES by its next time or, while that depends on the end of a run, in AWAITING.
-- include: hints

local function cursor_is_earliest(next_ms)
  local first = redis.call('ZRANGE', ENTRIES, 0, 0, 'WITHSCORES')
  return not first[2] or next_ms < tonumber(first[2])
end

-- Stops an entry: "paused", which keeps its next time, or "finished".
local function halt(id, status)
  redis.call('ZREM', ENTRIES, id)
  redis.call('ZREM', AWAITING, id)
  redis.call('HDEL', entry_key(id), 'awaited', 'after_ms')

  if status == 'finished' then
    redis.call('HSET', entry_key(id), 'status', status, 'next_ms', 0)
  else
    redis.call('HSET', entry_key(id), 'status', status)
  end
end

-- Lets an entry fire at an instant, whatever it did before; 0: it has finished.
local function activate(id, next_ms)
  if next_ms <= 0 then
    halt(id, 'finished')
    return
  end

  if redis.call('ZREM', AWAITING, id) == 1 then
    redis.call('HDEL', entry_key(id), 'awaited', 'after_ms')
  end

  if cursor_is_earliest(next_ms) then
    hint_all('entries')
  end

  redis.call('HSET', entry_key(id), 'status', 'active', 'next_ms', next_ms)
  redis.call('ZADD', ENTRIES, next_ms, id)
end

-- Leaves an entry active, its next time to be set so long after the end of that run.
local function suspend(id, run_id, after_ms)
  redis.call('ZREM', ENTRIES, id)
  redis.call('ZADD', AWAITING, NOW, id)
  redis.call('HSET', entry_key(id), 'status', 'active', 'next_ms', 0, 'awaited', run_id, 'after_ms', after_ms)
end

-- The newest runs of an entry as {id, fire time, status}, newest first.
local function last_runs(packed)
  if not packed then
    return {}
  end

  local well, runs = pcall(cmsgpack.unpack, packed)
  return well and type(runs) == 'table' and runs or {}
end

local function note_made(id, packed, run_id, at_ms)
  local runs = last_runs(packed)
  table.insert(runs, 1, {run_id, at_ms, 'live'})
  runs[11] = nil
  packed = cmsgpack.pack(runs)
  redis.call('HSET', entry_key(id), 'last_runs', packed)
  return packed
end

-- Notes what has become of a run, if it is among the newest.
local function note_status(id, packed, run_id, status)
  local runs = last_runs(packed)

  for _, run in ipairs(runs) do
    if run[1] == run_id then
      run[3] = status
      redis.call('HSET', entry_key(id), 'last_runs', cmsgpack.pack(runs))
    end
  end
end
