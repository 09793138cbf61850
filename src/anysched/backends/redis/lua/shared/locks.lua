-- Locks: a hash says who holds one, a line (by order of coming) and a hash (owner -> until and inbox) who waits.
-- include: hints
-- include: tokens

local GRACE_MS = 1000

local name, owner = ARGV[1], ARGV[2]
local lock = lock_key(name)
local line, waiters = line_key(name), waiters_key(name)

-- Who holds the lock: its owner, token and end; nil if it is free.
local function holder()
  local held = pick(lock, {'owner', 'token', 'until_ms'})
  local until_ms = held and tonumber(held.until_ms)

  if until_ms and until_ms > NOW and held.owner then
    return held.owner, tonumber(held.token), until_ms
  end
end

local function leave_line(waiter)
  redis.call('HDEL', waiters, waiter)
  return redis.call('ZREM', line, waiter) == 1
end

local function place_of(waiter)
  local place = redis.call('HGET', waiters, waiter)
  local until_ms, inbox = string.match(place or '', '^(%d+) (.*)$')
  return tonumber(until_ms) or 0, inbox
end

-- The first in the line, until when, and its inbox; places that have run out are taken away.
local function first_in_line()
  while true do
    local first = redis.call('ZRANGE', line, 0, 0)[1]

    if not first then
      return nil
    end

    local until_ms, inbox = place_of(first)

    if until_ms > NOW then
      return first, until_ms, inbox
    end

    leave_line(first)
  end
end

-- A key of the line lives as long as the last place in it, at the least.
local function keep(key, ttl_ms)
  if redis.call('PTTL', key) < ttl_ms + GRACE_MS then
    redis.call('PEXPIRE', key, ttl_ms + GRACE_MS)
  end
end

local function stand_in_line(inbox, ttl_ms)
  redis.call('ZADD', line, 'NX', in_order(), owner)
  redis.call('HSET', waiters, owner, digits(NOW + ttl_ms) .. ' ' .. inbox)
  keep(line, ttl_ms)
  keep(waiters, ttl_ms)
end

local function hold(token, ttl_ms)
  redis.call('HSET', lock, 'owner', owner, 'token', digits(token), 'until_ms', NOW + ttl_ms)
  redis.call('PEXPIRE', lock, ttl_ms + GRACE_MS)
end

local function call_first()
  local first, _, inbox = first_in_line()

  if first then
    hint(inbox, 'lock\n' .. name)
  end
end
