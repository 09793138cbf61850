-- Take a node off the list, and hand back what it holds.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the node
--
-- Returns  nothing
--
-- include: relief
-- include: nodes

local known = records.pick(keys.node(ARGV[1]), {'lost', 'ttl_ms'})

if known and known.ttl_ms and not known.lost then
  nodes.lose(ARGV[1], false)
  places.conclude()
end

return 1
