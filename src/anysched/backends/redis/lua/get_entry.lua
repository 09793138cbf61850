-- One entry.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
--
-- Returns  msgpack (see shared/telling.lua), or nil
--
-- include: telling

return show_entry(ARGV[1]) or false
