-- One entry.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
--
-- Returns  msgpack (see shared/telling.lua), or nil
--
-- include: telling

return telling.show(ARGV[1]) or false
