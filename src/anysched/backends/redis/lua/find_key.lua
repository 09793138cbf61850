-- The live run that goes by a key.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the key
--
-- Returns  its id, or nil
--
-- include: storing

local id = storing.holder_of(ARGV[1])
places.conclude()
return id or false
