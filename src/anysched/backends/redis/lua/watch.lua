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
moves.expire_each({id})
places.conclude()
local run = records.pick_run(id)

-- One watcher is remembered by name. For several, everybody is told.
if run and not moves.FINAL[run.status] and run.watch ~= inbox then
  redis.call('HSET', keys.run(id), 'watch', run.watch and '*' or inbox)
end

return showing.show(id) or false
