-- What is seldom met in a claim: open runs, runs that not every node may claim, a claim that comes again or stays short.
-- include: claims

local considering = {}

-- lazily: considering

local nobody_knows = {}

-- Returns runs that were set aside to their queue.
local function bring_back_from(bucket, most)
  local flat = redis.call('ZRANGE', keys.aside(bucket.name), 0, most - 1, 'WITHSCORES')

  for i = 1, #flat, 2 do
    local id = flat[i]
    local run, reason = records.pick_run(id)

    if run and run.set_aside then
      places.end_aside(id, run)
      redis.call('ZADD', keys.ready(bucket.queue), flat[i + 1], id)
    else
      places.leave_bucket(bucket.name, id)

      if not run then
        records.quarantine('run', id, reason or 'it is gone')
      end
    end
  end

  if bucket.reason == 'limit' then
    places.made_ready[bucket.queue] = (places.made_ready[bucket.queue] or 0) + #flat / 2
  end

  return #flat / 2
end

-- What is set aside in a queue and may be claimed by this node: first the unknown, each by job.
local function takeable(queue)
  local found = {}

  for _, bucket in ipairs(places.buckets()) do
    if bucket.queue == queue and claims.knows(bucket.job) then
      found[#found + 1] = bucket
    end
  end

  table.sort(found, function(a, b)
    if a.reason ~= b.reason then
      return a.reason == 'unknown'
    end

    return a.job < b.job
  end)
  return found
end

function considering.bring_back(queues, limits)
  local left = nodes.MOST_RETURNED

  for _, queue in ipairs(queues) do
    for _, bucket in ipairs(takeable(queue)) do
      local limit = bucket.reason == 'limit' and limits[bucket.job]
      local most = limit and math.min(left, limit - claims.count_running(bucket.job)) or left

      if most > 0 then
        left = left - bring_back_from(bucket, most)
      end
    end
  end
end

local function start(id, run)
  local key, token = keys.run(id), claims.hold(id, run.job)
  local attempt = run.attempt + 1

  redis.call(
    'HSET', key, 'status', 'running', 'attempt', tostring(attempt), 'token', tokens.digits(token), 'node', claims.node,
    'started_ms', clock.NOW_TEXT
  )

  if run.progress then
    redis.call('HDEL', key, 'progress', 'progress_message')
  end

  if run.expires_at_ms and not run.started_ms then
    redis.call('ZREM', keys.EXPIRING, id)
  end

  run.token, run.attempt = token, attempt
  claims.tell(id, run)
end

-- Whether as many of a job are running as may.
function considering.is_full(job, limits) return claims.count_running(job) >= limits[job] end

-- Claims a run that was just popped from its queue, or finds out why not.
function considering.consider(id, place, queue, limits)
  local run, reason = records.read_run(id)

  if not run then
    records.quarantine('run', id, reason or 'it is gone')
    return
  end

  if run.status ~= 'ready' or run.set_aside then
    return
  end

  if run.expires_at_ms and not run.started_ms and run.expires_at_ms <= clock.NOW then
    moves.finish(id, run, 'expired')
    nodes.expired = nodes.expired + 1
  elseif not claims.knows(run.job) then
    places.put_aside(id, run, 'unknown', place)
    local name = places.bucket_of('unknown', queue, run.job)

    if not nobody_knows[name] and not hints.wake_who_knows(queue, run.job) then
      nobody_knows[name] = true
    end
  elseif limits[run.job] and considering.is_full(run.job, limits) then
    places.put_aside(id, run, 'limit', place)
  else
    start(id, run)
  end
end

-- Claims each of these that were just popped from their queue, or finds out why not. texts, jobs: of sealed ones.
function considering.consider_each(ids, texts, jobs, places_given, queue, limits)
  for i, id in ipairs(ids) do
    local text, job = texts[i], jobs[i]

    if job and not (limits[job] and considering.is_full(job, limits)) then
      claims.hold_sealed({id}, {text}, {job})
    else
      if text then
        records.open_run(id)
      end

      considering.consider(id, places_given[i], queue, limits)
    end
  end
end

-- The node wants nothing for now: others are woken for what it may have been woken for.
function considering.decline(queues)
  hints.satisfy(claims.node)

  for _, queue in ipairs(queues) do
    hints.wake(queue, redis.call('ZCARD', keys.ready(queue)))
  end
end

-- Claims again what an earlier command with the same number has claimed; whether that was filled. Each record is looked
-- through: whoever asks again may not have understood the answer.
function considering.claim_again(slot)
  local well, memo = pcall(cmsgpack.unpack, redis.call('HGET', keys.node(claims.node), 'claim' .. slot) or '')
  local filled, first, last, ids = unpack(well and type(memo) == 'table' and memo or {})

  -- What cannot be read was nothing: what it gave comes back when the lease has ended.
  if type(first) ~= 'number' or type(last) ~= 'number' or type(ids) ~= 'table' then
    return false
  end

  for _, id in ipairs(ids) do
    local run, reason = records.read_run(id)

    if run and run.status == 'running' and run.token >= first and run.token <= last then
      claims.tell(id, run)
    elseif reason and redis.call('ZSCORE', keys.held(claims.node), id) then
      places.lose_hold(claims.node, id)
      records.quarantine('run', id, reason)
    end
  end

  return filled
end

-- The claim came back short: the node waits to be told of more.
function considering.be_hungry(claim)
  local since, queues = clock.in_order(), claim[CLAIM.queues]
  redis.call('HSET', keys.node(claims.node), 'hungry', cmsgpack.pack({queues, claim[CLAIM.takes] and claim[CLAIM.limits]}))
  redis.call('ZADD', keys.HUNGRY, since, claims.node)
  redis.call('SET', keys.LOOKOUT, claims.node)
  places.sooner = false

  for _, queue in ipairs(queues) do
    redis.call('ZADD', keys.hungry(queue), since, claims.node)
  end
end
