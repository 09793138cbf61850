-- The records of runs.
--
-- KEYS[1]  the prefix
-- ARGV     the ids
--
-- Returns  for each: msgpack (see shared/showing.lua), or nil
--
-- include: moves
-- include: showing

moves.expire_each(ARGV)
places.conclude()
local shown = {}

for i, id in ipairs(ARGV) do
  shown[i] = showing.show(id) or false
end

return shown
