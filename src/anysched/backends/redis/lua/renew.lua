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
local known = records.pick(keys.node(node), {'lost', 'ttl_ms', 'program'})

if not known or known.lost or not known.ttl_ms then
  return cmsgpack.pack({lost = true, now_ms = clock.NOW})
end

redis.call('ZADD', keys.NODES, clock.NOW + ARGV[2], node)

local has_program = known.program and known.program ~= ''
local undeclared = has_program and not programs.renew(known.program)

nodes.tidy(node)
upkeep.all()
places.conclude()

local named = redis.call('ZRANGE', keys.held(node), 0, NAMED_AT_RENEWAL - 1, 'WITHSCORES')
local held = {}

for i = 1, #named, 2 do
  held[#held + 1] = {named[i], named[i + 1]}
end

return cmsgpack.pack({
  lost = false, now_ms = clock.NOW, cancels = redis.call('ZRANGE', keys.cancel(node), 0, -1), held = held,
  undeclared = undeclared or false,
})
