-- Take a node off the list, and hand back what it holds.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the node
--
-- include: relief
-- include: nodes

local known = pick(node_key(ARGV[1]), {'lost', 'ttl_ms'})

if known and known.ttl_ms and not known.lost then
  lose(ARGV[1], false)
  conclude()
end

return 1
