-- Store runs.
--
-- KEYS[1]  the prefix
-- ARGV[1]  runs: msgpack, an array of arrays as NEW_RUN names their places
--
-- Returns  for each that was not made, its number (from 0) and the id that stands for it: msgpack, an array of pairs
--
-- include: storing

local runs = cmsgpack.unpack(ARGV[1])
local found = {}
local stored = 0

for first = 1, #runs, 4000 do
  local names = {}

  for i = first, math.min(first + 3999, #runs) do
    names[#names + 1] = keys.run(runs[i][NEW_RUN.id])
  end

  stored = stored + redis.call('EXISTS', unpack(names))
end

-- An id twice in one batch is not stored before, so it is looked for as well.
local made = {}

for i, new in ipairs(runs) do
  local id, key = new[NEW_RUN.id], new[NEW_RUN.key]

  if made[id] or (stored > 0 and redis.call('EXISTS', keys.run(id)) == 1) then
    found[#found + 1] = {i - 1, id}
  else
    local standing = key ~= '' and storing.holder_of(key)

    if standing then
      found[#found + 1] = {i - 1, standing}
    else
      storing.store(new, new[NEW_RUN.entry_id], false)
      made[id] = true
    end
  end
end

places.conclude()
return cmsgpack.pack(found)
