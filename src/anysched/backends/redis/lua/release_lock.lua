-- Give a lock back, or leave its line, and wake the first who waits if the lock is free.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the lock
-- ARGV[2]  the owner
--
-- Returns  1; 0 if it was neither held nor waited for
--
-- include: relief
-- include: locks

local held_by = locks.holder()
local first = locks.first_in_line()
local held = held_by == owner
local waited = locks.leave_line(owner)

if held then
  redis.call('DEL', locks.lock)
end

if held or (not held_by and first == owner) then
  locks.call_first()
end

return (held or waited) and 1 or 0
