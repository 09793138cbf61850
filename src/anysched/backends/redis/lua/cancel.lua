-- Cancel a run, or ask it to stop.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the run
--
-- Returns  {its status now, 1 if it is cancelled or asked to stop}; nil if there is none
--          {why its record cannot be read}
--
-- include: relief
-- include: moves

local id = ARGV[1]
local run, reason = records.pick_run(id)

if reason then
  records.quarantine('run', id, reason)
  return {reason}
elseif not run then
  return false
end

if not moves.FINAL[run.status] then
  moves.cancel(id, run)
  run.cancel_requested = run.status == 'running'
end

places.conclude()
return {run.status, (run.status == 'cancelled' or run.cancel_requested) and 1 or 0}
