-- A run that is enqueued alone and is ready at once, with nothing to it but what its record says: the most frequent
-- case, and the one that somebody waits for. All that other cases need is defined after it, where it does not get to.
-- It comes as it is stored (see seals.lua), so that hardly anything has to be put together:
--
-- ARGV[1]    its id
-- ARGV[2]    its queue
-- ARGV[3]    its priority
-- ARGV[4]    its job
-- ARGV[5]    its record, but for what the clock says: a msgpack map of at most 13 fields, the job first
-- ARGV[6]    its deadline: empty, or msgpack, deadline_after_ms and deadline_ms
--
-- With nobody hungry, it is stored and queued, and that is all. With somebody hungry it is handed over, if it may be
-- (see Backend.enqueue): stored as claimed by that node, which gets it with the hint and need not come for it. If the
-- hint is lost, the node is told at its next renewals what it holds, and hands back what it does not know. If none of
-- that may be, it goes the way of all others.
--
-- Whether the node listens here is asked before anything is published: replicas get what a script publishes, also where
-- nobody has heard it here, and a node that still listens to one would carry out what was not handed over.
-- include: keys
-- include: instant
-- include: constants
-- include: rank

local NONE = '\144' -- an empty array
local groups
local id, queue, priority, job, map = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key, ready, hungry, record
local after_ms, at_ms = 0, 0

if #ARGV > 1 then
  key, ready, hungry = keys.run(id), keys.ready(queue), keys.hungry(queue)
  local added, count = '\171enqueued_ms' .. cmsgpack.pack(tonumber(NOW_TEXT)), 1

  -- As fields.of() has it, which is not defined yet.
  if ARGV[6] ~= '' then
    after_ms, at_ms = unpack(cmsgpack.unpack(ARGV[6]))
    local deadline_ms = after_ms > 0 and NOW_TEXT + after_ms or at_ms
    deadline_ms = at_ms > 0 and math.min(at_ms, deadline_ms) or deadline_ms
    count, added = 2, added .. '\171deadline_ms' .. cmsgpack.pack(deadline_ms)
  end

  record = string.char(string.byte(map) + count) .. string.sub(map, 2) .. added

  -- One: only the queue, so that its name is known. More: it is stored already, or somebody is hungry.
  local there = redis.call('EXISTS', ready, key, key, hungry, hungry)

  -- A place in the queue. If what was given before cannot be read, it is not for here to mend it.
  local place = there < 2 and redis.pcall('INCR', keys.SEQUENCE)

  if type(place) == 'number' then
    if there == 0 then
      redis.call('SADD', keys.QUEUES, queue)
    end

    -- The record comes last: what is not stored with all that belongs to it is not stored.
    redis.call('ZADD', ready, place - priority * RANK, id)
    redis.call('SET', key, record)
    return NONE
  end
end

-- include: seals

if #ARGV > 1 then
  -- Neither stored before, nor behind others.
  local node = redis.call('ZRANGE', hungry, 0, 0)[1]
  node = node and redis.call('EXISTS', key, ready) == 0 and node
  local appetite = node and redis.pcall('HGET', keys.node(node), 'hungry')
  local token = node and redis.pcall('GET', keys.TOKEN)

  if
    type(appetite) == 'string' and type(token) ~= 'table'
    and redis.call('SISMEMBER', keys.PAUSED, queue) == 0
    and redis.pcall('SISMEMBER', keys.jobs(node), job) == 1
    and tonumber(redis.call('ZSCORE', keys.NODES, node) or 0) >= clock.NOW
    and (redis.pcall('PUBSUB', 'NUMSUB', keys.inbox(node))[2] or 0) > 0
  then
    local well, parts = pcall(cmsgpack.unpack, appetite)
    local queues, limits = unpack(well and type(parts) == 'table' and parts or {})

    if type(queues) == 'table' and type(limits) == 'table' and not limits[job] then
      -- As tokens.next() has it.
      token = math.max((tonumber(token or '') or 0) + 1, clock.NOW_US)
      local token_text = clock.digits(token)
      local hint = 'take\n\149' .. string.sub(cmsgpack.pack({node, clock.NOW, id, token}), 2) .. record
      redis.call('SADD', keys.QUEUES, queue)
      redis.call('ZADD', keys.held(node), token_text, id)
      redis.call('SADD', keys.live(job), id)
      redis.call('HSET', keys.RUNNING, id, seals.claim(node, job, token, token))
      redis.call('SET', key, record)
      local heard = redis.pcall('PUBLISH', keys.inbox(node), hint)

      if type(heard) == 'number' and heard > 0 then
        for _, name in ipairs(queues) do
          redis.pcall('ZREM', keys.hungry(tostring(name)), node)
        end

        redis.call('HDEL', keys.node(node), 'hungry')
        redis.pcall('ZREM', keys.HUNGRY, node)
        redis.call('SET', keys.TOKEN, token_text)
        return NONE
      end

      -- The user may not publish: nobody has heard anything anywhere.
      redis.call('DEL', key)
      redis.call('HDEL', keys.RUNNING, id)
      redis.call('ZREM', keys.held(node), id)
      redis.call('SREM', keys.live(job), id)
    end
  end

  local run = cmsgpack.unpack(map)
  groups = {{{
    [NEW_RUN.job] = job, [NEW_RUN.queue] = queue, [NEW_RUN.priority] = tonumber(priority),
    [NEW_RUN.at_ms] = 0, [NEW_RUN.delay_ms] = 0, [NEW_RUN.expires_ms] = 0, [NEW_RUN.expires_at_ms] = 0,
    [NEW_RUN.deadline_ms] = at_ms, [NEW_RUN.deadline_after_ms] = after_ms, [NEW_RUN.key] = '', [NEW_RUN.entry_id] = '',
    [NEW_RUN.scheduled_for_ms] = run.scheduled_for_ms or 0, [NEW_RUN.ttl_ms] = run.ttl_ms or DEFAULT_TTL_MS,
    [NEW_RUN.options] = run.options or '',
  }, {id, run.payload or ''}}}
else
  groups = cmsgpack.unpack(ARGV[1])
end
