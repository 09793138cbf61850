-- Where runs are found by their status: ready runs in their queue or, if nobody may claim them, set aside; scheduled
-- and retrying ones in the due times; running ones with their node; final ones in the lists of the newest.
-- Changes are collected here and made by place_all(), one command for many runs.
-- include: hints
-- include: fields
-- include: rank

local places = {
  LISTED = 1000,
  LISTED_SLACK = 500,

  becoming = {},    -- runs that become ready, in order: id, queue, priority, whether to the front, id, ...
  later = {},       -- due_ms, id, due_ms, id, ...
  earliest = false, -- the first of these and its queue: {due_ms, queue}
  unheld = {},      -- node -> ids
  unslotted = {},   -- job -> ids
  ended = {},       -- final status -> ids
  made_ready = {},  -- queue -> how many
  known_buckets = false,
  drained = {},     -- queues from which ready runs were taken
  freed = {},       -- job -> how many slots have become free, less those that were used again
  sooner = false,   -- the queue of a run whose due time is now the earliest of all
}

-- The list of that name, made if there is none.
function places.list_of(lists, name)
  local list = lists[name]

  if not list then
    list = {}
    lists[name] = list
  end

  return list
end

function places.append(lists, name, item)
  local list = places.list_of(lists, name)
  list[#list + 1] = item
end

-- Notes that these have ended.
function places.end_all(status, ids)
  local known = places.ended[status]

  if not known then
    places.ended[status] = ids
    return
  end

  for _, id in ipairs(ids) do
    known[#known + 1] = id
  end
end

-- --- the end of an operation ----------------------------------------------------------------------------------

function places.place_all()
  if #places.becoming > 0 then
    places.place_becoming()
  end

  if places.earliest then
    places.place_later()
  end

  for node, ids in pairs(places.unheld) do
    records.in_chunks('ZREM', keys.held(node), ids)
    places.unheld[node] = nil
  end

  for job, ids in pairs(places.unslotted) do
    records.in_chunks('SREM', keys.live(job), ids)
    places.unslotted[job] = nil
  end
end

-- --- the end of an operation ----------------------------------------------------------------------------------

function places.list_ended()
  for status, ids in pairs(places.ended) do
    records.write('HINCRBY', keys.TOTALS, status, #ids)

    if status == 'failed' then
      places.forget_failed(2 * #ids) -- so that these become fewer, however fast they come
    else
      local length = 0
      local ended_at = clock.digits(clock.NOW) .. ' '

      -- With the instant: an id may end again, when its record has gone and it was used anew.
      for i, id in ipairs(ids) do
        ids[i] = ended_at .. id
      end

      for first = 1, #ids, 4000 do
        length = records.write('LPUSH', keys.finished(status), unpack(ids, first, math.min(first + 3999, #ids)))
      end

      if length > places.LISTED + places.LISTED_SLACK then
        redis.call('LTRIM', keys.finished(status), 0, places.LISTED - 1)
      end
    end
  end

  places.ended = {}
end

function places.wake_for_slots()
  if next(places.freed) == nil or redis.call('EXISTS', keys.ASIDES) == 0 then
    return
  end

  for _, bucket in ipairs(places.buckets()) do
    if bucket.reason == 'limit' and (places.freed[bucket.job] or 0) > 0 then
      hints.wake_from(keys.hungry(bucket.queue), 1)
    end
  end
end

-- Puts everything in its place and wakes whom it concerns. The last thing that an operation does.
function places.conclude()
  places.place_all()
  places.list_ended()

  for queue, count in pairs(places.made_ready) do
    -- What became ready and is ready no more is nobody's concern.
    hints.wake(queue, places.drained[queue] and math.min(count, redis.call('ZCARD', keys.ready(queue))) or count)
  end

  places.wake_for_slots()

  if places.sooner then
    hints.wake_for_instant(places.sooner)
  end

  hints.send_done()
end

-- lazily: places

-- Takes failed runs whose record has gone off the list, so many at most.
function places.forget_failed(most)
  local ids = redis.call('ZRANGEBYSCORE', keys.FAILED_UNTIL, '-inf', clock.NOW, 'LIMIT', 0, most)
  records.in_chunks('ZREM', keys.FAILED, ids)
  records.in_chunks('ZREM', keys.FAILED_UNTIL, ids)
end

function places.make_ready(id, run, front)
  local becoming, queue = places.becoming, run.queue
  local count = #becoming
  becoming[count + 1], becoming[count + 2], becoming[count + 3] = id, queue, run.priority
  becoming[count + 4] = front or false
  places.made_ready[queue] = (places.made_ready[queue] or 0) + 1
end

function places.make_due(id, run, due_ms)
  places.later[#places.later + 1] = due_ms
  places.later[#places.later + 1] = id

  if not places.earliest or due_ms < places.earliest[1] then
    places.earliest = {due_ms, run.queue}
  end
end

-- Takes a running run from its node, and frees its slot.
function places.take_from_node(id, node, job)
  places.append(places.unheld, node, id)
  places.append(places.unslotted, job, id)
  places.freed[job] = (places.freed[job] or 0) + 1
end

-- Takes a run from a node that has it, and frees its slot, when its record is gone or cannot be read. job: if it is
-- known; else it is looked for among the jobs of the node.
function places.lose_hold(node, id, job)
  local claim = seals.read_claim(redis.call('HGET', keys.RUNNING, id) or '')
  redis.call('ZREM', keys.held(node), id)
  redis.call('ZREM', keys.cancel(node), id)

  if claim and claim.node == node then
    redis.call('HDEL', keys.RUNNING, id)
    job = claim.job
  end

  for _, name in ipairs(job and {job} or redis.call('SMEMBERS', keys.jobs(node))) do
    if redis.call('SREM', keys.live(name), id) == 1 then
      places.freed[name] = (places.freed[name] or 0) + 1
    end
  end
end

-- So many places in the queues, after all that were given before; the one before the first of them.
function places.take(count)
  local last = redis.pcall('INCRBY', keys.SEQUENCE, count)

  if type(last) == 'number' then
    return last - count
  end

  -- What was given before cannot be read any more. There were not as many as there are milliseconds since 1970.
  redis.call('SET', keys.SEQUENCE, clock.digits(clock.NOW))
  return redis.call('INCRBY', keys.SEQUENCE, count) - count
end

function places.place_becoming()
  local becoming = places.becoming
  local fresh = 0

  for i = 4, #becoming, 4 do
    if not becoming[i] then
      fresh = fresh + 1
    end
  end

  local sequence = fresh > 0 and places.take(fresh)
  local queues = {}

  for i = 1, #becoming, 4 do
    local queue, place = becoming[i + 1], -becoming[i + 2] * RANK

    if not becoming[i + 3] then
      sequence = sequence + 1
      place = place + sequence
    end

    local list = queues[queue]

    if not list then
      list = {}
      queues[queue] = list
    end

    local count = #list
    list[count + 1], list[count + 2] = place, becoming[i]
  end

  for queue, list in pairs(queues) do
    records.in_chunks('ZADD', keys.ready(queue), list)
  end

  places.becoming = {}
end

function places.place_later()
  local first = redis.call('ZRANGE', keys.DUE, 0, 0, 'WITHSCORES')

  if not first[2] or places.earliest[1] < tonumber(first[2]) then
    places.sooner = places.earliest[2]
  end

  records.in_chunks('ZADD', keys.DUE, places.later)
  places.later, places.earliest = {}, false
end

-- --- set aside ------------------------------------------------------------------------------------------------

-- A bucket holds what is set aside of one job in one queue for one reason.
function places.bucket_of(reason, queue, job) return reason .. ' ' .. #queue .. ' ' .. queue .. job end

-- What a bucket's name says; nil if it is none.
function places.parse_bucket(bucket)
  local reason, length, rest = string.match(bucket, '^(%a+) (%d+) (.*)$')
  length = tonumber(length)

  if not length then
    return nil
  end

  return {name = bucket, reason = reason, queue = string.sub(rest, 1, length), job = string.sub(rest, length + 1)}
end

-- All buckets there are; as many as there are jobs in queues, at the most.
function places.buckets()
  if not places.known_buckets then
    places.known_buckets = {}
    local flat = redis.call('ZRANGE', keys.ASIDES, 0, -1, 'WITHSCORES')

    for i = 1, #flat, 2 do
      local bucket = places.parse_bucket(flat[i])

      if bucket then
        bucket.since = records.whole(flat[i + 1]) or clock.NOW
        places.known_buckets[#places.known_buckets + 1] = bucket
      end
    end
  end

  return places.known_buckets
end

-- Takes a run that was just popped from its queue out of reach; it keeps its place there.
function places.put_aside(id, run, reason, place)
  local name = places.bucket_of(reason, run.queue, run.job)
  local since = clock.NOW

  for _, bucket in ipairs(places.buckets()) do
    if bucket.reason == reason and bucket.job == run.job then
      since = math.min(since, bucket.since)
    end
  end

  redis.call('HSET', keys.run(id), 'set_aside', reason)
  redis.call('ZADD', keys.aside(name), place, id)

  if redis.call('ZADD', keys.ASIDES, 'NX', since, name) == 1 then
    places.known_buckets = false
  end
end

-- Takes a run out of its bucket, whatever has become of its record.
function places.leave_bucket(name, id)
  redis.call('ZREM', keys.aside(name), id)

  if redis.call('EXISTS', keys.aside(name)) == 0 then
    redis.call('ZREM', keys.ASIDES, name)
    places.known_buckets = false
  end
end

function places.end_aside(id, run)
  places.leave_bucket(places.bucket_of(run.set_aside, run.queue, run.job), id)
  redis.call('HDEL', keys.run(id), 'set_aside')
  run.set_aside = nil
end
