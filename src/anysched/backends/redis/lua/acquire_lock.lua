-- Take a lock, or a place in its line.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the lock
-- ARGV[2]  the owner
-- ARGV[3]  milliseconds from now, for the lease or the place
-- ARGV[4]  1: stand in line
-- ARGV[5]  the inbox that is told when its turn comes
--
-- Returns  {the token, or 0; when to ask again, or the end of the lease; the time}
--
-- include: relief
-- include: locks

local ttl_ms = tonumber(ARGV[3])
local held_by, token, until_ms = locks.holder()

if held_by == owner then
  locks.hold(token, ttl_ms)
  return {token, clock.NOW + ttl_ms, clock.NOW}
end

local first = locks.first_in_line()

if not held_by and (not first or first == owner) then
  locks.leave_line(owner)
  token = tokens.next()
  tokens.store()
  locks.hold(token, ttl_ms)
  return {token, clock.NOW + ttl_ms, clock.NOW}
end

if ARGV[4] == '1' then
  locks.stand_in_line(ARGV[5], ttl_ms)
end

if held_by then
  return {0, until_ms, clock.NOW}
end

locks.call_first()
local _, ends = locks.first_in_line()
return {0, ends or 0, clock.NOW}
