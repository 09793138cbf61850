-- Counts over the namespace.
--
-- KEYS[1]  the prefix
--
-- Returns  {a Totals as msgpack, without its unknown jobs; these, as msgpack, an array of pairs}
--
-- include: places

local function sum(command, keys)
  local total = 0

  for _, key in ipairs(keys) do
    total = total + redis.call(command, key)
  end

  return total
end

local function keys_of(names, make)
  local keys = {}

  for i, name in ipairs(names) do
    keys[i] = make(name)
  end

  return keys
end

-- Whether a live node has the job among its own.
local function is_known(job, nodes)
  for _, node in ipairs(nodes) do
    if redis.call('SISMEMBER', jobs_key(node), job) == 1 then
      return true
    end
  end

  return false
end

local live = redis.call('ZRANGEBYSCORE', NODES, digits(NOW), '+inf')
local unknown = {}
local set_aside = 0

for _, bucket in ipairs(buckets()) do
  set_aside = set_aside + redis.call('ZCARD', aside_key(bucket.name))

  if bucket.reason == 'unknown' and not is_known(bucket.job, live) then
    unknown[#unknown + 1] = {bucket.job, bucket.since}
  end
end

local counted = redis.call('HMGET', TOTALS, 'succeeded', 'failed', 'cancelled', 'expired')

local counts = cmsgpack.pack({
  ready = sum('ZCARD', keys_of(redis.call('SMEMBERS', QUEUES), ready_key)) + set_aside,
  scheduled = redis.call('ZCARD', DUE),
  running = sum('ZCARD', keys_of(redis.call('ZRANGE', NODES, 0, -1), held_key)),
  waiting = redis.call('ZCARD', WAITING),
  failed_kept = redis.call('ZCOUNT', FAILED_UNTIL, '(' .. digits(NOW), '+inf'),
  set_aside = set_aside,
  corrupt = redis.call('ZCARD', CORRUPT),
  entries = redis.call('ZCARD', ENTRY_IDS),
  active_entries = redis.call('ZCARD', ENTRIES) + redis.call('ZCARD', AWAITING),
  succeeded = tonumber(counted[1]) or 0,
  failed = tonumber(counted[2]) or 0,
  cancelled = tonumber(counted[3]) or 0,
  expired = tonumber(counted[4]) or 0,
})

return {counts, cmsgpack.pack(unknown)}
