-- Every queue that a run was put into or that is paused.
--
-- KEYS[1]  the prefix
--
-- Returns  QueueRecords as msgpack, an array of objects, in no order: Lua would sort by the locale of the server
--
-- include: keys

local queues = redis.call('SUNION', keys.QUEUES, keys.PAUSED)
local shown = {}

for i, queue in ipairs(queues) do
  shown[i] = {
    name = queue,
    ready = redis.call('ZCARD', keys.ready(queue)),
    paused = redis.call('SISMEMBER', keys.PAUSED, queue) == 1,
  }
end

return cmsgpack.pack(shown)
