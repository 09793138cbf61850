-- Make a failed run ready again.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the run
--
-- Returns  its status before; nil if there is none; {why its record cannot be read}
--
-- include: storing

local id = ARGV[1]
local key = run_key(id)
local run, reason = pick_run(id)

if not run or run.status ~= 'failed' then
  if reason then
    quarantine('run', id, reason)
    return {reason}
  end

  return run and run.status or false
end

if run.key then
  if holder_of(run.key) then
    redis.call('HDEL', key, 'key')
  else
    redis.call('SET', key_key(run.key), id)
  end
end

redis.call('HDEL', key, 'attempt', 'crashes', 'crash_times', 'finished_ms', 'status', 'watch')
redis.call('PERSIST', key)
redis.call('ZREM', FAILED, id)
redis.call('ZREM', FAILED_UNTIL, id)
make_ready(id, run)

if run.entry_id then
  local entry = pick(entry_key(run.entry_id), {'revision', 'last_runs'})

  if entry and entry.revision then
    redis.call('ZADD', live_of_key(run.entry_id), in_order(), id)
    note_status(run.entry_id, entry.last_runs, id, 'live')
  end
end

conclude()
return 'failed'
