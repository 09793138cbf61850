-- Extend the lease of a node, and with it that of every run it holds; and do a share of housekeeping.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the node
-- ARGV[2]  milliseconds from now
--
-- Returns  a Renewed as msgpack
--
-- include: relief
-- include: nodes
-- include: upkeep
-- include: programs

local node = ARGV[1]
local known = pick(node_key(node), {'lost', 'ttl_ms', 'program'})

if not known or known.lost or not known.ttl_ms then
  return cmsgpack.pack({lost = true, now_ms = NOW})
end

redis.call('ZADD', NODES, NOW + ARGV[2], node)

if known.program then
  renew_program(known.program)
end

tidy(node)
upkeep()
conclude()

return cmsgpack.pack({lost = false, now_ms = NOW, cancels = redis.call('ZRANGE', cancel_key(node), 0, -1)})
