-- Settle outcomes and claim what is next.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the node
-- ARGV[2]  outcomes: msgpack, an array of arrays as OUTCOME names their places
-- ARGV[3]  the claim: msgpack, an array as CLAIM names its places; empty: none
--
-- Returns  a WorkReply as msgpack
--
-- include: relief
-- include: nodes
-- include: tokens

local MOST_PASSED_OVER = 200
local CLAIMS_REMEMBERED = 8
local MOST_TOMBSTONES = 16
local TOMBSTONE_MS = 10000

local node = ARGV[1]

-- --- settling -------------------------------------------------------------------------------------------------

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

local function apply(id, run, kind, outcome)
  if kind == 'succeeded' or kind == 'failed' or kind == 'cancelled' then
    moves.finish(id, run, kind, outcome[OUTCOME.ttl_ms], kind == 'succeeded' and outcome[OUTCOME.result])
  elseif run.cancel_requested then
    moves.finish(id, run, 'cancelled', outcome[OUTCOME.ttl_ms])
  elseif kind == 'retry' then
    moves.postpone(id, run, 'retrying', clock.NOW + outcome[OUTCOME.delay_ms])
  elseif kind == 'snooze' then
    redis.call('HSET', keys.run(id), 'attempt', run.attempt - 1)
    moves.postpone(id, run, 'scheduled', clock.NOW + outcome[OUTCOME.delay_ms])
  else
    moves.return_run(id, run)
  end
end

local ttl_texts = {}

-- How long a final record is kept, as a text: it is the same for most.
local function ttl_text(ttl_ms)
  local text = ttl_texts[ttl_ms]

  if not text then
    text = clock.digits(math.max(ttl_ms, moves.SHORTEST_TTL_MS))
    ttl_texts[ttl_ms] = text
  end

  return text
end

-- The common case: a success that nothing else hangs on.
local function succeed(id, key, held_by, job, outcome)
  local result = outcome[OUTCOME.result]
  places.take_from_node(id, held_by, job)

  if result ~= '' then
    redis.call('HSET', key, 'status', 'succeeded', 'finished_ms', clock.NOW_TEXT, 'node', '', 'result', result)
  else
    redis.call('HSET', key, 'status', 'succeeded', 'finished_ms', clock.NOW_TEXT, 'node', '')
  end

  redis.call('PEXPIRE', key, ttl_text(outcome[OUTCOME.ttl_ms]))
  places.append(places.ended, 'succeeded', id)
end

-- Takes a run from this node whose record cannot be read any more.
local function lose_hold(id, job)
  redis.call('ZREM', keys.held(node), id)

  if job then
    redis.call('SREM', keys.live(job), id)
  end
end

local function settle(outcome)
  local id, token, kind = outcome[OUTCOME.run_id], outcome[OUTCOME.token], outcome[OUTCOME.kind]
  local key = keys.run(id)
  local run = redis.pcall(
    'HMGET', key, 'status', 'token', 'node', 'job', 'key', 'entry_id', 'watch', 'cancel_requested'
  )

  if run.err then
    lose_hold(id)
    records.quarantine('run', id, 'not a hash')
    return false
  end

  if run[1] ~= 'running' or tonumber(run[2]) ~= token then
    return was_settled(id, run[1], run[2], token)
  end

  if
    kind == 'succeeded' and outcome[OUTCOME.error] == '' and run[3] and run[4]
    and not (run[5] or run[6] or run[7] or run[8])
  then
    succeed(id, key, run[3], run[4], outcome)
    return true
  end

  local whole, reason = records.pick_run(id)

  if not whole then
    lose_hold(id, run[4])
    records.quarantine('run', id, reason)
    return false
  end

  if kind ~= 'succeeded' and kind ~= 'cancelled' then
    note_settled(id, token)
  end

  moves.add_error(id, outcome[OUTCOME.error])
  apply(id, whole, kind, outcome)
  return true
end

-- --- claiming -------------------------------------------------------------------------------------------------

local known_jobs = {}
local running_of = {}
local nobody_knows = {}
local claimed = {}
local held = {}
local slots = {}

local function knows(job)
  if known_jobs[job] == nil then
    known_jobs[job] = redis.call('SISMEMBER', keys.jobs(node), job) == 1
  end

  return known_jobs[job]
end

-- How many of a job are running. One that does not run any more (its record was lost) gives its slot back.
local function count_running(job)
  if not running_of[job] then
    local one = redis.call('SRANDMEMBER', keys.live(job))

    if one then
      local status = redis.pcall('HGET', keys.run(one), 'status')

      if status ~= 'running' then
        redis.call('SREM', keys.live(job), one)
      end
    end

    running_of[job] = redis.call('SCARD', keys.live(job))
  end

  return running_of[job]
end

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
    if bucket.queue == queue and knows(bucket.job) then
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

local function bring_back(queues, limits)
  local left = nodes.MOST_RETURNED

  for _, queue in ipairs(queues) do
    for _, bucket in ipairs(takeable(queue)) do
      local limit = bucket.reason == 'limit' and limits[bucket.job]
      local most = limit and math.min(left, limit - count_running(bucket.job)) or left

      if most > 0 then
        left = left - bring_back_from(bucket, most)
      end
    end
  end
end

local function start(id, key, run)
  local token = tokens.next()
  local token_text = clock.digits(token)
  local attempt = run.attempt + 1

  redis.call(
    'HSET', key, 'status', 'running', 'attempt', tostring(attempt), 'token', token_text, 'node', node,
    'started_ms', clock.NOW_TEXT
  )

  if run.progress then
    redis.call('HDEL', key, 'progress', 'progress_message')
  end

  if run.expires_at_ms and not run.started_ms then
    redis.call('ZREM', keys.EXPIRING, id)
  end

  local count = #held
  held[count + 1], held[count + 2] = token_text, id
  places.append(slots, run.job, id)

  if places.freed[run.job] then
    places.freed[run.job] = places.freed[run.job] - 1
  end

  if running_of[run.job] then
    running_of[run.job] = running_of[run.job] + 1
  end

  run.id, run.token, run.attempt = id, token, attempt
  run.errors, run.result = nil, nil
  claimed[#claimed + 1] = run
end

-- Claims a run that was just popped from its queue, or finds out why not.
local function consider(id, place, queue, limits)
  local key = keys.run(id)
  local run, reason = records.read_run(id, key)

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
  elseif not knows(run.job) then
    places.put_aside(id, run, 'unknown', place)
    local name = places.bucket_of('unknown', queue, run.job)

    if not nobody_knows[name] and not hints.wake_who_knows(queue, run.job) then
      nobody_knows[name] = true
    end
  elseif limits[run.job] and count_running(run.job) >= limits[run.job] then
    places.put_aside(id, run, 'limit', place)
  else
    start(id, key, run)
  end
end

-- Claims from one queue; how many more runs may be looked at in this call.
local function claim_from(queue, count, limits, looks)
  while #claimed < count and looks > 0 do
    local popped = redis.call('ZPOPMIN', keys.ready(queue), math.min(count - #claimed, looks))

    if #popped == 0 then
      break
    end

    places.drained[queue] = true

    for i = 1, #popped, 2 do
      looks = looks - 1
      consider(popped[i], popped[i + 1], queue, limits)
    end

    places.place_all()
  end

  return looks
end

local function open_queues(queues)
  local open = {}

  if #queues == 0 then
    return open
  end

  for i, paused in ipairs(redis.call('SMISMEMBER', keys.PAUSED, unpack(queues))) do
    if paused == 0 then
      open[#open + 1] = queues[i]
    end
  end

  return open
end

-- The node wants nothing for now: others are woken for what it may have been woken for.
local function decline(queues)
  hints.satisfy(node)

  for _, queue in ipairs(queues) do
    hints.wake(queue, redis.call('ZCARD', keys.ready(queue)))
  end
end

-- Whether the claim was filled.
local function claim_new(claim)
  local count, limits = claim[CLAIM.count], claim[CLAIM.limits]
  local queues = open_queues(claim[CLAIM.queues])
  local looks = count + MOST_PASSED_OVER

  if count == 0 then
    decline(queues)
    return true
  end

  if redis.call('EXISTS', keys.ASIDES) == 1 then
    bring_back(queues, limits)
  end

  for _, queue in ipairs(queues) do
    if #claimed >= count then
      break
    end

    looks = claim_from(queue, count, limits, looks)
  end

  if #claimed > 0 then
    tokens.store()
    records.in_chunks('ZADD', keys.held(node), held)

    for job, ids in pairs(slots) do
      records.in_chunks('SADD', keys.live(job), ids)
    end
  end

  return #claimed >= count or looks <= 0
end

-- Claims again what an earlier command with the same number has claimed; whether that was filled.
local function claim_again(slot)
  local well, memo = pcall(cmsgpack.unpack, redis.call('HGET', keys.node(node), 'claim' .. slot) or '')
  local filled, given, ids = unpack(well and type(memo) == 'table' and memo or {})

  -- What cannot be read was nothing: what it gave comes back when the lease has ended.
  if type(given) ~= 'table' or type(ids) ~= 'table' then
    return false
  end

  for i, id in ipairs(ids) do
    local run = records.read_run(id)

    if run and run.status == 'running' and run.token == given[i] then
      run.id, run.errors, run.result = id, nil, nil
      claimed[#claimed + 1] = run
    end
  end

  return filled
end

local function remember_claim(slot, number, filled)
  local given, ids = {}, {}

  for i, run in ipairs(claimed) do
    given[i], ids[i] = run.token, run.id
  end

  redis.call(
    'HSET', keys.node(node), 'number' .. slot, number, 'claim' .. slot, cmsgpack.pack({filled, given, ids})
  )
end

-- Claims anew only with a number greater than the last in its slot, which never falls: whatever was claimed once is
-- known again or too late. Whether it was filled; nil if it is too late.
local function claim_once(claim, slot, last)
  local number = claim[CLAIM.number]

  if number == last then
    return claim_again(slot)
  elseif number < last then
    return nil
  end

  local filled = claim_new(claim)
  remember_claim(slot, number, filled)
  return filled
end

local function be_hungry(claim)
  local since, queues = clock.in_order(), claim[CLAIM.queues]
  redis.call('HSET', keys.node(node), 'hungry', cmsgpack.pack({queues, claim[CLAIM.takes] and claim[CLAIM.limits]}))
  redis.call('ZADD', keys.HUNGRY, since, node)
  redis.call('SET', keys.LOOKOUT, node)
  places.sooner = nil

  for _, queue in ipairs(queues) do
    redis.call('ZADD', keys.hungry(queue), since, node)
  end
end

-- --- all of it ------------------------------------------------------------------------------------------------

local settled = {}

for i, outcome in ipairs(cmsgpack.unpack(ARGV[2])) do
  settled[i] = settle(outcome)
end

places.place_all()
nodes.tidy(node)
places.place_all()

local claim, slot, numbered

if ARGV[3] ~= '' then
  claim = cmsgpack.unpack(ARGV[3])
  slot = claim[CLAIM.number] % CLAIMS_REMEMBERED
  numbered = 'number' .. slot
end

local known = records.pick(keys.node(node), {'lost', 'ttl_ms', 'hungry', numbered})
local is_known = known ~= nil and known.ttl_ms ~= nil and known.lost == nil
local filled, next_due_ms = false, 0

if claim and is_known then
  filled = claim_once(claim, slot, records.whole(known[numbered]) or -1)
  places.place_all()

  if filled ~= nil and known.hungry then
    hints.satisfy(node)
  end

  if filled then
    nodes.pass_on_watch(node)
  elseif filled == false then
    be_hungry(claim)
    next_due_ms = nodes.next_look(node)
  end
end

places.conclude()
return cmsgpack.pack({
  now_ms = clock.NOW, settled = settled, runs = claimed, known = is_known, more = filled ~= false,
  next_due_ms = next_due_ms, corrupt = records.corrupt, lost = nodes.lost, expired = nodes.expired,
})
