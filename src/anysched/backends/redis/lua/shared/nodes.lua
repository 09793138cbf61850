-- Nodes and their leases, and the housekeeping that every working node does a share of.
-- NODES holds a live node by the end of its lease, a lost one that still has runs by a negative number.
-- include: constants
-- include: moves

local nodes = {
  MOST_DUE = 200,
  MOST_EXPIRED = 100,
  MOST_RETURNED = 100,
  LATEST = 9007199254740991, -- what is due at infinity can still be told
  LOST_RANK = 9007199254740992,

  lost = {},
  expired = 0,
}

-- Lets somebody else look at the next instant, if it was this node that would have.
function nodes.pass_on_watch(node)
  if records.text(keys.LOOKOUT) ~= node then
    return
  end

  redis.call('DEL', keys.LOOKOUT)

  if nodes.next_look(node) > 0 then
    hints.wake_from(keys.HUNGRY, 1)
  end
end

function nodes.reap(caller)
  local dead = redis.call('ZRANGEBYSCORE', keys.NODES, '-inf', '(' .. clock.digits(clock.NOW), 'WITHSCORES', 'LIMIT', 0, 2)

  if dead[1] and tonumber(dead[2]) < 0 then
    local how = redis.pcall('HGET', keys.node(dead[1]), 'lost')
    nodes.empty(dead[1], how ~= 'left')
    return
  end

  for i = 1, #dead, 2 do
    if dead[i] ~= caller then
      nodes.lost[#nodes.lost + 1] = dead[i]
      nodes.lose(dead[i], true)
      return
    end
  end
end

function nodes.fall_due()
  local ids = redis.call('ZRANGEBYSCORE', keys.DUE, '-inf', clock.NOW, 'LIMIT', 0, nodes.MOST_DUE)

  for _, id in ipairs(ids) do
    local run, reason = records.pick_run(id)

    if not run then
      records.quarantine('run', id, reason or 'it is gone')
    elseif run.status == 'scheduled' or run.status == 'retrying' then
      redis.call('HDEL', keys.run(id), 'status')
      places.make_ready(id, run)
    end
  end

  records.in_chunks('ZREM', keys.DUE, ids)
end

function nodes.expire()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', keys.EXPIRING, '-inf', clock.NOW, 'LIMIT', 0, nodes.MOST_EXPIRED)) do
    local run, reason = records.pick_run(id)

    if run and moves.expire(id, run) then
      nodes.expired = nodes.expired + 1
    elseif not run then
      records.quarantine('run', id, reason or 'it is gone')
    end

    redis.call('ZREM', keys.EXPIRING, id)
  end
end

-- Does a bounded share of what time has brought about.
function nodes.tidy(caller)
  nodes.fall_due()
  nodes.expire()
  nodes.reap(caller)
end

-- lazily: nodes

-- When a node has to look again by itself; 0: never.
function nodes.next_look(node)
  local instant = 0
  local leases = redis.call('ZRANGE', keys.NODES, 0, 1, 'WITHSCORES')

  for i = 1, #leases, 2 do
    local ends = tonumber(leases[i + 1])

    if ends < 0 then
      return clock.NOW
    elseif leases[i] ~= node and (instant == 0 or ends + 1 < instant) then
      instant = ends + 1
    end
  end

  for _, key in ipairs({keys.DUE, keys.EXPIRING}) do
    local first = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])

    if first and (instant == 0 or first < instant) then
      instant = first
    end
  end

  return math.min(instant, nodes.LATEST)
end

function nodes.crash(id, run, node)
  local times = {}

  for at in string.gmatch(run.crash_times or '', '%d+') do
    if clock.NOW - tonumber(at) < POISON_WINDOW_MS then
      times[#times + 1] = at
    end
  end

  times[#times + 1] = clock.digits(clock.NOW)
  redis.call('HSET', keys.run(id), 'crash_times', table.concat(times, ' '), 'crashes', #times)

  if #times < POISON_CRASHES then
    moves.return_run(id, run)
  else
    local known = records.pick(keys.node(node), {'failed_ttl_ms'})
    local ttl_ms = records.whole(known and known.failed_ttl_ms) or 0
    moves.add_error(id, POISON_ERROR)
    moves.finish(id, run, 'failed', ttl_ms > 0 and ttl_ms)
  end
end

-- Takes a share of the runs of a lost node from it; the last share takes what is left of the node.
function nodes.empty(node, crashed)
  for _, id in ipairs(redis.call('ZRANGE', keys.held(node), 0, nodes.MOST_RETURNED - 1)) do
    local run, reason = records.pick_run(id)

    if not run then
      places.lose_hold(node, id)
      records.quarantine('run', id, reason or 'it is gone')
    elseif run.status ~= 'running' or run.node ~= node then
      redis.call('ZREM', keys.held(node), id)
    else
      redis.call('HSET', keys.run(id), 'taken', run.token or 0)

      if crashed and not run.cancel_requested then
        nodes.crash(id, run, node)
      else
        moves.return_run(id, run)
      end
    end
  end

  places.place_all()

  if redis.call('EXISTS', keys.held(node)) == 0 then
    redis.call('ZREM', keys.NODES, node)
    redis.call('DEL', keys.node(node), keys.jobs(node), keys.cancel(node))
  end
end

-- Ends the life of a node. How its runs come back is kept for the shares that follow.
function nodes.lose(node, crashed)
  places.place_all()
  hints.satisfy(node)

  if redis.call('TYPE', keys.node(node)).ok ~= 'hash' then
    redis.call('DEL', keys.node(node))
  end

  redis.call('HSET', keys.node(node), 'lost', crashed and 'crashed' or 'left')

  redis.call('ZADD', keys.NODES, clock.in_order() - nodes.LOST_RANK, node)
  nodes.pass_on_watch(node)
  nodes.empty(node, crashed)
end
