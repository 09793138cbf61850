-- Locks: a hash says who holds one, a line (by order of coming) and a hash (owner -> until and inbox) who waits.
-- include: hints
-- include: tokens

local name, owner = ARGV[1], ARGV[2]

local locks = {
  GRACE_MS = 1000,
  lock = keys.lock(name),
  line = keys.line(name),
  waiters = keys.waiters(name),
}

-- Something else in the place of one of them is nothing.
for key, kind in pairs({[locks.lock] = 'hash', [locks.line] = 'zset', [locks.waiters] = 'hash'}) do
  local found = redis.call('TYPE', key).ok

  if found ~= kind and found ~= 'none' then
    redis.call('DEL', key)
  end
end

-- Who holds the lock: its owner, token and end; nil if it is free, or what is there cannot be read.
function locks.holder()
  local held = records.pick(locks.lock, {'owner', 'token', 'until_ms'})

  if records.to_numbers(held, {token = true, until_ms = true}) or not (held.owner and held.token and held.until_ms) then
    return nil
  end

  if held.until_ms > clock.NOW then
    return held.owner, held.token, held.until_ms
  end
end

function locks.leave_line(waiter)
  redis.call('HDEL', locks.waiters, waiter)
  return redis.call('ZREM', locks.line, waiter) == 1
end

function locks.place_of(waiter)
  local place = redis.call('HGET', locks.waiters, waiter)
  local until_ms, inbox = string.match(place or '', '^(%d+) (.*)$')
  return tonumber(until_ms) or 0, inbox
end

-- The first in the line, until when, and its inbox; places that have run out are taken away.
function locks.first_in_line()
  while true do
    local first = redis.call('ZRANGE', locks.line, 0, 0)[1]

    if not first then
      return nil
    end

    local until_ms, inbox = locks.place_of(first)

    if until_ms > clock.NOW then
      return first, until_ms, inbox
    end

    locks.leave_line(first)
  end
end

-- A key of the line lives as long as the last place in it, at the least.
function locks.keep(key, ttl_ms)
  if redis.call('PTTL', key) < ttl_ms + locks.GRACE_MS then
    redis.call('PEXPIRE', key, ttl_ms + locks.GRACE_MS)
  end
end

function locks.stand_in_line(inbox, ttl_ms)
  redis.call('ZADD', locks.line, 'NX', clock.in_order(), owner)
  redis.call('HSET', locks.waiters, owner, clock.digits(clock.NOW + ttl_ms) .. ' ' .. inbox)
  locks.keep(locks.line, ttl_ms)
  locks.keep(locks.waiters, ttl_ms)
end

function locks.hold(token, ttl_ms)
  redis.call('HSET', locks.lock, 'owner', owner, 'token', clock.digits(token), 'until_ms', clock.NOW + ttl_ms)
  redis.call('PEXPIRE', locks.lock, ttl_ms + locks.GRACE_MS)
end

-- Names the owner: many may wait at one inbox, and who asks out of turn is of no use.
function locks.call_first()
  local first, _, inbox = locks.first_in_line()

  if first then
    hints.send(inbox, 'lock\n' .. name .. '\n' .. first)
  end
end
