-- Make a failed run ready again.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the run
--
-- Returns  its status before; "taken" if it has failed and another has its key; nil if there is none; {why its record
--          cannot be read}
--
-- include: storing

local id = ARGV[1]
local key = keys.run(id)
local run, reason = records.pick_run(id)

if not run or run.status ~= 'failed' then
  if reason then
    records.quarantine('run', id, reason)
    return {reason}
  end

  return run and run.status or false
end

if run.key then
  if storing.holder_of(run.key) then
    return 'taken'
  end

  redis.call('SET', keys.key(run.key), id)
end

redis.call('HDEL', key, 'attempt', 'crashes', 'crash_times', 'finished_ms', 'status', 'watch')
redis.call('PERSIST', key)
redis.call('ZREM', keys.FAILED, id)
redis.call('ZREM', keys.FAILED_UNTIL, id)
places.make_ready(id, run)

if run.entry_id then
  local entry = records.pick(keys.entry(run.entry_id), {'revision', 'last_runs'})

  if entry and entry.revision then
    redis.call('ZADD', keys.live_of(run.entry_id), clock.in_order(), id)
    cursors.note_status(run.entry_id, entry.last_runs, id, 'live')
  end
end

places.conclude()
return 'failed'
