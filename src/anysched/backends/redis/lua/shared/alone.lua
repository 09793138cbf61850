-- A run that is enqueued alone and is ready at once, with nothing to it but what its record says: the most frequent
-- case, and the one that somebody waits for. All that other cases need is defined after it, where it does not get to.
--
-- With nobody hungry, it is stored and queued, and that is all. With somebody hungry it is handed over, if it may be (see
-- Backend.enqueue): stored as claimed by that node, which gets it with the hint and need not come for it. If the hint is
-- lost, the node is told at its next renewals what it holds, and hands back what it does not know.
-- include: keys
-- include: clock
-- include: fields

local NONE = '\144' -- an empty array

local groups = cmsgpack.unpack(ARGV[1])
local new, list = unpack(groups[1] or {})

if
  new and #groups == 1 and #list == 2 and new[NEW_RUN.at_ms] == 0 and new[NEW_RUN.delay_ms] == 0
  and new[NEW_RUN.expires_ms] == 0 and new[NEW_RUN.expires_at_ms] == 0 and new[NEW_RUN.key] == ''
  and new[NEW_RUN.entry_id] == '' and redis.call('EXISTS', keys.run(list[1])) == 0
then
  local id, payload, queue, job = list[1], list[2], new[NEW_RUN.queue], new[NEW_RUN.job]
  local record = fields.of(new, '', 0, 'ready')

  if payload ~= '' then
    fields.put(record, 'payload', payload)
  end

  local node = redis.call('ZRANGE', keys.hungry(queue), 0, 0)[1]

  -- A place in the queue. If what was given before cannot be read, it is not for here to mend it.
  local place = not node and redis.pcall('INCR', keys.SEQUENCE)

  if type(place) == 'number' then
    -- The record comes last: what is not stored with all that belongs to it is not stored.
    redis.call('SADD', keys.QUEUES, queue)
    redis.call('ZADD', keys.ready(queue), place - new[NEW_RUN.priority] * RANK, id)
    redis.call('HSET', keys.run(id), unpack(record))
    return NONE
  end

  local appetite = node and redis.pcall('HGET', keys.node(node), 'hungry')
  local token = node and redis.pcall('GET', keys.TOKEN)

  if
    type(appetite) == 'string' and type(token) ~= 'table'
    and redis.call('EXISTS', keys.ready(queue)) == 0 and redis.call('SISMEMBER', keys.PAUSED, queue) == 0
    and redis.pcall('SISMEMBER', keys.jobs(node), job) == 1
    and tonumber(redis.call('ZSCORE', keys.NODES, node) or 0) >= clock.NOW
  then
    local well, parts = pcall(cmsgpack.unpack, appetite)
    local queues, limits = unpack(well and type(parts) == 'table' and parts or {})

    if type(queues) == 'table' and type(limits) == 'table' and not limits[job] then
      -- As tokens.next() has it.
      token = clock.digits(math.max((tonumber(token or '') or 0) + 1, clock.NOW_US))
      local run = {id = id}

      for i = 1, #record, 2 do
        run[record[i]] = record[i + 1]
      end

      run.attempt, run.token = 1, token
      local hint = 'take\n' .. cmsgpack.pack({node = node, now_ms = clock.NOW, run = run})
      redis.call('SADD', keys.QUEUES, queue)
      redis.call('ZADD', keys.held(node), token, id)
      redis.call('SADD', keys.live(job), id)
      redis.call(
        'HSET', keys.run(id), 'status', 'running', 'attempt', '1', 'token', token, 'node', node,
        'started_ms', clock.NOW_TEXT, unpack(record)
      )
      local heard = redis.pcall('PUBLISH', keys.inbox(node), hint)

      if type(heard) == 'number' and heard > 0 then
        for _, name in ipairs(queues) do
          redis.pcall('ZREM', keys.hungry(tostring(name)), node)
        end

        redis.call('HDEL', keys.node(node), 'hungry')
        redis.pcall('ZREM', keys.HUNGRY, node)
        redis.call('SET', keys.TOKEN, token)
        return NONE
      end

      redis.call('DEL', keys.run(id))
      redis.call('ZREM', keys.held(node), id)
      redis.call('SREM', keys.live(job), id)
    end
  end
end
