-- Store an entry, or replace its rule.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry: msgpack, an array as ENTRY names its places
-- ARGV[2]  1: replace one of that id
-- ARGV[3]  the nonce
--
-- Returns  1; 0 if the id exists and is not to be replaced
--
-- include: rules
-- include: memos

if recall('put:' .. ARGV[3]) then
  return 1
end

local new = cmsgpack.unpack(ARGV[1])
local known = known_entry(new[ENTRY.id])

if not known then
  add_entry(new, new[ENTRY.declared])
elseif ARGV[2] == '1' then
  change_entry(new, new[ENTRY.declared], known.status)
else
  return 0
end

memorise('put:' .. ARGV[3], '1')
return 1
