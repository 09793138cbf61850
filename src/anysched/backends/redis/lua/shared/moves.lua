-- How a run moves from one status to another, and what each move brings with it. A run that is passed here was read by
-- read_run or pick_run, so it is sound, and has the status that is stored.
-- include: places
-- include: cursors

local SHORTEST_TTL_MS = 10000
local DEFAULT_TTL_MS = 3600000
local MOST_ERRORS = 16

-- Takes a run out of the place that its status gives it.
local function uproot(id, run)
  local status = run.status

  if status == 'running' then
    take_from_node(id, run.node or '', run.job)

    if run.cancel_requested then
      redis.call('ZREM', cancel_key(run.node or ''), id)
    end
  elseif status == 'ready' and run.set_aside then
    end_aside(id, run)
  elseif status == 'ready' then
    place_all()
    redis.call('ZREM', ready_key(run.queue), id)
    drained[run.queue] = true
  elseif status == 'scheduled' or status == 'retrying' then
    place_all()
    redis.call('ZREM', DUE, id)
  elseif status == 'waiting' then
    redis.call('ZREM', waiting_of_key(run.entry_id or ''), id)
    redis.call('ZREM', WAITING, id)
  end
end

-- Makes the first that waits ready if nothing of the entry is live any more.
local function release_waiting(entry)
  if redis.call('EXISTS', live_of_key(entry)) == 1 then
    return
  end

  while true do
    local first = redis.call('ZPOPMIN', waiting_of_key(entry))[1]

    if not first then
      return
    end

    redis.call('ZREM', WAITING, first)
    local run, reason = pick_run(first)

    if run and run.status == 'waiting' then
      redis.call('HDEL', run_key(first), 'status')
      redis.call('ZADD', live_of_key(entry), in_order(), first)
      make_ready(first, run)
      return
    elseif not run then
      quarantine('run', first, reason or 'it is gone')
    end
  end
end

-- Does for an entry what follows from the end of one of its runs.
local function tell_entry(entry, id, status)
  local known = pick(entry_key(entry), {'last_runs', 'awaited', 'after_ms', 'revision'})

  if known and known.revision then
    note_status(entry, known.last_runs, id, status)

    if known.awaited == id then
      activate(entry, NOW + math.max(tonumber(known.after_ms) or 1, 1))
    end
  end

  if redis.call('ZREM', live_of_key(entry), id) == 1 then
    release_waiting(entry)
  end
end

-- What follows from the end of a run whatever its status was: its key, who watches, what waits.
local function follow_up(id, run, status)
  if run.key and redis.call('GET', key_key(run.key)) == id then
    redis.call('DEL', key_key(run.key))
  end

  if run.watch then
    tell_watchers(id, run.watch)
    redis.call('HDEL', run_key(id), 'watch')
  end

  if run.entry_id then
    tell_entry(run.entry_id, id, status)
  end
end

-- Ends a run, with all that hangs on it.
local function finish(id, run, status, ttl_ms, result)
  local key = run_key(id)
  ttl_ms = math.max(ttl_ms or run.ttl_ms or DEFAULT_TTL_MS, SHORTEST_TTL_MS)
  uproot(id, run)

  if run.expires_at_ms and not run.started_ms then
    redis.call('ZREM', EXPIRING, id)
  end

  if run.status == 'running' then
    redis.call('HDEL', key, 'cancel_requested')
    redis.call('HSET', key, 'node', '')
  end

  if result and result ~= '' then
    redis.call('HSET', key, 'status', status, 'finished_ms', NOW, 'result', result)
  else
    redis.call('HSET', key, 'status', status, 'finished_ms', NOW)
  end

  redis.call('PEXPIRE', key, ttl_ms)
  append(ended, status, id)

  if status == 'failed' then
    redis.call('ZADD', FAILED, in_order(), id)
    redis.call('ZADD', FAILED_UNTIL, NOW + ttl_ms, id)
  end

  follow_up(id, run, status)
  run.status = status
end

-- Makes a run ready: at the end of its queue, or at the front of its priority.
local function enter_ready(id, run, front)
  uproot(id, run)
  redis.call('HDEL', run_key(id), 'status', 'node', 'cancel_requested')
  make_ready(id, run, front)
  run.status = 'ready'
end

-- Makes a run due at an instant: "scheduled" or "retrying" until then, ready at once if that is past.
local function postpone(id, run, status, due_ms)
  redis.call('HSET', run_key(id), 'due_ms', due_ms)

  if due_ms <= NOW then
    enter_ready(id, run)
    return
  end

  uproot(id, run)

  if run.status == 'running' then
    redis.call('HDEL', run_key(id), 'node')
  end

  redis.call('HSET', run_key(id), 'status', status)
  make_due(id, run, due_ms)
  run.status = status
end

-- Takes a running run back, its attempt refunded: to the front of its queue, unless it was asked to cancel.
local function return_run(id, run)
  if run.cancel_requested then
    finish(id, run, 'cancelled')
    return
  end

  redis.call('HSET', run_key(id), 'attempt', run.attempt - 1)
  enter_ready(id, run, true)
end

local function add_error(id, text)
  if text == '' then
    return
  end

  local kept = {}

  for line in string.gmatch(redis.call('HGET', run_key(id), 'errors') or '', '[^\n]+') do
    kept[#kept + 1] = line
  end

  kept[#kept + 1] = text
  local first = math.max(1, #kept - MOST_ERRORS + 1)
  redis.call('HSET', run_key(id), 'errors', table.concat(kept, '\n', first))
end

-- Cancels a run that is not final; one that is running is only asked to.
local function cancel(id, run)
  if run.status ~= 'running' then
    finish(id, run, 'cancelled')
    return
  end

  local node = run.node or ''
  redis.call('HSET', run_key(id), 'cancel_requested', 1)
  redis.call('ZADD', cancel_key(node), 'NX', in_order(), id)
  hint(node, 'cancel\n' .. id)
end

local FINAL = {succeeded = true, failed = true, cancelled = true, expired = true}
