-- A page of runs.
--
-- KEYS[1]  the prefix
-- ARGV[1]  only of this queue; empty: of any
-- ARGV[2]  the cursor: "<status> <source> <position>"; empty: from the beginning
-- ARGV[3]  the limit
-- ARGV[4]  the statuses, in order, msgpack
--
-- Returns  {the cursor for the next page, empty at the end; msgpack of each run (see shared/showing.lua) ...}
--
-- A status is read from its sources (queues, buckets, lists), each from its newest end. A position is a rank in the
-- source; among the running ones, of which each node has its own, it is a token.
--
-- include: showing
-- include: places

local MOST_LOOKED_AT = 1000
local MOST_NODES = 1000

local wanted_queue, limit = ARGV[1], math.max(tonumber(ARGV[3]), 1)
local statuses = cmsgpack.unpack(ARGV[4])
local found = {''} -- the reply: the cursor, and what was found
local looked_at = 0

local function ready_sources()
  local queues = redis.call('SMEMBERS', keys.QUEUES)
  local sources = {}
  table.sort(queues)

  for _, queue in ipairs(queues) do
    if wanted_queue == '' or wanted_queue == queue then
      sources[#sources + 1] = {'ZREVRANGE', keys.ready(queue)}
    end
  end

  for _, bucket in ipairs(places.buckets()) do
    if wanted_queue == '' or wanted_queue == bucket.queue then
      sources[#sources + 1] = {'ZREVRANGE', keys.aside(bucket.name)}
    end
  end

  return sources
end

-- The running ones of all nodes whose token is below the position (0: any), newest first.
local function newest_running(position, count)
  local below = position > 0 and '(' .. clock.digits(position) or '+inf'
  local items = {}

  for _, node in ipairs(redis.call('ZRANGE', keys.NODES, 0, MOST_NODES - 1)) do
    local flat = redis.call(
      'ZREVRANGEBYSCORE', keys.held(node), below, '-inf', 'WITHSCORES', 'LIMIT', 0, count
    )

    for i = 1, #flat, 2 do
      items[#items + 1] = {flat[i], tonumber(flat[i + 1])}
    end
  end

  table.sort(items, function(a, b) return a[2] > b[2] end)

  -- Below the newest so many of all, those of one node that was asked for no more of its own would be passed over.
  for i = count + 1, #items do
    items[i] = nil
  end

  return items
end

local function sources_of(status)
  if status == 'ready' then
    return ready_sources()
  elseif status == 'running' then
    return {{'held'}}
  elseif status == 'scheduled' or status == 'retrying' then
    return {{'ZREVRANGE', keys.DUE}}
  elseif status == 'waiting' then
    return {{'ZREVRANGE', keys.WAITING}}
  elseif status == 'failed' then
    return {{'ZREVRANGE', keys.FAILED}}
  end

  return {{'LRANGE', keys.finished(status)}}
end

-- What comes next in a source, as {id, the position after it, when it ended if the source says so}.
local function fetch(source, position, count)
  if source[1] == 'held' then
    return newest_running(position, count)
  end

  local items = {}

  for i, id in ipairs(redis.call(source[1], source[2], position, position + count - 1)) do
    local ended_at, ended = string.match(id, '^(%d+) (.*)$')
    items[i] = source[1] == 'LRANGE' and {ended or id, position + i, ended_at} or {id, position + i}
  end

  return items
end

local function show(id, status, ended_at)
  local run, reason = records.pick(keys.run(id), {'job', 'status', 'queue', 'finished_ms'})

  if reason then
    run, reason = seals.read(id)
  end

  if reason then
    found[#found + 1] = showing.show(id)
  elseif
    run and run.job and (run.status or 'ready') == status and (not ended_at or tonumber(run.finished_ms) == tonumber(ended_at))
    and (wanted_queue == '' or (run.queue or 'default') == wanted_queue)
  then
    found[#found + 1] = showing.show(id)
  end
end

-- Reads a source until it ends or the page does; in the second case, the position to go on from.
local function read_source(source, status, position)
  while true do
    local items = fetch(source, position, limit)

    for _, item in ipairs(items) do
      if #found > limit or looked_at >= math.max(limit, MOST_LOOKED_AT) then
        return position
      end

      looked_at = looked_at + 1
      show(item[1], status, item[3])
      position = item[2]
    end

    if #items == 0 or (source[1] == 'LRANGE' and position >= places.LISTED) then
      return nil
    end
  end
end

local start_status, start_source, start_position = string.match(ARGV[2], '^(%a+) (%d+) (%d+)$')

local function page()
  local started = start_status == nil

  for _, status in ipairs(statuses) do
    local first, position = 1, 0

    if status == start_status then
      started, first, position = true, tonumber(start_source), tonumber(start_position)
    end

    if started then
      local sources = sources_of(status)

      for number = first, #sources do
        local rest = read_source(sources[number], status, number == first and position or 0)

        if rest then
          return status .. ' ' .. number .. ' ' .. clock.digits(rest)
        end
      end
    end
  end

  return ''
end

found[1] = page()
return found
