-- Remove an entry; what waits in it is cancelled, what is live goes on.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
--
-- Returns  1; 0 if there is none
--
-- include: deals

local id = ARGV[1]
local was_there = redis.call('ZREM', keys.ENTRY_IDS, id)

redis.call('ZREM', keys.ENTRIES, id)
redis.call('ZREM', keys.AWAITING, id)
redis.call('DEL', keys.entry(id), keys.live_of(id))
deals.cancel_all(redis.call('ZRANGE', keys.waiting_of(id), 0, -1))
redis.call('DEL', keys.waiting_of(id))
places.conclude()
return was_there
