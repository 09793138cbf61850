-- Make a node known, or known anew.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the node: msgpack, an array as NODE names its places
--
-- Returns  the time in milliseconds
--
-- include: records

local node = cmsgpack.unpack(ARGV[1])
local id = node[NODE.id]

redis.call(
  'HSET', keys.node(id), 'ttl_ms', node[NODE.ttl_ms], 'program', node[NODE.program], 'facts', node[NODE.facts],
  'queues', cmsgpack.pack(node[NODE.queues]), 'failed_ttl_ms', node[NODE.failed_ttl_ms]
)
redis.call('DEL', keys.jobs(id))
records.in_chunks('SADD', keys.jobs(id), node[NODE.jobs])

-- A lost one stays where the rest of its runs are looked for.
if redis.call('HEXISTS', keys.node(id), 'lost') == 0 then
  redis.call('ZADD', keys.NODES, clock.NOW + node[NODE.ttl_ms], id)
end

return clock.NOW
