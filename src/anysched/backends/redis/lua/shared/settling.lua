-- Settling one outcome, of whatever kind.
-- include: moves
-- include: constants

local settling = {}

-- lazily: settling

local MOST_TOMBSTONES = 16
local SETTLED_BY = {'status', 'token', 'node', 'job', 'key', 'entry_id', 'watch', 'cancel_requested'}

-- Whether a run that is no longer held under a token was settled under it, and not taken away.
local function was_settled(id, status, current, token)
  local text = clock.digits(token)
  local notes = redis.call('HMGET', keys.run(id), 'settled', 'taken')

  if notes[1] and string.find(' ' .. notes[1], ' ' .. text .. '@', 1, true) then
    return true
  end

  return moves.FINAL[status] == true and current == text and notes[2] ~= text
end

-- Remembers that a run which goes on was settled under a token: "<token>@<when>" for each.
local function note_settled(id, token)
  local kept = {clock.digits(token) .. '@' .. clock.digits(clock.NOW)}

  for known, at in string.gmatch(redis.call('HGET', keys.run(id), 'settled') or '', '(%d+)@(%d+)') do
    if clock.NOW - tonumber(at) < TOMBSTONE_MS and #kept < MOST_TOMBSTONES then
      kept[#kept + 1] = known .. '@' .. at
    end
  end

  redis.call('HSET', keys.run(id), 'settled', table.concat(kept, ' '))
end

local function apply(id, run, kind, result, shared)
  if kind == 'succeeded' or kind == 'failed' or kind == 'cancelled' then
    moves.finish(id, run, kind, shared[OUTCOME.ttl_ms], kind == 'succeeded' and result)
  elseif run.cancel_requested then
    moves.finish(id, run, 'cancelled', shared[OUTCOME.ttl_ms])
  elseif kind == 'retry' then
    moves.postpone(id, run, 'retrying', clock.NOW + shared[OUTCOME.delay_ms])
  elseif kind == 'snooze' then
    redis.call('HSET', keys.run(id), 'attempt', run.attempt - 1)
    moves.postpone(id, run, 'scheduled', clock.NOW + shared[OUTCOME.delay_ms])
  else
    moves.return_run(id, run)
  end
end

-- The common case of an open run: a success that nothing else hangs on.
local function succeed(id, key, held_by, job, result, ttl_ms)
  places.take_from_node(id, held_by, job)

  if result ~= '' then
    redis.call('HSET', key, 'status', 'succeeded', 'finished_ms', clock.NOW_TEXT, 'node', '', 'result', result)
  else
    redis.call('HSET', key, 'status', 'succeeded', 'finished_ms', clock.NOW_TEXT, 'node', '')
  end

  redis.call('PEXPIRE', key, math.max(ttl_ms, SHORTEST_TTL_MS))
  places.append(places.ended, 'succeeded', id)
end

-- Takes a run from a node that settles it under the token that it has it under, though it is not running there: its
-- record was lost, and may have been made anew.
local function let_go(node, id, token)
  local held = redis.call('ZSCORE', keys.held(node), id)

  if not held or tonumber(held) ~= token then
    return
  elseif redis.call('EXISTS', keys.run(id)) == 1 then
    redis.call('ZREM', keys.held(node), id)
  else
    places.lose_hold(node, id)
  end
end

-- Settles any run.
function settling.settle(node, id, token, result, shared)
  local key, kind = keys.run(id), shared[OUTCOME.kind]
  local run = redis.pcall('HMGET', key, unpack(SETTLED_BY))

  if run.err then
    local opened, reason = records.open_run(id)

    if not opened then
      places.lose_hold(node, id)
      records.quarantine('run', id, reason)
      return false
    end

    run = redis.call('HMGET', key, unpack(SETTLED_BY))
  end

  if run[1] ~= 'running' or tonumber(run[2]) ~= token then
    let_go(node, id, token)
    return was_settled(id, run[1], run[2], token)
  end

  if
    kind == 'succeeded' and shared[OUTCOME.error] == '' and run[3] and run[4]
    and not (run[5] or run[6] or run[7] or run[8])
  then
    succeed(id, key, run[3], run[4], result, shared[OUTCOME.ttl_ms])
    return true
  end

  local whole, reason = records.pick_run(id)

  if not whole then
    places.lose_hold(node, id, run[4])
    records.quarantine('run', id, reason)
    return false
  end

  if kind ~= 'succeeded' and kind ~= 'cancelled' then
    note_settled(id, token)
  end

  moves.add_error(id, shared[OUTCOME.error])
  apply(id, whole, kind, result, shared)
  return true
end
