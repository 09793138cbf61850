-- Move a run to another due time.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the run
-- ARGV[2]  due at this instant, in milliseconds; empty: see ARGV[3]
-- ARGV[3]  due so many milliseconds after now
--
-- Returns  its status before; nil if there is none; {why its record cannot be read}
--
-- include: fields
-- include: moves

local id = ARGV[1]
local run, reason = records.pick_run(id)

if not run then
  if reason then
    records.quarantine('run', id, reason)
    return {reason}
  end

  return false
end

-- Counts the expiry from the new due time. A record of an older version does not say how: then it stays.
local function move_expiry(due_ms)
  local kept = records.pick(keys.run(id), {'expires_ms', 'expires_by_ms'})
  local expires_ms = records.whole(kept.expires_ms)

  if expires_ms and not run.started_ms then
    local expires_at_ms = fields.earlier(records.whole(kept.expires_by_ms) or 0, due_ms + expires_ms)
    redis.call('HSET', keys.run(id), 'expires_at_ms', expires_at_ms)
    redis.call('ZADD', keys.EXPIRING, expires_at_ms, id)
  end
end

local before = run.status
local due_ms = tonumber(ARGV[2]) or clock.NOW + tonumber(ARGV[3])

if before == 'scheduled' or before == 'retrying' then
  moves.postpone(id, run, before, due_ms)
elseif before == 'ready' and due_ms > clock.NOW then
  moves.postpone(id, run, 'scheduled', due_ms)
elseif before == 'ready' then
  redis.call('HSET', keys.run(id), 'due_ms', due_ms)
end

if before == 'scheduled' or before == 'retrying' or before == 'ready' then
  move_expiry(due_ms)
end

places.conclude()
return before
