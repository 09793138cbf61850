-- When entries fire next: the one place that changes an entry's status and its cursor, which go together.
-- An active entry is in ENTRIES by its next time or, while that depends on the end of a run, in AWAITING.
-- include: hints

local cursors = {}

-- lazily: cursors

-- Why an entry that was read cannot be understood, if it is of another version.
function cursors.is_strange(entry)
  if entry.version and entry.version ~= records.VERSION then
    return 'version ' .. entry.version .. ' is not known here'
  end
end

function cursors.cursor_is_earliest(next_ms)
  local first = redis.call('ZRANGE', keys.ENTRIES, 0, 0, 'WITHSCORES')
  return not first[2] or next_ms < tonumber(first[2])
end

-- Stops an entry: "paused", which keeps its next time, or "finished".
function cursors.halt(id, status)
  redis.call('ZREM', keys.ENTRIES, id)
  redis.call('ZREM', keys.AWAITING, id)
  redis.call('HDEL', keys.entry(id), 'awaited', 'after_ms')

  if status == 'finished' then
    redis.call('HSET', keys.entry(id), 'status', status, 'next_ms', 0)
  else
    redis.call('HSET', keys.entry(id), 'status', status)
  end
end

-- Lets an entry fire at an instant, whatever it did before; 0: it has finished.
function cursors.activate(id, next_ms)
  if next_ms <= 0 then
    cursors.halt(id, 'finished')
    return
  end

  if redis.call('ZREM', keys.AWAITING, id) == 1 then
    redis.call('HDEL', keys.entry(id), 'awaited', 'after_ms')
  end

  if cursors.cursor_is_earliest(next_ms) then
    hints.send_all('entries')
  end

  redis.call('HSET', keys.entry(id), 'status', 'active', 'next_ms', next_ms)
  redis.call('ZADD', keys.ENTRIES, next_ms, id)
end

-- Leaves an entry active, its next time to be set so long after the end of that run.
function cursors.suspend(id, run_id, after_ms)
  redis.call('ZREM', keys.ENTRIES, id)
  redis.call('ZADD', keys.AWAITING, clock.NOW, id)
  redis.call('HSET', keys.entry(id), 'status', 'active', 'next_ms', 0, 'awaited', run_id, 'after_ms', after_ms)
end

-- The newest runs of an entry as {id, fire time, status}, newest first.
function cursors.last_runs(packed)
  if not packed then
    return {}
  end

  local well, runs = pcall(cmsgpack.unpack, packed)
  return well and type(runs) == 'table' and runs or {}
end

function cursors.note_made(id, packed, run_id, at_ms)
  local runs = cursors.last_runs(packed)
  table.insert(runs, 1, {run_id, at_ms, 'live'})
  runs[11] = nil
  packed = cmsgpack.pack(runs)
  redis.call('HSET', keys.entry(id), 'last_runs', packed)
  return packed
end

-- Notes what has become of a run, if it is among the newest.
function cursors.note_status(id, packed, run_id, status)
  local runs = cursors.last_runs(packed)

  for _, run in ipairs(runs) do
    if run[1] == run_id then
      run[3] = status
      redis.call('HSET', keys.entry(id), 'last_runs', cmsgpack.pack(runs))
    end
  end
end
