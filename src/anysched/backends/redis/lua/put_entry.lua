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

if memos.recall('put:' .. ARGV[3]) then
  return 1
end

local new = cmsgpack.unpack(ARGV[1])
local known = rules.find(new[ENTRY.id])

if not known or (ARGV[2] == '1' and not rules.is_sound(new[ENTRY.id])) then
  rules.add(new, new[ENTRY.declared])
elseif ARGV[2] ~= '1' then
  return 0
elseif known.revision ~= new[ENTRY.revision] then
  rules.change(new, new[ENTRY.declared], known)
else
  redis.call('HSET', keys.entry(new[ENTRY.id]), 'declared', new[ENTRY.declared] and 1 or 0)
  rules.come_back(new, known)
end

memos.memorise('put:' .. ARGV[3], '1')
return 1
