-- Nodes and their leases, and the housekeeping that every working node does a share of.
-- NODES holds a live node by the end of its lease, a lost one that still has runs by a negative number.
-- include: constants
-- include: moves

local MOST_DUE = 200
local MOST_EXPIRED = 100
local MOST_RETURNED = 100
local LOST_RANK = 9007199254740992

local lost = {}
local expired = 0

-- When a node has to look again by itself; 0: never.
local function next_look(node)
  local instant = 0
  local leases = redis.call('ZRANGE', NODES, 0, 1, 'WITHSCORES')

  for i = 1, #leases, 2 do
    local ends = tonumber(leases[i + 1])

    if ends < 0 then
      return NOW
    elseif leases[i] ~= node and (instant == 0 or ends + 1 < instant) then
      instant = ends + 1
    end
  end

  for _, key in ipairs({DUE, EXPIRING}) do
    local first = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])

    if first and (instant == 0 or first < instant) then
      instant = first
    end
  end

  return instant
end

-- Lets somebody else look at the next instant, if it was this node that would have.
local function pass_on_watch(node)
  if redis.call('GET', LOOKOUT) ~= node then
    return
  end

  redis.call('DEL', LOOKOUT)

  if next_look(node) > 0 then
    wake_from(HUNGRY, 1)
  end
end

local function crash(id, run)
  local times = {}

  for at in string.gmatch(run.crash_times or '', '%d+') do
    if NOW - tonumber(at) < POISON_WINDOW_MS then
      times[#times + 1] = at
    end
  end

  times[#times + 1] = digits(NOW)
  redis.call('HSET', run_key(id), 'crash_times', table.concat(times, ' '), 'crashes', #times)

  if #times < POISON_CRASHES then
    return_run(id, run)
  else
    add_error(id, POISON_ERROR)
    finish(id, run, 'failed')
  end
end

-- Takes a share of the runs of a lost node from it; the last share takes what is left of the node.
local function empty(node, crashed)
  for _, id in ipairs(redis.call('ZRANGE', held_key(node), 0, MOST_RETURNED - 1)) do
    local run, reason = pick_run(id)

    if not run or run.status ~= 'running' or run.node ~= node then
      redis.call('ZREM', held_key(node), id)

      if not run then
        quarantine('run', id, reason or 'it is gone')
      end
    else
      redis.call('HSET', run_key(id), 'taken', run.token or 0)

      if crashed and not run.cancel_requested then
        crash(id, run)
      else
        return_run(id, run)
      end
    end
  end

  place_all()

  if redis.call('EXISTS', held_key(node)) == 0 then
    redis.call('ZREM', NODES, node)
    redis.call('DEL', node_key(node), jobs_key(node), cancel_key(node))
  end
end

-- Ends the life of a node. How its runs come back is kept for the shares that follow.
local function lose(node, crashed)
  place_all()
  satisfy(node)

  if redis.call('TYPE', node_key(node)).ok ~= 'hash' then
    redis.call('DEL', node_key(node))
  end

  redis.call('HSET', node_key(node), 'lost', crashed and 'crashed' or 'left')

  redis.call('ZADD', NODES, in_order() - LOST_RANK, node)
  pass_on_watch(node)
  empty(node, crashed)
end

local function reap(caller)
  local dead = redis.call('ZRANGEBYSCORE', NODES, '-inf', '(' .. digits(NOW), 'WITHSCORES', 'LIMIT', 0, 2)

  if dead[1] and tonumber(dead[2]) < 0 then
    local how = redis.pcall('HGET', node_key(dead[1]), 'lost')
    empty(dead[1], how ~= 'left')
    return
  end

  for i = 1, #dead, 2 do
    if dead[i] ~= caller then
      lost[#lost + 1] = dead[i]
      lose(dead[i], true)
      return
    end
  end
end

local function fall_due()
  local ids = redis.call('ZRANGEBYSCORE', DUE, '-inf', NOW, 'LIMIT', 0, MOST_DUE)

  for _, id in ipairs(ids) do
    local run, reason = pick_run(id)

    if not run then
      quarantine('run', id, reason or 'it is gone')
    elseif run.status == 'scheduled' or run.status == 'retrying' then
      redis.call('HDEL', run_key(id), 'status')
      make_ready(id, run)
    end
  end

  in_chunks('ZREM', DUE, ids)
end

local function expire()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', NOW, 'LIMIT', 0, MOST_EXPIRED)) do
    local run, reason = pick_run(id)

    if run and not run.started_ms and not FINAL[run.status] then
      finish(id, run, 'expired')
      expired = expired + 1
    elseif not run then
      quarantine('run', id, reason or 'it is gone')
    end

    redis.call('ZREM', EXPIRING, id)
  end
end

-- Does a bounded share of what time has brought about.
local function tidy(caller)
  fall_due()
  expire()
  reap(caller)
end
