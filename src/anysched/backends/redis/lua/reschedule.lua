-- Move a run to another due time.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the run
-- ARGV[2]  due at this instant, in milliseconds; empty: see ARGV[3]
-- ARGV[3]  due so many milliseconds after now
--
-- Returns  its status before; nil if there is none; {why its record cannot be read}
--
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

local before = run.status
local due_ms = tonumber(ARGV[2]) or clock.NOW + tonumber(ARGV[3])

if before == 'scheduled' or before == 'retrying' then
  moves.postpone(id, run, before, due_ms)
elseif before == 'ready' and due_ms > clock.NOW then
  moves.postpone(id, run, 'scheduled', due_ms)
elseif before == 'ready' then
  redis.call('HSET', keys.run(id), 'due_ms', due_ms)
end

places.conclude()
return before
