-- Take a node off the list, and hand back what it holds.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the node
--
-- Returns  nothing
--
-- include: relief
-- include: nodes
-- include: programs

local known = records.pick(keys.node(ARGV[1]), {'lost', 'ttl_ms', 'program'})

if known and known.ttl_ms and not known.lost then
  nodes.lose(ARGV[1], false)
  places.conclude()

  if known.program and known.program ~= '' then
    programs.release(known.program)
  end
end

return 1
