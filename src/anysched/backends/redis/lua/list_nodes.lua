-- Every node that holds a lease.
--
-- KEYS[1]  the prefix
--
-- Returns  NodeRecords as msgpack, each one by itself
--
-- include: records

local leases = redis.call('ZRANGEBYSCORE', keys.NODES, clock.digits(clock.NOW), '+inf', 'WITHSCORES')
local shown = {}

for i = 1, #leases, 2 do
  local node = records.pick(keys.node(leases[i]), {'program', 'facts', 'queues'})

  if node then
    local well, queues = pcall(cmsgpack.unpack, node.queues or '')
    shown[#shown + 1] = cmsgpack.pack({
      id = leases[i],
      expires_ms = tonumber(leases[i + 1]),
      running = redis.call('ZCARD', keys.held(leases[i])),
      queues = well and queues or {},
      program = node.program,
      facts = node.facts,
    })
  end
end

return shown
