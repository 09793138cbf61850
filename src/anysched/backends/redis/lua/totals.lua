-- Counts over the namespace.
--
-- KEYS[1]  the prefix
--
-- Returns  {a Totals as msgpack, without its unknown jobs; these, as msgpack, an array of pairs}
--
-- include: places

local function count_ready()
  local total = 0

  for _, queue in ipairs(redis.call('SMEMBERS', keys.QUEUES)) do
    total = total + redis.call('ZCARD', keys.ready(queue))
  end

  return total
end

local function count_running()
  local total = 0

  for _, node in ipairs(redis.call('ZRANGE', keys.NODES, 0, -1)) do
    total = total + redis.call('ZCARD', keys.held(node))
  end

  return total
end

-- Whether a live node has the job among its own.
local function is_known(job, live_nodes)
  for _, node in ipairs(live_nodes) do
    if redis.call('SISMEMBER', keys.jobs(node), job) == 1 then
      return true
    end
  end

  return false
end

local live = redis.call('ZRANGEBYSCORE', keys.NODES, clock.digits(clock.NOW), '+inf')
local unknown = {}
local set_aside = 0

for _, bucket in ipairs(places.buckets()) do
  set_aside = set_aside + redis.call('ZCARD', keys.aside(bucket.name))

  if bucket.reason == 'unknown' and not is_known(bucket.job, live) then
    unknown[#unknown + 1] = {bucket.job, bucket.since}
  end
end

local counted = redis.call('HMGET', keys.TOTALS, 'succeeded', 'failed', 'cancelled', 'expired')

local counts = cmsgpack.pack({
  ready = count_ready() + set_aside,
  scheduled = redis.call('ZCARD', keys.DUE),
  running = count_running(),
  waiting = redis.call('ZCARD', keys.WAITING),
  failed_kept = redis.call('ZCOUNT', keys.FAILED_UNTIL, '(' .. clock.digits(clock.NOW), '+inf'),
  set_aside = set_aside,
  corrupt = redis.call('ZCARD', keys.CORRUPT),
  entries = redis.call('ZCARD', keys.ENTRY_IDS),
  active_entries = redis.call('ZCARD', keys.ENTRIES) + redis.call('ZCARD', keys.AWAITING),
  succeeded = records.whole(counted[1] or '') or 0,
  failed = records.whole(counted[2] or '') or 0,
  cancelled = records.whole(counted[3] or '') or 0,
  expired = records.whole(counted[4] or '') or 0,
})

return {counts, cmsgpack.pack(unknown)}
