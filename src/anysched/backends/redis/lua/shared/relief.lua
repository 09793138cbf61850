-- A server at its maxmemory refuses a script whose first write could take memory. What gives memory back, or keeps a
-- lease, begins with a write that cannot.
-- include: keys

redis.call('DEL', keys.NOTHING)
