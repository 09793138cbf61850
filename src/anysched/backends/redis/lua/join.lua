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
  'HSET', node_key(id), 'ttl_ms', node[NODE.ttl_ms], 'program', node[NODE.program], 'facts', node[NODE.facts],
  'queues', cmsgpack.pack(node[NODE.queues])
)
redis.call('DEL', jobs_key(id))
in_chunks('SADD', jobs_key(id), node[NODE.jobs])

-- A lost one stays where the rest of its runs are looked for.
if redis.call('HEXISTS', node_key(id), 'lost') == 0 then
  redis.call('ZADD', NODES, NOW + node[NODE.ttl_ms], id)
end

return NOW
