-- Where runs are found by their status: ready runs in their queue or, if nobody may claim them, set aside; scheduled
-- and retrying ones in the due times; running ones with their node; final ones in the lists of the newest.
-- Changes are collected here and made by place_all(), one command for many runs.
-- include: hints

-- A queue is ordered by -priority * RANK + sequence.
local RANK = 17592186044416
local LISTED = 1000
local LISTED_SLACK = 500

local becoming = {}    -- runs that become ready, in order: {id, queue, priority, whether to the front}
local later = {}       -- due_ms, id, due_ms, id, ...
local unheld = {}      -- node -> ids
local unslotted = {}   -- job -> ids
local ended = {}       -- final status -> ids
local made_ready = {}  -- queue -> how many
local drained = {}     -- queues from which ready runs were taken
local freed = {}       -- job -> how many slots have become free, less those that were used again
local earliest, sooner -- the earliest of `later`, and its queue; the queue of one that is now the earliest of all

local function append(lists, name, item)
  local list = lists[name]

  if list then
    list[#list + 1] = item
  else
    lists[name] = {item}
  end
end

local function make_ready(id, run, front)
  becoming[#becoming + 1] = {id, run.queue, run.priority, front}
  made_ready[run.queue] = (made_ready[run.queue] or 0) + 1
end

local function make_due(id, run, due_ms)
  later[#later + 1] = due_ms
  later[#later + 1] = id

  if not earliest or due_ms < earliest[1] then
    earliest = {due_ms, run.queue}
  end
end

-- Takes a running run from its node, and frees its slot.
local function take_from_node(id, node, job)
  append(unheld, node, id)
  append(unslotted, job, id)
  freed[job] = (freed[job] or 0) + 1
end

local function place_becoming()
  local fresh = 0

  for _, item in ipairs(becoming) do
    if not item[4] then
      fresh = fresh + 1
    end
  end

  local sequence = fresh > 0 and redis.call('INCRBY', SEQUENCE, fresh) - fresh
  local queues = {}

  for _, item in ipairs(becoming) do
    local place = -item[3] * RANK

    if not item[4] then
      sequence = sequence + 1
      place = place + sequence
    end

    append(queues, item[2], place)
    append(queues, item[2], item[1])
  end

  for queue, list in pairs(queues) do
    in_chunks('ZADD', ready_key(queue), list)
  end

  becoming = {}
end

local function place_later()
  local first = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')

  if not first[2] or earliest[1] < tonumber(first[2]) then
    sooner = earliest[2]
  end

  in_chunks('ZADD', DUE, later)
  later, earliest = {}, nil
end

local function place_all()
  if #becoming > 0 then
    place_becoming()
  end

  if earliest then
    place_later()
  end

  for node, ids in pairs(unheld) do
    in_chunks('ZREM', held_key(node), ids)
    unheld[node] = nil
  end

  for job, ids in pairs(unslotted) do
    in_chunks('SREM', live_key(job), ids)
    unslotted[job] = nil
  end
end

local function list_ended()
  for status, ids in pairs(ended) do
    redis.call('HINCRBY', TOTALS, status, #ids)

    if status ~= 'failed' then
      local length = 0

      for first = 1, #ids, 4000 do
        length = redis.call('LPUSH', finished_key(status), unpack(ids, first, math.min(first + 3999, #ids)))
      end

      if length > LISTED + LISTED_SLACK then
        redis.call('LTRIM', finished_key(status), 0, LISTED - 1)
      end
    end
  end

  ended = {}
end

-- --- set aside ------------------------------------------------------------------------------------------------

-- A bucket holds what is set aside of one job in one queue for one reason.
local function bucket_of(reason, queue, job) return reason .. ' ' .. #queue .. ' ' .. queue .. job end

local function parse_bucket(bucket)
  local reason, length, rest = string.match(bucket, '^(%a+) (%d+) (.*)$')
  length = tonumber(length)
  return {name = bucket, reason = reason, queue = string.sub(rest, 1, length), job = string.sub(rest, length + 1)}
end

local known_buckets

-- All buckets there are; as many as there are jobs in queues, at the most.
local function buckets()
  if not known_buckets then
    known_buckets = {}
    local flat = redis.call('ZRANGE', ASIDES, 0, -1, 'WITHSCORES')

    for i = 1, #flat, 2 do
      local bucket = parse_bucket(flat[i])
      bucket.since = tonumber(flat[i + 1])
      known_buckets[#known_buckets + 1] = bucket
    end
  end

  return known_buckets
end

-- Takes a run that was just popped from its queue out of reach; it keeps its place there.
local function put_aside(id, run, reason, place)
  local name = bucket_of(reason, run.queue, run.job)
  local since = NOW

  for _, bucket in ipairs(buckets()) do
    if bucket.reason == reason and bucket.job == run.job then
      since = math.min(since, bucket.since)
    end
  end

  redis.call('HSET', run_key(id), 'set_aside', reason)
  redis.call('ZADD', aside_key(name), place, id)

  if redis.call('ZADD', ASIDES, 'NX', since, name) == 1 then
    known_buckets = nil
  end
end

local function end_aside(id, run)
  local name = bucket_of(run.set_aside, run.queue, run.job)
  redis.call('HDEL', run_key(id), 'set_aside')
  redis.call('ZREM', aside_key(name), id)

  if redis.call('EXISTS', aside_key(name)) == 0 then
    redis.call('ZREM', ASIDES, name)
    known_buckets = nil
  end

  run.set_aside = nil
end

-- --- the end of an operation ----------------------------------------------------------------------------------

local function wake_for_slots()
  if next(freed) == nil or redis.call('EXISTS', ASIDES) == 0 then
    return
  end

  for _, bucket in ipairs(buckets()) do
    if bucket.reason == 'limit' and (freed[bucket.job] or 0) > 0 then
      wake_from(hungry_key(bucket.queue), 1)
    end
  end
end

-- Puts everything in its place and wakes whom it concerns. The last thing that an operation does.
local function conclude()
  place_all()
  list_ended()

  for queue, count in pairs(made_ready) do
    -- What became ready and is ready no more is nobody's concern.
    wake(queue, drained[queue] and math.min(count, redis.call('ZCARD', ready_key(queue))) or count)
  end

  wake_for_slots()

  if sooner then
    wake_for_instant(sooner)
  end

  send_done()
end
