-- Wake-ups. A hint is a short text on a channel, its kind and the names it is about, each on a line: "work", "entries",
-- "cancel <id>", "done <id> <id> ...", "lock <name>". Those about ends of runs are collected and sent once per inbox by
-- send_done(). A hint that cannot be sent (a user without rights on channels) is never an error.
-- include: records

local WOKEN_AT_MOST = 16

-- inbox ("*": every one) -> ids of watched runs that have ended.
local done = {}

-- How many heard it.
local function publish(channel, text)
  local heard = redis.pcall('PUBLISH', channel, text)

  if type(heard) == 'table' then
    return 0
  end

  return heard
end

local function hint(inbox, text) return publish(inbox_channel(inbox), text) end

local function hint_all(text) publish(HINTS, text) end

-- Takes a node off the lists of the hungry.
local function satisfy(node)
  local queues = redis.pcall('HGET', node_key(node), 'hungry')

  if type(queues) == 'string' then
    for _, queue in ipairs(cmsgpack.unpack(queues)) do
      redis.call('ZREM', hungry_key(queue), node)
    end

    redis.call('HDEL', node_key(node), 'hungry')
  end

  redis.call('ZREM', HUNGRY, node)
end

-- Wakes a hungry node; whether its lease is good and it heard it.
local function wake_node(node)
  satisfy(node)
  local ends = tonumber(redis.call('ZSCORE', NODES, node) or 0)
  return ends >= NOW and hint(node, 'work') > 0
end

-- Wakes up to so many of a list of hungry nodes, those who have waited longest first; how many heard it. Nodes of a
-- paused queue are left alone.
local function wake_from(hungry, count, queue)
  local woken = 0

  for _ = 1, WOKEN_AT_MOST do
    if woken >= count then
      break
    end

    local first = redis.call('ZRANGE', hungry, 0, 0)

    if not first[1] or (queue and redis.call('SISMEMBER', PAUSED, queue) == 1) then
      break
    end

    redis.call('ZREM', hungry, first[1])

    if wake_node(first[1]) then
      woken = woken + 1
    end
  end

  return woken
end

local function wake(queue, count) return wake_from(hungry_key(queue), count, queue) end

-- Wakes one hungry node of the queue, or any, to be told of an instant.
local function wake_for_instant(queue)
  if wake_from(hungry_key(queue), 1) == 0 then
    wake_from(HUNGRY, 1)
  end
end

-- Wakes one hungry node of the queue that knows the job; whether there was one.
local function wake_who_knows(queue, job)
  for _, node in ipairs(redis.call('ZRANGE', hungry_key(queue), 0, 99)) do
    if redis.call('SISMEMBER', jobs_key(node), job) == 1 then
      return wake_node(node)
    end
  end

  return false
end

-- Notes that who watches a run (an inbox, or "*") is to be told of its end.
local function tell_watchers(id, inbox)
  local ids = done[inbox]

  if not ids then
    ids = {}
    done[inbox] = ids
  end

  ids[#ids + 1] = id
end

local function send_done()
  for inbox, ids in pairs(done) do
    local text = 'done\n' .. table.concat(ids, '\n')

    if inbox == '*' then
      hint_all(text)
    else
      hint(inbox, text)
    end
  end

  done = {}
end
