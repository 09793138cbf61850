-- Extend a held lock.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the lock
-- ARGV[2]  the owner
-- ARGV[3]  milliseconds from now
--
-- Returns  1; 0 if it is no longer held by that owner
--
-- include: relief
-- include: locks

local held_by, token = locks.holder()

if held_by ~= owner then
  return 0
end

locks.hold(token, tonumber(ARGV[3]))
return 1
