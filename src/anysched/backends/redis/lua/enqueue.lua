-- Store runs.
--
-- KEYS[1]  the prefix
-- ARGV[1]  runs: msgpack, an array of groups. A group is a pair: an array as NEW_RUN names its places, of what its runs
--          share, and an array of what they do not: id, payload, id, payload, ...
--          With more than one argument, they are one run as it is to be stored: see alone.lua.
--
-- Returns  for each that was not made, its number (from 0) and the id that stands for it: msgpack, an array of pairs
--
-- include: alone
-- include: storing

local names = {}

for _, group in ipairs(groups) do
  local list = group[2]

  for i = 1, #list, 2 do
    names[#names + 1] = keys.run(list[i])
  end
end

local stored = 0

for first = 1, #names, 4000 do
  stored = stored + redis.call('EXISTS', unpack(names, first, math.min(first + 3999, #names)))
end

-- An id twice in one batch is not stored before, so it is looked for as well.
local made = {}
local found = {}
local number = 0

for _, group in ipairs(groups) do
  local new, list = group[1], group[2]
  local key = new[NEW_RUN.key]
  local plan = storing.plan(new, new[NEW_RUN.entry_id], false)

  for i = 1, #list, 2 do
    local id = list[i]
    number = number + 1

    if made[id] or (stored > 0 and redis.call('EXISTS', names[number]) == 1) then
      found[#found + 1] = {number - 1, id}
    else
      local standing = key ~= '' and storing.holder_of(key)

      if standing then
        found[#found + 1] = {number - 1, standing}
      else
        storing.store_as(plan, id, names[number], list[i + 1])
        made[id] = true
      end
    end
  end
end

storing.store_sealed()
places.conclude()
return cmsgpack.pack(found)
