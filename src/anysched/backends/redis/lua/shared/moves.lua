-- How a run moves from one status to another, and what each move brings with it. A run that is passed here was read by
-- read_run or pick_run, so it is sound, and has the status that is stored.
-- include: places
-- include: cursors
-- include: constants

local moves = {
  FINAL = {succeeded = true, failed = true, cancelled = true, expired = true},
}

-- lazily: moves

-- Takes a run out of the place that its status gives it.
function moves.uproot(id, run)
  local status = run.status

  if status == 'running' then
    places.take_from_node(id, run.node or '', run.job)

    if run.cancel_requested then
      redis.call('ZREM', keys.cancel(run.node or ''), id)
    end
  elseif status == 'ready' and run.set_aside then
    places.end_aside(id, run)
  elseif status == 'ready' then
    places.place_all()
    redis.call('ZREM', keys.ready(run.queue), id)
    places.drained[run.queue] = true
  elseif status == 'scheduled' or status == 'retrying' then
    places.place_all()
    redis.call('ZREM', keys.DUE, id)
  elseif status == 'waiting' then
    redis.call('ZREM', keys.waiting_of(run.entry_id or ''), id)
    redis.call('ZREM', keys.WAITING, id)
  end
end

-- Makes the first that waits ready if nothing of the entry is live any more.
function moves.release_waiting(entry)
  if redis.call('EXISTS', keys.live_of(entry)) == 1 then
    return
  end

  while true do
    local first = redis.call('ZPOPMIN', keys.waiting_of(entry))[1]

    if not first then
      return
    end

    redis.call('ZREM', keys.WAITING, first)
    local run, reason = records.pick_run(first)

    if run and run.status == 'waiting' then
      redis.call('HDEL', keys.run(first), 'status')
      redis.call('ZADD', keys.live_of(entry), clock.in_order(), first)
      places.make_ready(first, run)
      return
    elseif not run then
      records.quarantine('run', first, reason or 'it is gone')
    end
  end
end

-- Does for an entry what follows from the end of one of its runs.
function moves.tell_entry(entry, id, status)
  local known = records.pick(keys.entry(entry), {'last_runs', 'awaited', 'after_ms', 'revision'})

  if known and known.revision then
    cursors.note_status(entry, known.last_runs, id, status)

    if known.awaited == id then
      cursors.activate(entry, clock.NOW + math.max(records.whole(known.after_ms) or 1, 1))
    end
  end

  if redis.call('ZREM', keys.live_of(entry), id) == 1 then
    moves.release_waiting(entry)
  end
end

-- What follows from the end of a run whatever its status was: its key, who watches, what waits.
function moves.follow_up(id, run, status)
  if run.key and records.text(keys.key(run.key)) == id then
    redis.call('DEL', keys.key(run.key))
  end

  if run.watch then
    hints.tell_watchers(id, run.watch)
    redis.call('HDEL', keys.run(id), 'watch')
  end

  if run.entry_id then
    moves.tell_entry(run.entry_id, id, status)
  end
end

-- Ends a run, with all that hangs on it.
function moves.finish(id, run, status, ttl_ms, result)
  local key = keys.run(id)
  ttl_ms = math.max(ttl_ms or run.ttl_ms or DEFAULT_TTL_MS, SHORTEST_TTL_MS)
  moves.uproot(id, run)

  if run.expires_at_ms and not run.started_ms then
    redis.call('ZREM', keys.EXPIRING, id)
  end

  if run.status == 'running' then
    redis.call('HDEL', key, 'cancel_requested')
    redis.call('HSET', key, 'node', '')
  end

  if result and result ~= '' then
    redis.call('HSET', key, 'status', status, 'finished_ms', clock.NOW, 'result', result)
  else
    redis.call('HSET', key, 'status', status, 'finished_ms', clock.NOW)
  end

  redis.call('PEXPIRE', key, ttl_ms)
  places.append(places.ended, status, id)

  if status == 'failed' then
    redis.call('ZADD', keys.FAILED, clock.in_order(), id)
    redis.call('ZADD', keys.FAILED_UNTIL, clock.NOW + ttl_ms, id)
  end

  moves.follow_up(id, run, status)
  run.status = status
end

-- Ends a run that should have been started by now; whether it was one.
function moves.expire(id, run)
  if not run.expires_at_ms or run.started_ms or moves.FINAL[run.status] or run.expires_at_ms > clock.NOW then
    return false
  end

  moves.finish(id, run, 'expired')
  return true
end

-- Likewise of these whichever is one.
function moves.expire_each(ids)
  for i = 1, #ids do
    local until_ms = redis.pcall('ZSCORE', keys.EXPIRING, ids[i])
    local is_due = type(until_ms) == 'string' and tonumber(until_ms) <= clock.NOW
    local run = is_due and records.pick_run(ids[i])

    if run then
      moves.expire(ids[i], run)
    end
  end
end

-- Makes a run ready: at the end of its queue, or at the front of its priority.
function moves.enter_ready(id, run, front)
  moves.uproot(id, run)
  redis.call('HDEL', keys.run(id), 'status', 'node', 'cancel_requested')
  places.make_ready(id, run, front)
  run.status = 'ready'
end

-- Makes a run due at an instant: "scheduled" or "retrying" until then, ready at once if that is past.
function moves.postpone(id, run, status, due_ms)
  redis.call('HSET', keys.run(id), 'due_ms', due_ms)

  if due_ms <= clock.NOW then
    moves.enter_ready(id, run)
    return
  end

  moves.uproot(id, run)

  if run.status == 'running' then
    redis.call('HDEL', keys.run(id), 'node')
  end

  redis.call('HSET', keys.run(id), 'status', status)
  places.make_due(id, run, due_ms)
  run.status = status
end

-- Takes a running run back, its attempt refunded: to the front of its queue, unless it was asked to cancel.
function moves.return_run(id, run)
  if run.cancel_requested then
    moves.finish(id, run, 'cancelled')
    return
  end

  redis.call('HSET', keys.run(id), 'attempt', run.attempt - 1)
  moves.enter_ready(id, run, true)
end

function moves.add_error(id, text)
  if text == '' then
    return
  end

  local kept = {}

  for line in string.gmatch(redis.call('HGET', keys.run(id), 'errors') or '', '[^\n]+') do
    kept[#kept + 1] = line
  end

  kept[#kept + 1] = text
  local first = math.max(1, #kept - MOST_ERRORS + 1)
  redis.call('HSET', keys.run(id), 'errors', table.concat(kept, '\n', first))
end

-- Cancels a run that is not final; one that is running is only asked to.
function moves.cancel(id, run)
  if run.status ~= 'running' then
    moves.finish(id, run, 'cancelled')
    return
  end

  local node = run.node or ''
  redis.call('HSET', keys.run(id), 'cancel_requested', 1)
  redis.call('ZADD', keys.cancel(node), 'NX', clock.in_order(), id)
  hints.send(node, 'cancel\n' .. id)
end
