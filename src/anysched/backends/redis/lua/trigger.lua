-- Make a run of an entry apart from its schedule.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the entry
-- ARGV[2]  the run: msgpack, an array as NEW_RUN names its places
-- ARGV[3]  the overlap policy
--
-- Returns  {how many were made, how many skipped}; nil if there is no such entry
--
-- include: deals

local id = ARGV[1]
local entry = records.pick(keys.entry(id), {'revision'})

if not entry or not entry.revision then
  return false
end

local new = cmsgpack.unpack(ARGV[2])
local run_id, planned = new[NEW_RUN.id], new[NEW_RUN.scheduled_for_ms]

if redis.call('EXISTS', keys.run(run_id)) == 1 then
  return {1, 0}
end

local made = deals.make(id, new, ARGV[3])

if made then
  cursors.note_made(id, redis.call('HGET', keys.entry(id), 'last_runs'), run_id, planned > 0 and planned or clock.NOW)
end

places.conclude()
return made and {1, 0} or {0, 1}
