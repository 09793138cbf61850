-- A run's record; who asks is told when it has become final.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the run
-- ARGV[2]  the inbox
--
-- Returns  msgpack (see shared/showing.lua), or nil
--
-- include: moves
-- include: showing

local id, inbox = ARGV[1], ARGV[2]
local run = pick_run(id)

-- One watcher is remembered by name. For several, everybody is told.
if run and not FINAL[run.status] and run.watch ~= inbox then
  redis.call('HSET', run_key(id), 'watch', run.watch and '*' or inbox)
end

return show_run(id) or false
