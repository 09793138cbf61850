-- Wake-ups. A hint is a short text on a channel, its kind and the names it is about, each on a line: "work", "entries",
-- "cancel <id>", "done <id> <id> ...", "lock <name> <owner>"; "take" is followed by msgpack (see alone.lua). Those about
-- ends of runs are collected and sent once per inbox by send_done(). A hint that cannot be sent (a user without rights
-- on channels) is never an error.
-- include: records

local hints = {
  WOKEN_AT_MOST = 16,

  -- inbox ("*": every one) -> ids of watched runs that have ended.
  done = {},
}

function hints.send_done()
  for inbox, ids in pairs(hints.done) do
    local text = 'done\n' .. table.concat(ids, '\n')

    if inbox == '*' then
      hints.send_all(text)
    else
      hints.send(inbox, text)
    end
  end

  hints.done = {}
end

-- lazily: hints

-- How many heard it.
function hints.publish(channel, text)
  local heard = redis.pcall('PUBLISH', channel, text)

  if type(heard) == 'table' then
    return 0
  end

  return heard
end

function hints.send(inbox, text) return hints.publish(keys.inbox(inbox), text) end

function hints.send_all(text) hints.publish(keys.HINTS, text) end

-- Takes a node off the lists of the hungry.
function hints.satisfy(node)
  local appetite = redis.pcall('HGET', keys.node(node), 'hungry')

  if type(appetite) == 'string' then
    local well, parts = pcall(cmsgpack.unpack, appetite)
    local queues = well and type(parts) == 'table' and parts[1]

    for _, queue in ipairs(type(queues) == 'table' and queues or {}) do
      redis.call('ZREM', keys.hungry(tostring(queue)), node)
    end

    redis.call('HDEL', keys.node(node), 'hungry')
  end

  redis.call('ZREM', keys.HUNGRY, node)
end

-- Wakes a hungry node; whether its lease is good and it heard it.
function hints.wake_node(node)
  hints.satisfy(node)
  local ends = tonumber(redis.call('ZSCORE', keys.NODES, node) or 0)
  return ends >= clock.NOW and hints.send(node, 'work') > 0
end

-- Wakes up to so many of a list of hungry nodes, those who have waited longest first; how many heard it. Nodes of a
-- paused queue are left alone.
function hints.wake_from(hungry, count, queue)
  local woken = 0

  for _ = 1, hints.WOKEN_AT_MOST do
    if woken >= count then
      break
    end

    local first = redis.call('ZRANGE', hungry, 0, 0)

    if not first[1] or (queue and redis.call('SISMEMBER', keys.PAUSED, queue) == 1) then
      break
    end

    redis.call('ZREM', hungry, first[1])

    if hints.wake_node(first[1]) then
      woken = woken + 1
    end
  end

  return woken
end

function hints.wake(queue, count) return hints.wake_from(keys.hungry(queue), count, queue) end

-- Wakes one hungry node of the queue, or any, to be told of an instant.
function hints.wake_for_instant(queue)
  if hints.wake_from(keys.hungry(queue), 1) == 0 then
    hints.wake_from(keys.HUNGRY, 1)
  end
end

-- Wakes one hungry node of the queue that knows the job and hears it; whether there was one.
function hints.wake_who_knows(queue, job)
  for _, node in ipairs(redis.call('ZRANGE', keys.hungry(queue), 0, 99)) do
    if redis.call('SISMEMBER', keys.jobs(node), job) == 1 and hints.wake_node(node) then
      return true
    end
  end

  return false
end

-- Notes that who watches a run (an inbox, or "*") is to be told of its end.
function hints.tell_watchers(id, inbox)
  local ids = hints.done[inbox]

  if not ids then
    ids = {}
    hints.done[inbox] = ids
  end

  ids[#ids + 1] = id
end
