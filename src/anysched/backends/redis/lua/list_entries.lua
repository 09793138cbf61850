-- A page of entries, by id.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the id after which the page begins; empty: from the beginning
-- ARGV[2]  the limit
--
-- Returns  {the cursor for the next page, empty at the end; msgpack of each (see shared/telling.lua) ...}
--
-- include: telling

local limit = math.max(tonumber(ARGV[2]), 1)
local after = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local ids = redis.call('ZRANGEBYLEX', keys.ENTRY_IDS, after, '+', 'LIMIT', 0, limit + 1)
local page = {#ids > limit and ids[limit] or ''}

for i = 1, math.min(#ids, limit) do
  page[#page + 1] = telling.show(ids[i]) or cmsgpack.pack({id = ids[i], corrupt = 'it is gone'})
end

return page
