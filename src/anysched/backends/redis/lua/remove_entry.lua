-- Remove an entry; what waits in it is cancelled, what is live goes on.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
--
-- Returns  1; 0 if there is none
--
-- include: deals

local id = ARGV[1]
local was_there = redis.call('ZREM', ENTRY_IDS, id)

redis.call('ZREM', ENTRIES, id)
redis.call('ZREM', AWAITING, id)
redis.call('DEL', entry_key(id), live_of_key(id))
cancel_all(redis.call('ZRANGE', waiting_of_key(id), 0, -1))
redis.call('DEL', waiting_of_key(id))
conclude()
return was_there
